"""OPT (arXiv 2205.01068), the pre-norm sizes."""
from big_vlm.families.opt.model import OPT as Model
from big_vlm.families.opt.model import PARAMS, PLACES, axis_sizes
from big_vlm.families.opt.variants import VARIANTS, OPTConfig, config

Config = OPTConfig

__all__ = ["PARAMS", "PLACES", "VARIANTS", "Config", "Model", "OPTConfig", "axis_sizes", "config"]
