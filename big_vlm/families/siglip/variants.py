"""The vision transformer's config, and its sizes: a variant is a row of VARIANTS."""
import dataclasses
import functools

from big_vlm.nn import variants
from pp.names import pick

POOLS = {"none": "a vector per patch", "map": "a vector per image, by attention of a learned probe",
         "gap": "a vector per image, the mean of the patches'",
         "tok": "a vector per image, that of a learned token before the patches"}
POSITIONS = {"learn": "a table", "sincos2d": "sines and cosines of row and column, nothing learned"}


@dataclasses.dataclass(frozen=True)
class ViTConfig:
  width: int
  depth: int
  mlp: int
  heads: int
  patch: int
  image_size: int = 224  # side in pixels
  pool: str = "none"  # a row of POOLS
  positions: str = "learn"  # a row of POSITIONS
  rep_size: int | None = None  # width of a tanh layer before the head; None: there is none
  out_width: int | None = None  # of the linear head after the pooling; None: no head
  naflex: bool = False  # reads images of any shape as patches; image_size is that of its table
  zero_head: bool = False  # the head starts at 0, as PaliGemma's projector did in stage 1
  dropout: float = 0.0
  dtype: str = "float32"  # of activations; patch and position embeddings stay float32
  remat: str = "full"  # as in nn/decoder.py, which has the next two as well
  attention: str = "auto"
  unroll: int = 1

  def __post_init__(self):
    variants.check(self)
    if self.image_size < self.patch:
      raise ValueError(f"image_size={self.image_size} of a tower is below patch={self.patch}.")
    pick(POOLS, self.pool, "pooling of the vision tower")
    pick(POSITIONS, self.positions, "positions of the vision tower")
    if self.positions == "sincos2d" and self.width % 4:
      raise ValueError(f"positions='sincos2d' needs a width that 4 divides, not {self.width}.")
    if self.naflex and (self.pool != "map" or self.positions != "learn"):
      raise ValueError("A NaFlex tower pools, pool='map': what it gives for padding means nothing. "
                       "It resizes a learned table of positions.")

  @property
  def head_dim(self):
    return self.width // self.heads

  @property
  def patches(self):
    return (self.image_size // self.patch) ** 2

  @property
  def tokens(self):
    """Vectors per image that the tower gives."""
    return self.patches if self.pool == "none" else 1


SIZES = {  # width, depth, mlp, heads: those of big_vision
    "mu": (32, 1, 128, 2), "Ti": (192, 12, 768, 3), "S": (384, 12, 1536, 6),
    "M": (512, 12, 2048, 8), "B": (768, 12, 3072, 12), "L": (1024, 24, 4096, 16),
    "So400m": (1152, 27, 4304, 16), "H": (1280, 32, 5120, 16), "g": (1408, 40, 6144, 16),
    "g-opt": (1536, 40, 6144, 16), "G": (1664, 48, 8192, 16), "G-opt": (1536, 48, 8192, 16),
    "e": (1792, 56, 15360, 16)}
PATCHES = (14, 16, 32)
VARIANTS = {"tiny": ViTConfig(32, 2, 64, 4, 8, image_size=16)} | {
    f"{size}/{patch}": ViTConfig(*row, patch) for size, row in SIZES.items() for patch in PATCHES}
# config(variant, **changes): a row with some fields changed
config = functools.partial(variants.config, VARIANTS, "ViT variant")
