"""SigLIP's vision tower in transformers, alone or one of two; NaFlex' is a class of its own."""
import math

from big_vlm.families.siglip.variants import ViTConfig
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import TORCH, ParamMapping

TOWER, NAFLEX = "siglip_vision_model", "siglip2_vision_model"
ARCHITECTURES = {TOWER: "SiglipVisionModel", NAFLEX: "Siglip2VisionModel"}
PALIGEMMA = (TOWER,)
SPELLINGS = [(r"^(?!vision_model\.)", "vision_model.")]
IGNORED = r".*\.position_ids"
SIZES = dict(width="hidden_size", depth="num_hidden_layers", mlp="intermediate_size",
             heads="num_attention_heads")  # of either tower
FIELDS = SIZES | dict(patch="patch_size", image_size="image_size")
DEFAULTS = dict(hidden_size=768, num_hidden_layers=12, intermediate_size=3072,
                num_attention_heads=12)
VISION_DEFAULTS = DEFAULTS | dict(image_size=224, patch_size=16, vision_use_head=True)
NAFLEX_DEFAULTS = DEFAULTS | dict(num_patches=256, patch_size=16, vision_use_head=True)
TANH_GELU = "gelu_pytorch_tanh"
FIXED = dict(layer_norm_eps=(1e-6,),
             hidden_act=(TANH_GELU, "gelu_new", "gelu_fast"))  # three names of one function
CHANNELS = dict(num_channels=(3,))


def import_config(config, where, in_paligemma=False):
  naflex = config["model_type"] == NAFLEX
  defaults, fixed = NAFLEX_DEFAULTS if naflex else VISION_DEFAULTS, FIXED | CHANNELS
  foreign_keys.check(config, foreign_keys.CONFIG | {"tie_word_embeddings": foreign_keys.ANY}, where,
                     {*defaults, *fixed})
  config_json.check_fixed(config, fixed, where)
  config = {**defaults, **config}
  if naflex:
    side = math.isqrt(config["num_patches"])
    if side**2 != config["num_patches"] or not config["vision_use_head"]:
      raise ValueError(f"{where}: num_patches is {config['num_patches']} and vision_use_head "
                       f"{config['vision_use_head']}; only a square position table and a pooling "
                       "head are supported.")
  for key in ("patch_size", "image_size"):
    if isinstance(size := config.get(key), (list, tuple)):
      if len(set(size)) > 1:
        raise ValueError(f"{where}: images and patches must be square, not {size}.")
      config[key] = size[0]
  if naflex:
    config["image_size"] = side * config["patch_size"]
  pooled = config["vision_use_head"] and not in_paligemma
  return ViTConfig(**config_json.import_fields(FIELDS, config), pool="map" if pooled else "none",
                   naflex=naflex)


def export_config(c):
  if c.out_width:
    raise ValueError(f"a SigLIP tower with a linear head of {c.out_width}")
  config = dict(config_json.export_fields(FIELDS, c), model_type=NAFLEX if c.naflex else TOWER,
                num_channels=3, layer_norm_eps=1e-6, hidden_act=TANH_GELU,
                vision_use_head=c.pool == "map")
  if c.naflex:
    del config["image_size"]
    config["num_patches"] = c.patches
  return config


def param_map(c, root="", padding=0):
  """p q pixels and c channels of a patch, n patches, and the letters of blocks()."""
  tower, head = f"{root}vision_model", "img/MAPHead_0"
  attn = "MultiHeadDotProductAttention_0"
  table = [
      *TORCH.dense("img/embedding", f"{tower}.embeddings.patch_embedding",
                   "p q c d -> d (p q c)" if c.naflex else "p q c d -> d c p q"),
      ParamMapping("img/pos_embedding", f"{tower}.embeddings.position_embedding.weight",
                   "1 n d -> n d"),
      *blocks("img/Transformer", f"{tower}.encoder", c.depth),
      *TORCH.norm("img/Transformer/encoder_norm", f"{tower}.post_layernorm")]
  if c.pool == "map":
    pool = f"{tower}.head"
    table += [
        ParamMapping(f"{head}/probe", f"{pool}.probe"),
        *TORCH.dense(f"{head}/{attn}/out", f"{pool}.attention.out_proj", FROM_HEADS),
        *TORCH.norm(f"{head}/LayerNorm_0", f"{pool}.layernorm"),
        *_mlp(f"{head}/MlpBlock_0", f"{pool}.mlp")]
    for j, name in enumerate(("query", "key", "value")):  # there one tensor holds all three
      external = f"{pool}.attention.in_proj"
      table += [
          ParamMapping(f"{head}/{attn}/{name}/kernel", f"{external}_weight", TO_HEADS, part=(j, 3)),
          ParamMapping(f"{head}/{attn}/{name}/bias", f"{external}_bias", "h e -> (h e)",
                       part=(j, 3))]
  return table


TO_HEADS, FROM_HEADS = "d h e -> (h e) d", "h e d -> d (h e)"


def blocks(name, external, depth):
  """The blocks of either tower: h heads of size e, d width, m MLP width."""
  block, layer, kw = f"{name}/encoderblock", f"{external}.layers.{{}}", dict(axes=(range(depth),))
  attn = f"{block}/MultiHeadDotProductAttention_0"
  table = [
      *TORCH.norm(f"{block}/LayerNorm_0", f"{layer}.layer_norm1", **kw),
      *TORCH.norm(f"{block}/LayerNorm_1", f"{layer}.layer_norm2", **kw),
      *TORCH.dense(f"{attn}/out", f"{layer}.self_attn.out_proj", FROM_HEADS, **kw),
      *_mlp(f"{block}/MlpBlock_0", f"{layer}.mlp", **kw)]
  for part in ("query", "key", "value"):
    table += TORCH.dense(f"{attn}/{part}", f"{layer}.self_attn.{part[0]}_proj", TO_HEADS,
                         "h e -> (h e)", **kw)
  return table


def _mlp(name, external, **kw):
  return [*TORCH.dense(f"{name}/Dense_0", f"{external}.fc1", "d m -> m d", **kw),
          *TORCH.dense(f"{name}/Dense_1", f"{external}.fc2", "m d -> d m", **kw)]
