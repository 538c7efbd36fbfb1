"""Gemma 1 and 2 (arXiv 2403.08295, 2408.00118)."""
from big_vlm.families.gemma.model import PARAMS, PLACES, axis_sizes
from big_vlm.families.gemma.model import Gemma as Model
from big_vlm.families.gemma.variants import VARIANTS, GemmaConfig, config

Config = GemmaConfig

__all__ = ["PARAMS", "PLACES", "VARIANTS", "Config", "GemmaConfig", "Model", "axis_sizes", "config"]
