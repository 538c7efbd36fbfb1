"""The small files beside the weights of a KerasHub preset, compared with the model.

  task.json             its backbone is that of config.json
  preprocessor.json     its text begins with bos, SigLIP's does not; sequence_length is how far
                        KerasHub pads, and is not needed here
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
      _check(path.stem, content, config, import_config, path)


def _check(kind, described, config, import_config, where):
  """A Keras object, of what is named `kind`, and the ones that it holds."""
  content = described.get("config") if isinstance(described, dict) else None
  if not isinstance(content, dict):
    raise ValueError(f"{where} does not describe a {kind} of KerasHub: it has no object 'config'.")
  if kind == "backbone" and import_config(described, where) != config:
    raise ValueError(f"{where} is another model than that of config.json. Remove the file that is "
                     "out of date.")
  if kind == "image_converter" and config.img:
    foreign_keys.check(content, foreign_keys.KERAS_IMAGES, where)
    _check_converter(content, config.img.image_size, where)
  if kind in ("preprocessor", "tokenizer") and (config.llm or config.txt):
    table = foreign_keys.KERAS_TEXT if config.llm else foreign_keys.KERAS_TOWER_TEXT
    foreign_keys.check(content, table, where)
  for inside in ("backbone", "preprocessor", "tokenizer", "image_converter"):
    if content.get(inside) is not None:
      _check(inside, content[inside], config, import_config, f"{where}, {inside}")


def _check_converter(content, side, where):
  size = content.get("image_size", [content.get("height"), content.get("width")])
  if size not in (None, [None, None], [side, side]):
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
