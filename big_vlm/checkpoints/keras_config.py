"""KerasHub's config.json <-> PaliGemmaConfig.

A Keras object is written as {"module", "class_name", "config", "registered_name"}; registered_name
is "keras_hub>GemmaBackbone", or "keras_nlp>..." in presets of the older name. Keys that are absent
have the defaults of KerasHub 0.32: what a file from before Gemma 2 does not know is off. Whatever
would change the numbers and has no counterpart here is refused, not skipped.
"""
import json
import math
import pathlib
import re

from big_vlm.families import gemma, opt, paligemma
from big_vlm.families import siglip as vit
from pp.names import near_miss

WINDOW = 4096  # KerasHub's default, also written where no layer is local
VIT_MLP = 4304  # where a file lacks vit_intermediate_dim: that of So400m
FOLDERS = {"PaliGemma": "pali_gemma", "Gemma": "gemma", "OPT": "opt", "SigLIP": "siglip"}


def read(folder):
  """The dict of folder/config.json. Raises ValueError with file and line, or FileNotFoundError."""
  file = pathlib.Path(folder) / "config.json"
  try:
    described = json.loads(file.read_text())
  except json.JSONDecodeError as e:
    raise ValueError(f"{file}, line {e.lineno}, column {e.colno}: no JSON ({e.msg}). Download it "
                     "again.") from None
  except UnicodeDecodeError as e:
    raise ValueError(f"{file} is no text ({e}). Download it again.") from None
  if not isinstance(described, dict) or not isinstance(described.get("config"), dict):
    raise ValueError(f"{file} describes no KerasHub backbone: it has no object 'config'.")
  return described


def class_of(described):
  """"GemmaBackbone" of {"registered_name": "keras_hub>GemmaBackbone", ...}."""
  return str(described.get("registered_name")).rpartition(">")[2]


def to_ours(described, where):
  """PaliGemmaConfig of config.json's dict; where: the file, for the message of the ValueError."""
  readers = {"PaliGemmaBackbone": _paligemma, "GemmaBackbone": _text(_gemma),
             "OPTBackbone": _text(_opt), "SigLIPVisionEncoder": _siglip,
             "SigLIPBackbone": _siglip_pair}
  name, config = class_of(described), described["config"]
  if name not in readers:
    raise ValueError(f"{where} is of the class {name!r}, which is not supported."
                     f"{near_miss(name, readers)} Known: {', '.join(sorted(readers))}.")
  if _quantized(config.get("dtype")):
    raise ValueError(f"{where}: dtype is {config['dtype']}: the weights are quantized. Take the "
                     "preset that they were made from.")
  try:
    return readers[name](config, where)
  except KeyError as e:
    raise ValueError(f"{where}: the {name} has no {e}, without which the model cannot be built."
                     ) from None


def _quantized(dtype):
  """Whether a serialized dtype policy is more than the name of a float type."""
  if isinstance(dtype, dict):
    dtype = (dtype.get("config") or {}).get("name", dtype.get("class_name"))
  return dtype is not None and not re.fullmatch(r"(mixed_)?b?float(16|32)", str(dtype))


def _only(config, where, **allowed):
  """Raises unless each key that is there has one of its allowed values."""
  for key, values in allowed.items():
    if (value := config.get(key, values[0])) not in values:
      raise ValueError(f"{where}: {key} is {value!r}; only "
                       f"{' or '.join(map(repr, values))} is supported.")


def _text(read_decoder):
  return lambda c, where: paligemma.PaliGemmaConfig(None, read_decoder(c, where))


def _paligemma(c, where):
  _only(c, where, vit_pooling=(None,), vit_classifier_activation=(None, "linear"))
  img = vit.ViTConfig(
      width=c["vit_hidden_dim"], depth=c["vit_num_layers"],
      mlp=c.get("vit_intermediate_dim") or VIT_MLP, heads=c["vit_num_heads"],
      patch=c["vit_patch_size"], image_size=c["image_size"], out_width=c["hidden_dim"])
  return paligemma.PaliGemmaConfig(img, _gemma(c, where, window=False))


def _gemma(c, where, window=True):
  """window=False: PaliGemma 2 was trained without one, whatever its preset says."""
  _only(c, where, layer_norm_epsilon=(1e-6,))
  post_norms = bool(c.get("use_post_ffw_norm"))
  if post_norms != bool(c.get("use_post_attention_norm")):
    raise ValueError(f"{where}: use_post_ffw_norm and use_post_attention_norm differ; a Gemma has "
                     "both norms or neither.")
  width, heads = c["hidden_dim"], c["num_query_heads"]
  # KerasHub keeps this flag and scales by head_dim all the same, which is wrong for 27B.
  by_head_dim = c.get("query_head_dim_normalize", True)
  local = window and c.get("use_sliding_window_attention")
  return gemma.GemmaConfig(
      width=width, depth=c["num_layers"], mlp=c["intermediate_dim"] // 2, heads=heads,
      kv_heads=c["num_key_value_heads"], head_dim=c["head_dim"], vocab_size=c["vocabulary_size"],
      query_scale=None if by_head_dim else (width / heads)**-0.5, post_norms=post_norms,
      attn_softcap=c.get("attention_logit_soft_cap"), final_softcap=c.get("final_logit_soft_cap"),
      window=c.get("sliding_window_size", WINDOW) if local else None)


def _opt(c, where):
  return opt.OPTConfig(
      width=c["hidden_dim"], depth=c["num_layers"], mlp=c["intermediate_dim"],
      heads=c["num_heads"], vocab_size=c["vocabulary_size"],
      max_positions=c.get("max_sequence_length", 2048))


def _siglip(c, where):
  _only(c, where, intermediate_activation=("gelu_approximate",), layer_norm_epsilon=(1e-6,))
  height, width, channels = c.get("image_shape", (224, 224, 3))
  if height != width or channels != 3:
    raise ValueError(f"{where}: image_shape is {c['image_shape']}; only square images with the "
                     "channels last, [side, side, 3], are supported.")
  return paligemma.PaliGemmaConfig(vit.ViTConfig(
      width=c["hidden_dim"], depth=c["num_layers"], mlp=c["intermediate_dim"],
      heads=c["num_heads"], patch=c["patch_size"], image_size=height, pool="map"), None)


def _siglip_pair(c, where):
  """The vision tower of image and text towers, as SigLIP is released."""
  tower = c["vision_encoder"]
  if class_of(tower) != "SigLIPVisionEncoder":
    raise ValueError(f"{where}: the vision_encoder is of the class {class_of(tower)!r}, not "
                     "SigLIPVisionEncoder, and is not supported.")
  return _siglip(tower["config"], f"{where}, vision_encoder")


def to_theirs(config, dtype):
  """config.json's dict of a PaliGemmaConfig; dtype: name of the weights' dtype.

  Raises ValueError for a model that KerasHub has no class of.
  """
  if config.llm is None:
    return described("SigLIP", "VisionEncoder", _to_siglip(config.img), dtype)
  if config.img is None:
    if isinstance(config.llm, opt.OPTConfig):
      return described("OPT", "Backbone", _to_opt(config.llm), dtype)
    return described("Gemma", "Backbone", _to_gemma(config.llm), dtype)
  if isinstance(config.llm, opt.OPTConfig):
    raise _no_class("a vision tower with an OPT decoder")
  if config.img.pool != "none" or config.img.out_width != config.llm.width:
    raise _no_class("a PaliGemma whose tower is pooled or has no head of the decoder's width")
  if config.llm.window is not None and config.llm.sliding_window_mode != "symmetric":
    raise _no_class(f"a PaliGemma with the sliding window mode {config.llm.sliding_window_mode!r}")
  both = {**_to_gemma(config.llm), **_to_tower(config.img)}
  return described("PaliGemma", "Backbone", both, dtype)


def described(family, kind, config, dtype):
  """A Keras object of class family + kind, such as "Gemma" + "CausalLM", as KerasHub writes it."""
  name = family + kind
  snake = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
  snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", snake).lower()
  file = snake.replace("sig_lip", "siglip")
  return {"module": f"keras_hub.src.models.{FOLDERS[family]}.{file}", "class_name": name,
          "config": {"name": snake, "trainable": True, "dtype": policy(dtype), **config},
          "registered_name": f"keras_hub>{name}"}


def policy(dtype):
  """A Keras dtype policy as KerasHub writes it."""
  return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype},
          "registered_name": None}


def _to_gemma(c):
  by_head_dim = c.query_scale is None or math.isclose(c.query_scale, c.head_dim**-0.5)
  if not by_head_dim and not math.isclose(c.query_scale, (c.width / c.heads)**-0.5):
    raise _no_class(f"a decoder of query scale {c.query_scale}, which is neither head_dim**-0.5 "
                    "nor (width / heads)**-0.5")
  return dict(
      vocabulary_size=c.vocab_size, num_layers=c.depth, num_query_heads=c.heads,
      num_key_value_heads=c.kv_heads, hidden_dim=c.width, intermediate_dim=2 * c.mlp,
      head_dim=c.head_dim, layer_norm_epsilon=1e-6, dropout=0,
      query_head_dim_normalize=by_head_dim, use_post_ffw_norm=c.post_norms,
      use_post_attention_norm=c.post_norms, final_logit_soft_cap=c.final_softcap,
      attention_logit_soft_cap=c.attn_softcap, sliding_window_size=c.window or WINDOW,
      use_sliding_window_attention=c.window is not None)


def _to_tower(c):
  return dict(image_size=c.image_size, vit_patch_size=c.patch, vit_num_heads=c.heads,
              vit_hidden_dim=c.width, vit_num_layers=c.depth, vit_intermediate_dim=c.mlp,
              vit_pooling=None, vit_classifier_activation=None, vit_name=None)


def _to_siglip(c):
  if c.pool != "map" or c.out_width:
    raise _no_class("a SigLIP tower without its pooling head, or with a linear head")
  return dict(patch_size=c.patch, hidden_dim=c.width, num_layers=c.depth, num_heads=c.heads,
              intermediate_dim=c.mlp, intermediate_activation="gelu_approximate",
              layer_norm_epsilon=1e-6, image_shape=[c.image_size, c.image_size, 3])


def _to_opt(c):
  return dict(vocabulary_size=c.vocab_size, num_layers=c.depth, num_heads=c.heads,
              hidden_dim=c.width, intermediate_dim=c.mlp, dropout=0,
              max_sequence_length=c.max_positions)


def _no_class(what):
  return ValueError(f"KerasHub has no class for {what}: export it as 'native' or 'npz'.")
