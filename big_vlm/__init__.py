"""big_vlm: vision-language models of the PaliGemma family in JAX.

  vlm = big_vlm.from_preset("workdirs/quickstart")
  vlm.generate("detect 3", image)[0].text
"""
from big_vlm.vlm import VLM, Generation, from_preset

__all__ = ["VLM", "Generation", "from_preset"]
