"""SigLIP's vision tower in KerasHub: alone, out of a pair of towers, and inside a PaliGemma."""
import numpy as np

from big_vlm.families.siglip.variants import ViTConfig
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import KERAS, ParamMapping, keras_numbers

TOWER = "SigLIPVisionEncoder"
CLASSES = (TOWER,)
ROOT = "layers/sig_lip_vision_encoder/"  # where a SigLIPBackbone keeps its vision tower
POSITIONS = "layers/sig_lip_vision_embedding/vars/0"  # int32 0..N-1, a constant
PALIGEMMA = True  # PaliGemmaBackbone has this tower
IGNORED = f"({ROOT})?{POSITIONS}"
PALIGEMMA_MLP = 4304  # where a file lacks vit_intermediate_dim: that of So400m
FIELDS = dict(width="hidden_dim", depth="num_layers", mlp="intermediate_dim", heads="num_heads",
              patch="patch_size")
PALIGEMMA_FIELDS = dict(width="vit_hidden_dim", depth="vit_num_layers", heads="vit_num_heads",
                        mlp="vit_intermediate_dim", patch="vit_patch_size", image_size="image_size")
FIXED = dict(intermediate_activation=("gelu_approximate",), layer_norm_epsilon=(1e-6,))
PALIGEMMA_FIXED = dict(vit_pooling=(None,), vit_classifier_activation=(None, "linear"))
PALIGEMMA_READ = {*PALIGEMMA_FIELDS.values(), *PALIGEMMA_FIXED}


def import_config(c, where, in_paligemma=False):
  if in_paligemma:
    config_json.check_fixed(c, PALIGEMMA_FIXED, where)
    mlp = c.get("vit_intermediate_dim") or PALIGEMMA_MLP
    return ViTConfig(**config_json.import_fields(PALIGEMMA_FIELDS,
                                                 {**c, "vit_intermediate_dim": mlp}))
  foreign_keys.check(c, foreign_keys.KERAS, where, {*FIELDS.values(), *FIXED, "image_shape"})
  config_json.check_fixed(c, FIXED, where)
  height, width, channels = c.get("image_shape", (224, 224, 3))
  if height != width or channels != 3:
    raise ValueError(f"{where}: image_shape is {c['image_shape']}; only square images with the "
                     "channels last, [side, side, 3], are supported.")
  return ViTConfig(**config_json.import_fields(FIELDS, c), image_size=height, pool="map")


def export_config(c, in_paligemma=False):
  if in_paligemma:
    return config_json.export_fields(PALIGEMMA_FIELDS, c) | dict(
        vit_pooling=None, vit_classifier_activation=None, vit_name=None)
  if c.pool != "map" or c.out_width or c.naflex:
    raise ValueError("a SigLIP tower without its pooling head, with a linear head, or NaFlex")
  return config_json.export_fields(FIELDS, c) | dict(
      intermediate_activation="gelu_approximate", layer_norm_epsilon=1e-6,
      image_shape=[c.image_size, c.image_size, 3])


def constants(c, root=""):
  """{dataset: array} beside the parameters."""
  return {root + POSITIONS: np.arange(c.patches, dtype=np.int32)[None]}


def param_map(c, in_paligemma=False, root=""):
  """d width, h heads of size e, n patches. In a PaliGemma the matrices are without heads."""
  block, kw = "img/Transformer/encoderblock", dict(
      axes=(keras_numbers(c.depth),))
  attn = f"{block}/MultiHeadDotProductAttention_0"
  if in_paligemma:
    root = "layers/pali_gemma_vit/layers/pali_gemma_vit_encoder"
    layer = f"{root}/resblocks/pali_gemma_vit_encoder_block{{}}"
    embedding = f"{root}/vision_embeddings"
    attention = KERAS.dense(f"{attn}/out", f"{layer}/attn/out_proj", "h e d -> (h e) d", **kw)
    for name in ("query", "key", "value"):
      attention += KERAS.dense(f"{attn}/{name}", f"{layer}/attn/{name}_proj", "d h e -> d (h e)",
                               "h e -> (h e)", **kw)
  else:
    embedding = f"{root}layers/sig_lip_vision_embedding"
    return _embedding(embedding) + blocks("img/Transformer", root, c.depth) + _pooling_head(root)
  return [
      *_embedding(embedding),
      *KERAS.norm(f"{block}/LayerNorm_0", f"{layer}/layer_norm_1", **kw),
      *KERAS.norm(f"{block}/LayerNorm_1", f"{layer}/layer_norm_2", **kw),
      *attention,
      *KERAS.dense(f"{block}/MlpBlock_0/Dense_0", f"{layer}/mlp_dense_1", **kw),
      *KERAS.dense(f"{block}/MlpBlock_0/Dense_1", f"{layer}/mlp_dense_2", **kw),
      *KERAS.norm("img/Transformer/encoder_norm", f"{root}/encoder_layer_norm")]


def _embedding(external):
  return [
      *KERAS.dense("img/embedding", f"{external}/patch_embedding"),
      ParamMapping("img/pos_embedding", f"{external}/position_embedding/vars/0", "1 n d -> n d")]


def blocks(name, root, depth):
  """The blocks of either tower, and the norm after them."""
  block, layer = f"{name}/encoderblock", f"{root}layers/sig_lip_encoder_layer{{}}"
  kw = dict(axes=(keras_numbers(depth),))
  return [
      *KERAS.norm(f"{block}/LayerNorm_0", f"{layer}/layer_norm1", **kw),
      *KERAS.norm(f"{block}/LayerNorm_1", f"{layer}/layer_norm2", **kw),
      *_attention(f"{block}/MultiHeadDotProductAttention_0", f"{layer}/self_attn", **kw),
      *KERAS.dense(f"{block}/MlpBlock_0/Dense_0", f"{layer}/mlp/fc1", **kw),
      *KERAS.dense(f"{block}/MlpBlock_0/Dense_1", f"{layer}/mlp/fc2", **kw),
      *KERAS.norm(f"{name}/encoder_norm", f"{root}layers/layer_normalization")]


def _attention(name, external, **kw):
  """Keras' MultiHeadAttention, which keeps the heads apart as we do."""
  names = {"query": "query", "key": "key", "value": "value", "out": "output"}
  return [mapping for our, their in names.items()
          for mapping in KERAS.dense(f"{name}/{our}", f"{external}/{their}_dense", **kw)]


def _pooling_head(root):
  head, pool = "img/MAPHead_0", f"{root}layers/sig_lip_multi_head_attention_pooling"
  return [
      ParamMapping(f"{head}/probe", f"{pool}/vars/0"),
      *_attention(f"{head}/MultiHeadDotProductAttention_0", f"{pool}/attention"),
      *KERAS.norm(f"{head}/LayerNorm_0", f"{pool}/layer_norm"),
      *KERAS.dense(f"{head}/MlpBlock_0/Dense_0", f"{pool}/mlp/fc1"),
      *KERAS.dense(f"{head}/MlpBlock_0/Dense_1", f"{pool}/mlp/fc2")]
