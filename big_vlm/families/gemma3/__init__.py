"""Gemma 3 (arXiv 2503.19786), its text models: Gemma's decoder with other fields of its config."""
from big_vlm.families.gemma.model import PARAMS, PLACES, axis_sizes
from big_vlm.families.gemma.model import Gemma as Model
from big_vlm.families.gemma3.variants import VARIANTS, Gemma3Config, config

Config = Gemma3Config

__all__ = ["PARAMS", "PLACES", "VARIANTS", "Config", "Model", "axis_sizes", "config"]
