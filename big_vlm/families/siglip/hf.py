"""SigLIP's vision tower in transformers, alone or out of a folder that has the text tower too."""
from big_vlm.families.siglip.variants import ViTConfig
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import TORCH, ParamMapping

TOWER = "siglip_vision_model"
ARCHITECTURES = {TOWER: "SiglipVisionModel", "siglip": "SiglipModel"}
PALIGEMMA = (TOWER,)
SPELLINGS = [(r"^(?!vision_model\.)", "vision_model.")]
IGNORED = r"text_model\..*|logit_scale|logit_bias|.*\.position_ids"
FIELDS = dict(width="hidden_size", depth="num_hidden_layers", mlp="intermediate_size",
              heads="num_attention_heads", patch="patch_size", image_size="image_size")
DEFAULTS = dict(hidden_size=768, num_hidden_layers=12, intermediate_size=3072,
                num_attention_heads=12, image_size=224, patch_size=16, vision_use_head=True)
TANH_GELU = "gelu_pytorch_tanh"
FIXED = dict(layer_norm_eps=(1e-6,), num_channels=(3,),
             hidden_act=(TANH_GELU, "gelu_new", "gelu_fast"))  # three names of one function


def import_config(config, where, in_paligemma=False):
  if config["model_type"] == "siglip":
    foreign_keys.check(config, foreign_keys.CONFIG, where, {"text_config", "vision_config"})
    config = {"model_type": TOWER, **(config.get("vision_config") or {})}
    where = f"{where}, vision_config"
  if config["model_type"] != TOWER:
    raise ValueError(f"{where}: the tower is {config['model_type']!r}; only {TOWER} is supported.")
  foreign_keys.check(config, foreign_keys.CONFIG | {"tie_word_embeddings": foreign_keys.ANY}, where,
                     {*DEFAULTS, *FIXED})
  config_json.check_fixed(config, FIXED, where)
  config = {**DEFAULTS, **config}
  for key in ("patch_size", "image_size"):
    if isinstance(size := config[key], (list, tuple)):
      if len(set(size)) > 1:
        raise ValueError(f"{where}: images and patches must be square, not {size}.")
      config[key] = size[0]
  pooled = config["vision_use_head"] and not in_paligemma
  return ViTConfig(**config_json.import_fields(FIELDS, config), pool="map" if pooled else "none")


def export_config(c):
  return dict(config_json.export_fields(FIELDS, c), model_type=TOWER, num_channels=3,
              layer_norm_eps=1e-6, hidden_act=TANH_GELU, vision_use_head=c.pool == "map")


def param_map(c, root="", padding=0):
  """h heads of size e, d width, m MLP width; p q pixels and c channels of a patch, n patches."""
  tower, block, head = f"{root}vision_model", "img/Transformer/encoderblock", "img/MAPHead_0"
  layer, kw = f"{tower}.encoder.layers.{{}}", dict(axes=(range(c.depth),))
  attn = "MultiHeadDotProductAttention_0"
  to_heads, from_heads = "d h e -> (h e) d", "h e d -> d (h e)"
  table = [
      *TORCH.dense("img/embedding", f"{tower}.embeddings.patch_embedding", "p q c d -> d c p q"),
      ParamMapping("img/pos_embedding", f"{tower}.embeddings.position_embedding.weight",
                   "1 n d -> n d"),
      *TORCH.norm(f"{block}/LayerNorm_0", f"{layer}.layer_norm1", **kw),
      *TORCH.norm(f"{block}/LayerNorm_1", f"{layer}.layer_norm2", **kw),
      *TORCH.dense(f"{block}/{attn}/out", f"{layer}.self_attn.out_proj", from_heads, **kw),
      *_mlp(f"{block}/MlpBlock_0", f"{layer}.mlp", **kw),
      *TORCH.norm("img/Transformer/encoder_norm", f"{tower}.post_layernorm")]
  for name in ("query", "key", "value"):
    table += TORCH.dense(f"{block}/{attn}/{name}", f"{layer}.self_attn.{name[0]}_proj", to_heads,
                         "h e -> (h e)", **kw)
  if c.pool == "map":
    pool = f"{tower}.head"
    table += [
        ParamMapping(f"{head}/probe", f"{pool}.probe"),
        *TORCH.dense(f"{head}/{attn}/out", f"{pool}.attention.out_proj", from_heads),
        *TORCH.norm(f"{head}/LayerNorm_0", f"{pool}.layernorm"),
        *_mlp(f"{head}/MlpBlock_0", f"{pool}.mlp")]
    for j, name in enumerate(("query", "key", "value")):  # there one tensor holds all three
      external = f"{pool}.attention.in_proj"
      table += [
          ParamMapping(f"{head}/{attn}/{name}/kernel", f"{external}_weight", to_heads, part=(j, 3)),
          ParamMapping(f"{head}/{attn}/{name}/bias", f"{external}_bias", "h e -> (h e)",
                       part=(j, 3))]
  return table


def _mlp(name, external, **kw):
  return [*TORCH.dense(f"{name}/Dense_0", f"{external}.fc1", "d m -> m d", **kw),
          *TORCH.dense(f"{name}/Dense_1", f"{external}.fc2", "m d -> d m", **kw)]
