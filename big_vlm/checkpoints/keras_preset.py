"""What lies beside the weights in a KerasHub preset, as KerasHub 0.32 writes it.

    config.json            the backbone
    task.json              GemmaCausalLM and the like: backbone and preprocessor nested
    preprocessor.json      tokenizer (and image converter) nested, text length
    tokenizer.json         settings; the vocabulary is in assets/tokenizer/
    image_converter.json   PaliGemma only
    metadata.json          for people: versions, number of parameters, date
    assets/tokenizer/      vocabulary.spm, or vocabulary.json and merges.txt
"""
import datetime
import json
import pathlib

from big_vlm.checkpoints.keras_config import described
from pp import tokenizer_files
from pp.registry import parse_call

VERSIONS = {"keras_version": "3.15.1", "keras_hub_version": "0.32.0"}  # whose form this is
TEXT_LENGTH = {"PaliGemma": 512, "Gemma": 1024, "OPT": 1024}  # tokens the preprocessor packs


def write(folder, backbone, parameters, tokenizer):
  """Writes all of it but the weights.

  backbone: config.json's dict. parameters: their number. tokenizer: for get_tokenizer; None: the
  preset has no task, preprocessor and tokenizer, and Backbone.from_preset opens it. Raises
  ValueError for a tokenizer that is not of the kind that the backbone's class has.
  """
  folder, family = pathlib.Path(folder), backbone["class_name"].removesuffix("Backbone")
  with_text = family in TEXT_LENGTH
  files = {"config.json": backbone, "metadata.json": _metadata(parameters, with_text)}
  if family == "PaliGemma":
    files["image_converter.json"] = _image_converter(backbone["config"]["image_size"])
  if with_text and tokenizer:
    _write_assets(folder / "assets" / "tokenizer", family, tokenizer)
    files["tokenizer.json"] = _tokenizer(family)
    files["preprocessor.json"] = _preprocessor(family, backbone["config"], files)
    files["task.json"] = _task(family, backbone, files["preprocessor.json"])
  for name, content in files.items():
    (folder / name).write_text(json.dumps(content, indent=4))


def _metadata(parameters, with_text):
  now = datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S")
  return {**VERSIONS, "parameter_count": parameters, "date_saved": now,
          "tasks": ["CausalLM"] if with_text else []}


def _image_converter(size):
  """Squashes to a square with antialias and scales to [-1, 1], as the models were trained.

  KerasHub's own presets crop to the aspect ratio, without antialias.
  """
  return described("PaliGemma", "ImageConverter", dict(
      image_size=[size, size], scale=1 / 127.5, offset=-1, interpolation="bilinear",
      antialias=True, crop_to_aspect_ratio=False, pad_to_aspect_ratio=False,
      bounding_box_format="yxyx"), "float32")


def _tokenizer(family):
  if family == "OPT":
    special = dict(sequence_length=None, add_prefix_space=False,
                   unsplittable_tokens=["<pad>", "</s>"])
  else:
    special = dict(proto=None, sequence_length=None, add_bos=False, add_eos=False)
  return described(family, "Tokenizer", dict(config_file="tokenizer.json", **special), "int32")


def _preprocessor(family, backbone, files):
  nested = {"tokenizer": files["tokenizer.json"]}
  if "image_converter.json" in files:
    nested["image_converter"] = files["image_converter.json"]
  length = min(TEXT_LENGTH[family], backbone.get("max_sequence_length", TEXT_LENGTH[family]))
  return described(family, "CausalLMPreprocessor", dict(
      **nested, config_file="preprocessor.json", sequence_length=length, add_start_token=True,
      add_end_token=True), "float32")


def _task(family, backbone, preprocessor):
  task = described(family, "CausalLM", {}, "float32")
  name = task["config"]["name"]
  return {**task, "config": {"backbone": backbone, "preprocessor": preprocessor, "name": name}}


def _write_assets(folder, family, tokenizer):
  if family == "OPT":
    files = _bpe(tokenizer)
  else:
    files = {"vocabulary.spm": tokenizer_files.serialized(tokenizer)}
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
    raise ValueError(f"The tokenizer {tokenizer} is no byte-level BPE, which KerasHub's OPT needs: "
                     "give the vocab.json and merges.txt of the model.")
  pairs = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
  return {"vocabulary.json": json.dumps(model["vocab"]).encode(),
          "merges.txt": "\n".join(["#version: 0.2", *pairs, ""]).encode()}
