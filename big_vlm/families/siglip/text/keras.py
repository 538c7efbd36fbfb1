"""SigLIP's text tower in KerasHub: alone, or one of two."""
import numpy as np

from big_vlm.families.siglip import keras as vision
from big_vlm.families.siglip.text.variants import TextConfig, pad_token
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import KERAS, ParamMapping

TOWER = "SigLIPTextEncoder"
CLASSES = (TOWER,)
ROOT = "layers/sig_lip_text_encoder/"  # where a SigLIPBackbone keeps it
POSITIONS = "layers/sig_lip_text_embedding/vars/0"  # int32 0..T-1, a constant
PALIGEMMA = False
IGNORED = f"({ROOT})?{POSITIONS}"
FIELDS = dict(width="hidden_dim", depth="num_layers", mlp="intermediate_dim", heads="num_heads",
              vocab_size="vocabulary_size", length="max_sequence_length")


def import_config(c, where, in_paligemma=False):
  read = {*FIELDS.values(), *vision.FIXED, "embedding_dim", "projection_dim"}
  foreign_keys.check(c, foreign_keys.KERAS, where, read)
  config_json.check_fixed(c, vision.FIXED, where)
  config = config_json.import_fields(FIELDS, {"max_sequence_length": 64, **c})
  width = config["width"]
  if c.get("embedding_dim", width) != width:
    raise ValueError(f"{where}: embedding_dim is {c['embedding_dim']} and hidden_dim {width}; only "
                     "one width is supported.")
  return TextConfig(**config, out_width=c.get("projection_dim") or width,
                    pad_token=pad_token(config["vocab_size"]))


def export_config(c):
  if not c.out_width:
    raise ValueError("a SigLIP text tower without a head")
  return config_json.export_fields(FIELDS, c) | dict(
      embedding_dim=c.width, projection_dim=c.out_width,
      intermediate_activation="gelu_approximate", layer_norm_epsilon=1e-6)


def constants(c, root=""):
  """{dataset: array} beside the parameters."""
  return {root + POSITIONS: np.arange(c.length, dtype=np.int32)[None]}


def param_map(c, root=""):
  """n tokens of a text, d width."""
  embedding = f"{root}layers/sig_lip_text_embedding"
  return [
      ParamMapping("txt/Embed_0/embedding", f"{embedding}/token_embedding/vars/0"),
      ParamMapping("txt/pos_embedding", f"{embedding}/position_embedding/vars/0", "1 n d -> n d"),
      *vision.blocks("txt/Encoder_0", root, c.depth),
      *KERAS.dense("txt/head", f"{root}layers/dense")]
