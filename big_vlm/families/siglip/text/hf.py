"""SigLIP's text tower in transformers, alone or one of two."""
from big_vlm.families.siglip import hf as vision
from big_vlm.families.siglip.text.variants import TextConfig, pad_token
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import TORCH, ParamMapping

TOWER, NAFLEX = "siglip_text_model", "siglip2_text_model"  # beside a NaFlex tower
ARCHITECTURES = {TOWER: "SiglipTextModel", NAFLEX: "Siglip2TextModel"}
PALIGEMMA = ()
SPELLINGS = [(r"^(?!text_model\.)", "text_model.")]
IGNORED = r".*\.position_ids"
FIELDS = vision.SIZES | dict(vocab_size="vocab_size", length="max_position_embeddings",
                             out_width="projection_size")
DEFAULTS = vision.DEFAULTS | dict(vocab_size=32_000, max_position_embeddings=64)


def import_config(config, where, in_paligemma=False):
  foreign_keys.check(config, foreign_keys.CONFIG, where,
                     {*DEFAULTS, *vision.FIXED, "projection_size"})
  config_json.check_fixed(config, vision.FIXED, where)
  config = {**DEFAULTS, **config}
  config["projection_size"] = config.get("projection_size") or config["hidden_size"]
  # Released files say 1 of SigLIP 2 too, which pads with 0; none says 0 of a model that does not.
  padding = pad_token(config["vocab_size"])
  if config.get("pad_token_id") == 0 or config["model_type"] == NAFLEX:
    padding = 0
  return TextConfig(**config_json.import_fields(FIELDS, config), pad_token=padding)


def export_config(c, naflex=False):
  if not c.out_width:
    raise ValueError("a SigLIP text tower without a head")
  return dict(config_json.export_fields(FIELDS, c), model_type=NAFLEX if naflex else TOWER,
              layer_norm_eps=1e-6, hidden_act=vision.TANH_GELU, pad_token_id=c.pad_token,
              bos_token_id=None, eos_token_id=1)


def param_map(c, root="", padding=0):
  """v tokens of the vocabulary, n of a text, d width, e width of the output."""
  tower = f"{root}text_model"
  return [
      ParamMapping("txt/Embed_0/embedding", f"{tower}.embeddings.token_embedding.weight"),
      ParamMapping("txt/pos_embedding", f"{tower}.embeddings.position_embedding.weight",
                   "1 n d -> n d"),
      *vision.blocks("txt/Encoder_0", f"{tower}.encoder", c.depth),
      *TORCH.norm("txt/Encoder_0/encoder_norm", f"{tower}.final_layer_norm"),
      *TORCH.dense("txt/head", f"{tower}.head", "d e -> e d")]
