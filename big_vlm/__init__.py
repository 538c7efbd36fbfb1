"""big_vlm: vision-language models of the PaliGemma family in JAX.

  vlm = big_vlm.from_preset("workdirs/quickstart")
  vlm.generate("detect 3", image)[0].text
"""

__all__ = ["VLM", "Generation", "from_preset"]


def __getattr__(name):  # on first use, so that `python -m big_vlm.presets` runs that module once
  if name not in __all__:
    raise AttributeError(f"module 'big_vlm' has no attribute {name!r}")
  from big_vlm import vlm
  return getattr(vlm, name)
