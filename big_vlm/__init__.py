"""big_vlm: vision-language models of the PaliGemma family in JAX.

  vlm = big_vlm.from_preset("digits")
  vlm.generate("detect 3", image)[0].text
"""
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from big_vlm.decode import samplers
  from big_vlm.vlm import VLM, Generation, from_preset

__all__ = ["VLM", "Generation", "from_preset", "samplers"]
__version__ = "0.1.0"


def __getattr__(name):  # on first use: JAX takes a second to import
  if name not in __all__:
    raise AttributeError(f"module 'big_vlm' has no attribute {name!r}")
  if name == "samplers":
    return importlib.import_module("big_vlm.decode.samplers")
  return getattr(importlib.import_module("big_vlm.vlm"), name)
