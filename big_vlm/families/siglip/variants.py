"""The vision transformer's config, and its sizes: a variant is a row of VARIANTS."""
import dataclasses
import functools

from big_vlm.nn import variants
from pp.names import pick

POOLS = {"none": "a vector per patch", "map": "a vector per image, by attention of a learned probe"}


@dataclasses.dataclass(frozen=True)
class ViTConfig:
  width: int
  depth: int
  mlp: int
  heads: int
  patch: int
  image_size: int = 224  # side in pixels
  pool: str = "none"  # a row of POOLS
  out_width: int | None = None  # of the linear head after the pooling; None: no head
  naflex: bool = False  # reads images of any shape as patches; image_size is that of its table
  zero_head: bool = False  # the head starts at 0, as PaliGemma's projector did in stage 1
  dropout: float = 0.0
  dtype: str = "float32"  # of activations; patch and position embeddings stay float32
  remat: str = "full"  # as in nn/decoder.py, which has the next two as well
  attention: str = "auto"
  unroll: int = 1

  def __post_init__(self):
    pick(POOLS, self.pool, "pooling of the vision tower")
    if self.naflex and self.pool == "none":
      raise ValueError("A NaFlex tower pools, pool='map': what it gives for padding means nothing.")
    variants.check(self)

  @property
  def head_dim(self):
    return self.width // self.heads

  @property
  def patches(self):
    return (self.image_size // self.patch) ** 2

  @property
  def tokens(self):
    """Vectors per image that the tower gives."""
    return 1 if self.pool == "map" else self.patches


VARIANTS = {
    "tiny": ViTConfig(32, 2, 64, 4, 8, image_size=16),
    "S/14": ViTConfig(384, 12, 1536, 6, 14),
    "B/32": ViTConfig(768, 12, 3072, 12, 32),
    "B/16": ViTConfig(768, 12, 3072, 12, 16),
    "L/16": ViTConfig(1024, 24, 4096, 16, 16),
    "So400m/14": ViTConfig(1152, 27, 4304, 16, 14),
    "So400m/16": ViTConfig(1152, 27, 4304, 16, 16),
    "g-opt/16": ViTConfig(1536, 40, 6144, 16, 16),
}
# config(variant, **changes): a row with some fields changed
config = functools.partial(variants.config, VARIANTS, "ViT variant")
