"""SigLIP's vision transformer (arXiv 2303.15343): a variant is a row of VARIANTS.

B batch, h and w patch rows and columns, L patches, D width, N heads, H head dim, F mlp width.
"""
import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from big_vlm import sharding
from big_vlm.nn import attention, layers, variants
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
  zero_head: bool = False  # the head starts at 0, as PaliGemma's connector did in stage 1
  dropout: float = 0.0
  dtype: str = "float32"  # of activations; patch and position embeddings stay float32
  remat: str = "full"  # as in gemma.py
  attention: str = "auto"  # as in gemma.py
  unroll: int = 1  # as in gemma.py

  def __post_init__(self):
    pick(POOLS, self.pool, "pooling of the vision tower")
    attention.check(self.attention)
    layers.check_remat(self.remat)

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
    "B/16": ViTConfig(768, 12, 3072, 12, 16),
    "L/16": ViTConfig(1024, 24, 4096, 16, 16),
    "So400m/14": ViTConfig(1152, 27, 4304, 16, 14),
}


def config(variant, **changes):
  """ViTConfig of a row of VARIANTS with some fields changed."""
  return variants.config(VARIANTS, "ViT variant", variant, **changes)


class Attention(nn.Module):
  """Queries x [B, T, D] read y [B, L, D]."""
  config: ViTConfig

  @nn.compact
  def __call__(self, x, y):
    c = self.config
    heads = (c.heads, c.width // c.heads)
    q, k, v = (layers.keep(layers.Dense("BLD,DNH->BLNH", (c.width,), heads, name=name)(z))
               for name, z in (("query", x), ("key", y), ("value", y)))
    kernel = "einsum"
    if x.shape == y.shape and not self.is_mutable_collection("intermediates"):
      kernel = attention.select_kernel(c.attention, x.shape[1], heads[1], dtype=c.dtype, masked=False)
    out = attention.attend(q * heads[1]**-0.5, k, v, attention.unmasked(kernel),
                           tap=lambda probs: self.sow("intermediates", "attention", probs))
    return layers.keep(layers.Dense("BLNH,NHD->BLD", heads, (c.width,), name="out")(out))


class MlpBlock(nn.Module):
  config: ViTConfig
  train: bool

  @nn.compact
  def __call__(self, x):
    c, small = self.config, nn.initializers.normal(1e-6)
    x = layers.Dense("BLD,DF->BLF", (c.width,), (c.mlp,), bias_init=small, name="Dense_0")(x)
    x = layers.keep(x, layers.WIDE)
    x = nn.Dropout(c.dropout, deterministic=not self.train)(nn.gelu(x))
    return layers.Dense("BLF,FD->BLD", (c.mlp,), (c.width,), bias_init=small, name="Dense_1")(x)


class EncoderBlock(nn.Module):
  config: ViTConfig
  train: bool

  @nn.compact
  def __call__(self, x, _):
    c = self.config
    drop = nn.Dropout(c.dropout, deterministic=not self.train)
    y = layers.LayerNorm(name="LayerNorm_0")(x)
    x = sharding.shard_activations(x + drop(Attention(c, name="MultiHeadDotProductAttention_0")(y, y)))
    y = MlpBlock(c, self.train, name="MlpBlock_0")(layers.LayerNorm(name="LayerNorm_1")(x))
    x = sharding.shard_activations(x + drop(y))
    self.sow("intermediates", "hidden", x)
    return x, None


class Encoder(nn.Module):
  config: ViTConfig

  @nn.compact
  def __call__(self, x, train):
    blocks = layers.stacked(EncoderBlock, self.config, train)
    x, _ = blocks(self.config, train, name="encoderblock")(x, None)
    return layers.LayerNorm(name="encoder_norm")(x)


class MAPHead(nn.Module):
  """[B, L, D] -> [B, D]: attention of a learned probe, then an MLP; no residual from the probe."""
  config: ViTConfig
  train: bool

  @nn.compact
  def __call__(self, x):
    c = self.config
    probe = self.param("probe", nn.initializers.xavier_uniform(), (1, 1, c.width), jnp.float32)
    probe = jnp.broadcast_to(probe.astype(x.dtype), (len(x), 1, c.width))
    y = Attention(c, name="MultiHeadDotProductAttention_0")(probe, x)
    z = layers.LayerNorm(name="LayerNorm_0")(y)
    return (y + MlpBlock(c, self.train, name="MlpBlock_0")(z))[:, 0]


class ViT(nn.Module):
  config: ViTConfig

  @nn.compact
  def __call__(self, image, train=False):
    """uint8 0..255 or float [-1, 1] image [B, H, W, 3] -> [B, L, out_width or width].

    Pooled, it is [B, out_width or width].
    """
    c = self.config
    if image.shape[1:] != (c.image_size, c.image_size, 3):
      raise ValueError(f"The vision tower takes images of [{c.image_size}, {c.image_size}, 3], not "
                       f"{list(image.shape[1:])}: resize them (pp: 'resize({c.image_size})').")
    if image.dtype == jnp.uint8:
      image = image.astype(jnp.float32) / 127.5 - 1
    side, p = c.image_size // c.patch, c.patch
    image = image[:, :side * p, :side * p].astype(jnp.float32)  # a conv's VALID rest
    patches = image.reshape(-1, side, p, side, p, 3)
    x = layers.Dense("Bhpwqc,pqcD->BhwD", (p, p, 3), (c.width,),
                     nn.initializers.lecun_normal(), name="embedding")(patches)
    x = x.reshape(-1, c.patches, c.width)
    x = x + self.param("pos_embedding", nn.initializers.normal(c.width**-0.5),
                       (1, c.patches, c.width), jnp.float32)
    x = nn.Dropout(c.dropout, deterministic=not train)(x)
    x = sharding.shard_activations(x.astype(c.dtype))
    self.sow("intermediates", "embedded", x)
    x = Encoder(c, name="Transformer")(x, train)
    self.sow("intermediates", "encoded", x)
    if c.pool == "map":
      x = MAPHead(c, train, name="MAPHead_0")(x)
    if c.out_width:
      x = layers.Dense("...D,DE->...E", (c.width,), (c.out_width,),
                       nn.initializers.zeros if c.zero_head else nn.initializers.lecun_normal(),
                       name="head")(x)
    self.sow("intermediates", "features", x)
    return x
