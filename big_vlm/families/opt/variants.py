"""OPT's config, and its sizes: a variant is a row of VARIANTS."""
import dataclasses
import functools
from typing import ClassVar

from big_vlm.nn import variants


@dataclasses.dataclass(frozen=True)
class OPTConfig:
  """See nn/decoder.py for the fields that all decoders have."""
  width: int
  depth: int
  mlp: int
  heads: int
  vocab_size: int = 50_272
  max_positions: int = 2048  # rows of the position table
  embed_width: int | None = None  # of the embedding table, projected to width; None: width
  post_norm: bool = False  # norms after what a block adds, and none at the end
  dropout: float = 0.0
  dtype: str = "float32"
  remat: str = "full"
  attention: str = "auto"
  unroll: int = 1
  eos_token: ClassVar[int] = 2
  attn_softcap: ClassVar[float | None] = None

  def __post_init__(self):
    variants.check(self)

  @property
  def head_dim(self):
    return self.width // self.heads

  @property
  def kv_heads(self):
    return self.heads


VARIANTS = {
    "opt_tiny": OPTConfig(32, 2, 64, 4, vocab_size=128, max_positions=64),
    "opt_125m": OPTConfig(768, 12, 3_072, 12),
    "opt_350m": OPTConfig(1024, 24, 4_096, 16, embed_width=512, post_norm=True),
    "opt_1.3b": OPTConfig(2048, 24, 8_192, 32),
    "opt_2.7b": OPTConfig(2560, 32, 10_240, 32),
    "opt_6.7b": OPTConfig(4096, 32, 16_384, 32),
}
# config(variant, **changes): a row with some fields changed
config = functools.partial(variants.config, VARIANTS, "OPT variant")
