"""Writes pp_strings.txt and pp_strings.npz from big_vision itself.

  python make_pp_strings.py CHECKOUT   a checkout of google-research/big_vision

Needs tensorflow, jax, flax, einops, sentencepiece, ml_collections and Pillow.

  pp_strings.txt   every pp string of its PaliGemma configs once (of those that differ in the
                   resolution or the language one): config, a tab, the string as Python writes it
  pp_strings.npz   LINE/KEY: what GOLDEN's lines of that file make of the examples in pp_examples.py
"""
import json
import pathlib
import re
import sys
import types

import numpy as np
import pp_examples

sys.path.insert(0, sys.argv[1])
import tensorflow as tf
from big_vision.pp import builder, ops_text, registry
from big_vision.pp.proj.paligemma import segmentation

HERE = pathlib.Path(__file__).parent
CONFIGS = pathlib.Path(sys.argv[1], "big_vision/configs/proj/paligemma/transfers")
ARGUMENTS = {
    **{name: [f"crop={c}" for c in ("rs", "ic", "rc")] for name in ("coco35l", "cococap",
                                                                    "textcaps")},
    "refcoco_seg": ["crop=rs", "crop=zic_mild"],
    "science_qa": [*(f"qfmt={q}" for q in ("QCM", "simple", "QM", "CQM")),
                   *(f"afmt={a}" for a in ("simple", "AL", "AE", "ALE"))]}
GOLDEN = ("ai2d", "activitynet_qa", "chartqa", "forkme", "gqa", "msrvtt_cap", "nlvr2",
          "refcoco_seg", "scicap", "tallyqa", "widgetcap", "vertexai_l4", "vqav2")
RANDOM = re.compile(r"inception|random_crop|zoomout|shuffle")


def strings(config):
  """The values of all keys "pp" and "pp_fn" of a nested config."""
  for key, value in config.items():
    if key in ("pp", "pp_fn") and isinstance(value, str):
      yield value
    elif hasattr(value, "items"):
      yield from strings(value)


def collect():
  """[(config, string)], one of each kind."""
  found = {}
  for path in sorted(CONFIGS.glob("*.py")):
    if path.stem == "common":
      continue
    module = types.ModuleType(path.stem)
    # The configs of videos raise where the user is to name a reader of the data.
    source = re.sub(r"raise NotImplementedError", "print", path.read_text())
    exec(compile(source, str(path), "exec"), module.__dict__)
    for argument in ARGUMENTS.get(path.stem, [None]):
      for string in strings(module.get_config(argument)):
        kind = re.sub(r"resize\(\d+", "resize(", re.sub(r"caption [a-z]+\"", "caption", string))
        found.setdefault(kind, (path.stem, string))
  return list(found.values())


def gemma(tokensets=()):
  return ops_text.SentencepieceTokenizer(str(HERE / "tokenizers/gemma/tokenizer.model"), tokensets)


def mask_model(_):
  with np.load(HERE / "vqvae.npz") as file:
    return {k.removeprefix("params/"): file[k].astype(np.float32) for k in file.files
            if k.startswith("params/")}


def tensors(value):
  if isinstance(value, dict):
    return {k: tensors(v) for k, v in value.items()}
  if isinstance(value, np.ndarray) and value.dtype == object and isinstance(value[0], np.ndarray):
    return tf.ragged.constant([v.tolist() for v in value])
  return tf.constant(value)


def small(string):
  """A pp string with a resolution of 16 pixels, so that the golden stays small."""
  return re.sub(r"(?<=resize\()(224|448|896)|(?<=video_decode\()224|224(?=, 3)|224(?=, 224)", "16",
                string)


def main():
  found = collect()
  lines = [f"{config}\t{string!r}" for config, string in found]
  (HERE / "pp_strings.txt").write_text("\n".join(lines) + "\n")
  for module in ("ops_general", "proj.paligemma.ops", "proj.paligemma.video", "ops_image",
                 "proj.paligemma.sciqa_ops", "proj.paligemma.widgetcap"):
    __import__(f"big_vision.pp.{module}")
  registry.Registry.register("tokenizers.gemma", replace=True)(gemma)
  segmentation.get_checkpoint = mask_model
  arrays = {}
  for n, (config, string) in enumerate(found):
    one = config == "refcoco_seg"  # whose example has one entry to choose from
    if config not in GOLDEN or RANDOM.search(string) or ("choice" in string and not one):
      continue
    example = tensors(pp_examples.EXAMPLES[config])
    result = builder.get_preprocess_fn(small(string), log_data=False)(example)
    for key, value in result.items():
      value = np.asarray(value)  # of strings: object
      if value.dtype.kind in "OS":
        value = np.array(json.dumps(np.vectorize(bytes.decode)(value).tolist()))
      if value.ndim == 4:
        value = value[:2]  # frames that repeat
      arrays[f"{n}|{key.replace('/', '+')}"] = (
          value.astype(np.float16) if key == "image" else value)
  np.savez_compressed(HERE / "pp_strings.npz", **arrays)
  print(len(found), "strings,", len({a.split("|")[0] for a in arrays}), "of them run")


if __name__ == "__main__":
  main()
