"""One model with random weights in big_vlm, KerasHub and transformers, for the benchmarks.

Only the function that builds a library's model imports it: each library runs in its own process.
"""
import dataclasses
import datetime
import importlib.metadata
import os
import platform
import subprocess


@dataclasses.dataclass(frozen=True)
class Size:
  tower: dict  # width, depth, mlp, heads
  decoder: dict  # width, depth, mlp, heads, kv_heads, head_dim
  dtype: str
  cores: int | None  # of a CPU to run on; None: all of them
  image_size: int = 224
  patch: int = 14
  vocab: int = 257_152

  @property
  def image_tokens(self):
    return (self.image_size // self.patch) ** 2


SIZES = {
    "tiny": Size(dict(width=32, depth=2, mlp=64, heads=2),
                 dict(width=32, depth=2, mlp=64, heads=4, kv_heads=1, head_dim=8),
                 "float32", 2, image_size=28, vocab=2048),
    "small": Size(dict(width=384, depth=12, mlp=1536, heads=6),
                  dict(width=512, depth=8, mlp=2048, heads=8, kv_heads=1, head_dim=64),
                  "float32", 2),
    "3b": Size(dict(width=1152, depth=27, mlp=4304, heads=16),
               dict(width=2048, depth=18, mlp=16_384, heads=8, kv_heads=1, head_dim=256),
               "bfloat16", None),
}


def our_model(size):
  """paligemma.PaliGemma."""
  from big_vlm.families import paligemma
  return paligemma.PaliGemma(paligemma.config(**our_config(size), dtype=size.dtype))


def our_config(size):
  """{"img", "llm"} of paligemma.config."""
  return dict(
      img=dict(variant="S/14", image_size=size.image_size, patch=size.patch, **size.tower),
      llm=dict(variant="gemma_2b", vocab_size=size.vocab, **size.decoder))


def keras_model(size):
  """keras_hub.models.PaliGemmaCausalLM on JAX, not compiled."""
  os.environ["KERAS_BACKEND"] = "jax"
  import keras
  from keras_hub import models
  keras.config.set_dtype_policy(size.dtype)
  tower, decoder = size.tower, size.decoder
  return models.PaliGemmaCausalLM(preprocessor=None, backbone=models.PaliGemmaBackbone(
      vocabulary_size=size.vocab, image_size=size.image_size, num_layers=decoder["depth"],
      num_query_heads=decoder["heads"], num_key_value_heads=decoder["kv_heads"],
      hidden_dim=decoder["width"], intermediate_dim=2 * decoder["mlp"],
      head_dim=decoder["head_dim"], vit_patch_size=size.patch, vit_num_heads=tower["heads"],
      vit_hidden_dim=tower["width"], vit_num_layers=tower["depth"],
      vit_intermediate_dim=tower["mlp"]))


def hf_model(size):
  """(transformers.PaliGemmaForConditionalGeneration, its device, id of <image>)."""
  import torch
  import transformers as hf
  device = "cuda" if torch.cuda.is_available() else "cpu"
  if size.cores and device == "cpu":
    torch.set_num_threads(size.cores)
  tower, decoder = size.tower, size.decoder
  image_token = size.vocab - 1
  config = hf.PaliGemmaConfig(
      image_token_index=image_token, projection_dim=decoder["width"],
      hidden_size=decoder["width"], text_config=hf.GemmaConfig(
          vocab_size=size.vocab, hidden_size=decoder["width"], intermediate_size=decoder["mlp"],
          num_hidden_layers=decoder["depth"], num_attention_heads=decoder["heads"],
          num_key_value_heads=decoder["kv_heads"], head_dim=decoder["head_dim"]),
      vision_config=hf.SiglipVisionConfig(
          hidden_size=tower["width"], intermediate_size=tower["mlp"],
          num_hidden_layers=tower["depth"], num_attention_heads=tower["heads"],
          image_size=size.image_size, patch_size=size.patch, vision_use_head=False))
  torch.manual_seed(0)
  torch.set_default_dtype(getattr(torch, size.dtype))
  with torch.device(device):
    return hf.PaliGemmaForConditionalGeneration(config), device, image_token


def pin_cores(size):
  """Restricts this process and its children to the cores of a Size; returns their number."""
  if size.cores:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:size.cores])
  return len(os.sched_getaffinity(0))


def circumstances(size_name, device, load):
  """The facts of a run that its results file has beside the results."""
  commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                          text=True).stdout.strip()
  return {"date": datetime.date.today().isoformat(), "commit": commit, "size": size_name,
          "device": f"{device}, {platform.machine()}, {len(os.sched_getaffinity(0))} cores",
          "load": load,
          "versions": {n: _version(n) for n in ("jax", "keras", "keras-hub", "torch",
                                                "transformers")}}


def _version(name):
  try:
    return importlib.metadata.version(name)
  except importlib.metadata.PackageNotFoundError:
    return None
