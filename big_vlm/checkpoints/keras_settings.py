"""The small files beside the weights of a KerasHub preset, compared with the model.

  task.json             its backbone is that of config.json
  preprocessor.json     its text begins with bos; sequence_length is how far KerasHub pads, and is
                        not needed here
  tokenizer.json        adds neither bos nor eos
  image_converter.json  image size, scaling to [-1, 1]

The converter and the tokenizer stand again inside the preprocessor, and that inside the task. What
differs from the model, or from what is done here, is refused, with the file and the key.
formats/foreign_keys.py has the keys.
"""
import math
import pathlib

from big_vlm.formats import config_json, foreign_keys
from pp.foreign import parse_json, read_bytes

FILES = ("task.json", "preprocessor.json", "tokenizer.json", "image_converter.json")


def check(folder, config, import_config):
  """Raises ValueError for the first file that disagrees.

  config: the PaliGemmaConfig of config.json. import_config(described, where): such a config.
  """
  for file in FILES:
    if (path := pathlib.Path(folder) / file).is_file():
      content = parse_json(read_bytes(path, config_json.MAX_BYTES), path)
      _check(content, config, import_config, path)


def _check(described, config, import_config, where):
  """A Keras object and the ones that it holds."""
  content = described["config"]
  name = str(described.get("class_name"))
  if "Backbone" in name or "VisionEncoder" in name:
    if import_config(described, where) != config:
      raise ValueError(f"{where}: its {name} is another model than that of config.json. Remove the "
                       "file that is out of date.")
  elif name.endswith("ImageConverter") and config.img:
    foreign_keys.check(content, foreign_keys.KERAS_IMAGES, where)
    _check_converter(content, config.img.image_size, where)
  elif name.endswith(("Preprocessor", "Tokenizer")) and config.llm:
    foreign_keys.check(content, foreign_keys.KERAS_TEXT, where)
  for key, value in content.items():
    if isinstance(value, dict) and isinstance(value.get("config"), dict) and key != "dtype":
      _check(value, config, import_config, f"{where}, {key}")


def _check_converter(content, side, where):
  size = content.get("image_size") or [content.get("height"), content.get("width")]
  if any(x is not None for x in size) and list(size) != [side, side]:
    raise ValueError(f"{where}: image_size is {size}, but the model's images are {side} x {side}.")
  scale, offset = content.get("scale"), content.get("offset")
  if "mean" in content:  # an older spelling, of pixels that are scaled first
    stds = [math.sqrt(v) for v in content["variance"]]
    scale, offset = [scale / s for s in stds], [-m / s for m, s in zip(content["mean"], stds)]
  for key, value, wanted in [("scale", scale, 1 / 127.5), ("offset", offset, -1)]:
    for x in value if isinstance(value, list) else [value]:
      if x is not None and not math.isclose(x, wanted, rel_tol=1e-3):
        raise ValueError(f"{where}: {key} is {value}; only {wanted}, which scales pixels of 0..255 "
                         "to [-1, 1], is supported.")
