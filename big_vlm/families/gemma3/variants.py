"""Gemma 3's config, and its sizes: a variant is a row of VARIANTS."""
import dataclasses
import functools

from big_vlm.families.gemma.variants import GemmaConfig
from big_vlm.nn import variants


@dataclasses.dataclass(frozen=True)
class Gemma3Config(GemmaConfig):
  """Five local layers to each global one (arXiv 2503.19786, section 2); the last layers are local
  where the depth is not a multiple of six. Each has a RoPE base of its own."""
  vocab_size: int = 262_144
  post_norms: bool = True
  window: int | None = 1024
  global_every: int = 6
  qk_norm: bool = True
  global_rope_base: float | None = 1_000_000
  max_positions: int = 131_072


_SMALL = dict(window=512, max_positions=32_768)
_LARGE = dict(global_rope_scale=8)  # trained on 32k tokens, then stretched to 128k
VARIANTS = {
    "gemma3_tiny": Gemma3Config(32, 4, 64, 4, 2, 8, vocab_size=128, window=6, global_every=3,
                                max_positions=64, **_LARGE),
    "gemma3_270m": Gemma3Config(640, 18, 2048, 4, 1, 256, **_SMALL),
    "gemma3_1b": Gemma3Config(1152, 26, 6912, 4, 1, 256, **_SMALL),
    "gemma3_4b": Gemma3Config(2560, 34, 10_240, 8, 4, 256, **_LARGE),
    "gemma3_12b": Gemma3Config(3840, 48, 15_360, 16, 8, 256, **_LARGE),
    # 27B divides by the width per head, 168, where the others divide by head_dim.
    "gemma3_27b": Gemma3Config(5376, 62, 21_504, 32, 16, 128, query_scale=168**-0.5, **_LARGE),
}
# config(variant, **changes): a row with some fields changed
config = functools.partial(variants.config, VARIANTS, "Gemma 3 variant")
