"""OPT in transformers."""
from big_vlm.families.opt.variants import OPTConfig
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import TORCH, ParamMapping

ARCHITECTURES = {"opt": "OPTForCausalLM"}
PALIGEMMA = ()
SPELLINGS = [(r"^(?=decoder\.)", "model.")]
IGNORED = r"lm_head\.weight"
FIELDS = dict(width="hidden_size", depth="num_hidden_layers", mlp="ffn_dim",
              heads="num_attention_heads", vocab_size="vocab_size",
              max_positions="max_position_embeddings")
DEFAULTS = dict(hidden_size=768, num_hidden_layers=12, ffn_dim=3072, num_attention_heads=12,
                vocab_size=50_272, max_position_embeddings=2048)
FIXED = dict(_remove_final_layer_norm=(False,), enable_bias=(True,),
             layer_norm_elementwise_affine=(True,), tie_word_embeddings=(True,),
             activation_function=("relu",))
OTHER = {"word_embed_proj_dim", "do_layer_norm_before"}  # OPT-350m's differ


def import_config(config, where, in_paligemma=False):
  foreign_keys.check(config, foreign_keys.CONFIG, where, {*DEFAULTS, *FIXED, *OTHER})
  config_json.check_fixed(config, FIXED, where)
  config = {**DEFAULTS, **config}
  before, width = config.get("do_layer_norm_before", True), config["hidden_size"]
  if not isinstance(before, bool):
    raise ValueError(f"{where}: do_layer_norm_before is {before!r:.40}, neither true nor false.")
  table = config.get("word_embed_proj_dim")
  return OPTConfig(**config_json.import_fields(FIELDS, config), post_norm=not before,
                   embed_width=None if table in (None, width) else table)


def export_config(c):
  return dict(config_json.export_fields(FIELDS, c), model_type="opt",
              word_embed_proj_dim=c.embed_width or c.width, do_layer_norm_before=not c.post_norm,
              enable_bias=True, activation_function="relu", pad_token_id=1, eos_token_id=2,
              bos_token_id=2)


def param_map(c, root="", padding=0):
  """h heads of size e, d width, m MLP width."""
  layers, layer, kw = "llm/layers", f"{root}model.decoder.layers.{{}}", dict(axes=(range(c.depth),))
  table = [
      ParamMapping("llm/embedder/input_embedding", f"{root}model.decoder.embed_tokens.weight",
                   padding_after=padding),
      # Rows 0 and 1 are an offset in the reference's code; no token reads row 0, pads read row 1.
      ParamMapping("llm/embedder/pos_embedding", f"{root}model.decoder.embed_positions.weight",
                   padding_before=2),
      *TORCH.norm(f"{layers}/attn_norm", f"{layer}.self_attn_layer_norm", **kw),
      *TORCH.norm(f"{layers}/mlp_norm", f"{layer}.final_layer_norm", **kw),
      *TORCH.dense(f"{layers}/attn/out", f"{layer}.self_attn.out_proj", "h e d -> d (h e)", **kw),
      *TORCH.dense(f"{layers}/mlp/Dense_0", f"{layer}.fc1", "d m -> m d", **kw),
      *TORCH.dense(f"{layers}/mlp/Dense_1", f"{layer}.fc2", "m d -> d m", **kw)]
  if not c.post_norm:
    table += TORCH.norm("llm/final_norm", f"{root}model.decoder.final_layer_norm")
  if c.embed_width:
    table += [ParamMapping(f"llm/embedder/{name}", f"{root}model.decoder.{name}.weight",
                           "a b -> b a") for name in ("project_in", "project_out")]
  for name in ("query", "key", "value"):
    table += TORCH.dense(f"{layers}/attn/{name}", f"{layer}.self_attn.{name[0]}_proj",
                         "d h e -> (h e) d", "h e -> (h e)", **kw)
  return table
