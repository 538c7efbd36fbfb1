"""What lies beside the weights in a KerasHub preset, as KerasHub 0.32 writes it.

    config.json            the backbone
    task.json              GemmaCausalLM and the like: backbone and preprocessor nested
    preprocessor.json      tokenizer (and image converter) nested, text length
    tokenizer.json         settings; the vocabulary is in assets/tokenizer/
    image_converter.json   PaliGemma and SigLIP only
    metadata.json          for people: versions, number of parameters, date
    assets/tokenizer/      vocabulary.spm, or vocabulary.json and merges.txt
"""
import datetime
import json
import pathlib
import re

from pp import tokenizer_files
from pp.registry import parse_call

VERSIONS = {"keras_version": "3.15.1", "keras_hub_version": "0.32.0"}  # whose form this is


def described(name, config, dtype):
  """A Keras object of the class `name`, such as "GemmaCausalLM", as KerasHub writes it; a pair of
  class and config in its config is an object too."""
  snake = _snake(name)
  kinds = "Backbone|VisionEncoder|TextEncoder|ImageConverter|Tokenizer|CausalLM|Preprocessor"
  family = _snake(re.match(f"(.*?)({kinds})", name)[1])
  config = {k: described(*v, dtype) if isinstance(v, tuple) else v for k, v in config.items()}
  module = f"keras_hub.src.models.{family}.{snake}".replace("sig_lip", "siglip")
  return {"module": module, "class_name": name,
          "config": {"name": snake, "trainable": True, "dtype": policy(dtype), **config},
          "registered_name": f"keras_hub>{name}"}


def _snake(name):
  name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
  return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def policy(dtype):
  """A Keras dtype policy as KerasHub writes it."""
  return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype},
          "registered_name": None}


def write(folder, backbone, parameters, tokenizer, preprocessing):
  """Writes all of it but the weights.

  backbone: config.json's dict. parameters: their number. tokenizer: for get_tokenizer; None: the
  preset has no task, preprocessor and tokenizer, and Backbone.from_preset opens it. preprocessing:
  paligemma_keras.Preprocessing, or None for a tower. Raises ValueError for a tokenizer that is not
  of the kind that the backbone's class has.
  """
  folder, family = pathlib.Path(folder), backbone["class_name"].removesuffix("Backbone")
  date = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
  files = {"config.json": backbone, "metadata.json": {
      **VERSIONS, "parameter_count": parameters, "date_saved": date,
      "tasks": [preprocessing.task] if preprocessing and preprocessing.task else []}}
  nested = {}
  if family == "PaliGemma":
    nested["image_converter"] = _image_converter(family, backbone["config"]["image_size"], True)
  if family == "SigLIP":
    side, *_ = backbone["config"]["vision_encoder"]["config"]["image_shape"]
    nested["image_converter"] = _image_converter(family, side, False)
  if preprocessing and tokenizer:
    task, byte_level = preprocessing.task or "", preprocessing.byte_level
    _write_assets(folder / "assets" / "tokenizer", byte_level, tokenizer)
    nested["tokenizer"] = _tokenizer(family, byte_level)
    length = min(preprocessing.length,
                 backbone["config"].get("max_sequence_length", preprocessing.length))
    files["preprocessor.json"] = described(f"{family}{task}Preprocessor", dict(
        **nested, config_file="preprocessor.json", sequence_length=length,
        **preprocessing.settings), "float32")
    if task:
      whole = described(f"{family}{task}", {}, "float32")
      files["task.json"] = {**whole, "config": {
          "backbone": backbone, "preprocessor": files["preprocessor.json"],
          "name": whole["config"]["name"]}}
  files |= {f"{name}.json": content for name, content in nested.items()}
  for name, content in files.items():
    (folder / name).write_text(json.dumps(content, indent=4))


def _image_converter(family, size, antialias):
  """Squashes to a square, PaliGemma's with antialias, and scales to [-1, 1], as in big_vision.

  KerasHub's own presets of PaliGemma crop to the aspect ratio, without antialias; those of SigLIP
  are bicubic with antialias.
  """
  return described(f"{family}ImageConverter", dict(
      image_size=[size, size], scale=1 / 127.5, offset=-1, interpolation="bilinear",
      antialias=antialias, crop_to_aspect_ratio=False, pad_to_aspect_ratio=False,
      bounding_box_format="yxyx"), "float32")


def _tokenizer(family, byte_level):
  special = (dict(add_prefix_space=False, unsplittable_tokens=["<pad>", "</s>"]) if byte_level
             else dict(proto=None, add_bos=False, add_eos=False))
  return described(f"{family}Tokenizer", dict(
      config_file="tokenizer.json", sequence_length=None, **special), "int32")


def _write_assets(folder, byte_level, tokenizer):
  files = _bpe(tokenizer) if byte_level else {
      "vocabulary.spm": tokenizer_files.serialized(tokenizer)}
  folder.mkdir(parents=True)
  for name, data in files.items():
    (folder / name).write_bytes(data)


def _bpe(tokenizer):
  """{file name: bytes} of a byte-level BPE, from its own two files or from a tokenizer.json."""
  kind, *_ = parse_call(tokenizer)
  files = {k: pathlib.Path(v).read_bytes() for k, v in tokenizer_files.files(tokenizer).items()}
  if kind == "bpe":
    return {"vocabulary.json": files["vocab"], "merges.txt": files["merges"]}
  model = json.loads(files["file"]).get("model") if kind == "hf" else {}
  if model.get("type") != "BPE":
    raise ValueError(f"The tokenizer {tokenizer} is not a byte-level BPE, which KerasHub's OPT "
                     "needs: give the vocab.json and merges.txt of the model.")
  pairs = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
  return {"vocabulary.json": json.dumps(model["vocab"]).encode(),
          "merges.txt": "\n".join(["#version: 0.2", *pairs, ""]).encode()}
