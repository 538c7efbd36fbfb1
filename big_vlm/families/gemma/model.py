"""Gemma's decoder, and its parameters.

B batch, T tokens, D width, N query heads, K kv heads, H head dim, F mlp width, V vocabulary.
"""
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from big_vlm.families.gemma.variants import GemmaConfig
from big_vlm.families.spec import ParamSpec
from big_vlm.nn import attention, decoder, layers, partitioning

_ONE_MATRIX = lambda config: config.kv_heads == config.heads
_QUERY_APART = lambda config: config.kv_heads != config.heads
_POST_NORMS = lambda config: config.post_norms
_QK_NORM = lambda config: config.qk_norm

PARAMS = {
    "embedder/input_embedding": ParamSpec("V D", "embedding", ins="D"),
    "layers/pre_attention_norm/scale": ParamSpec("L D", "scale"),
    "layers/attn/qkv_einsum/w": ParamSpec("L 3 N D H", "projection", ins="D", when=_ONE_MATRIX),
    "layers/attn/q_einsum/w": ParamSpec("L N D H", "projection", ins="D", when=_QUERY_APART),
    "layers/attn/kv_einsum/w": ParamSpec("L 2 K D H", "projection", ins="D", when=_QUERY_APART),
    "layers/attn/q_norm/scale": ParamSpec("L H", "scale", when=_QK_NORM),
    "layers/attn/k_norm/scale": ParamSpec("L H", "scale", when=_QK_NORM),
    "layers/attn/attn_vec_einsum/w": ParamSpec("L N H D", "projection", ins="NH"),
    "layers/post_attention_norm/scale": ParamSpec("L D", "scale", when=_POST_NORMS),
    "layers/pre_ffw_norm/scale": ParamSpec("L D", "scale"),
    "layers/mlp/gating_einsum": ParamSpec("L 2 D F", "projection", ins="D"),
    "layers/mlp/linear": ParamSpec("L F D", "projection", ins="F"),
    "layers/post_ffw_norm/scale": ParamSpec("L D", "scale", when=_POST_NORMS),
    "final_norm/scale": ParamSpec("D", "scale"),
}


# Parts of the model in a profile, by the names of operations; the first that matches counts.
PLACES = (
    ("MLP", r"/layers/mlp/"), ("query, key, value, out", r"/attn/\w+_einsum"),
    ("attention", r"/attn/"), ("norms, other", r"/layers/"))


def axis_sizes(config):
  return dict(V=config.vocab_size, L=config.depth, D=config.width, N=config.heads,
              K=config.kv_heads, H=config.head_dim, F=config.mlp)


class Attention(nn.Module):
  config: GemmaConfig

  @nn.compact
  def __call__(self, x, tokens, mask, layer, cache):
    c = self.config
    if c.kv_heads == c.heads:
      qkv = layers.Weight((3, c.heads, c.width, c.head_dim), layers.fan_in(-2, (-4, -3)),
                          name="qkv_einsum")
      q, k, v = jnp.moveaxis(qkv("BTD,XNDH->BTXNH", x), 2, 0)
    else:
      q = layers.Weight((c.heads, c.width, c.head_dim), layers.fan_in(-2, -3), name="q_einsum")
      kv = layers.Weight((2, c.kv_heads, c.width, c.head_dim), layers.fan_in(-2, (-4, -3)),
                         name="kv_einsum")
      q, (k, v) = q("BTD,NDH->BTNH", x), jnp.moveaxis(kv("BTD,XKDH->BTXKH", x), 2, 0)
    if c.qk_norm:
      q, k = layers.RMSNorm(name="q_norm")(q), layers.RMSNorm(name="k_norm")(k)
    rope = functools.partial(attention.rope, position=tokens.position, **self._rope(layer))
    q = rope(q) * (c.query_scale or c.head_dim**-0.5)
    q, k, v = (checkpoint_name(x, layers.MODEL_WIDTH) for x in (q, rope(k), v))
    if cache is not None:
      cache = cache.write(layer, k, v)
      k, v = cache.read(layer, x.dtype)
    y = attention.attend(q, k, v, mask, c.attn_softcap,
                         capture=lambda probs: self.sow("intermediates", "attention", probs))
    out = layers.Weight((c.heads, c.head_dim, c.width), layers.fan_in((-3, -2)),
                        name="attn_vec_einsum")
    return checkpoint_name(out("BTNH,NHD->BTD", y), layers.MODEL_WIDTH), cache

  def _rope(self, layer):
    """The arguments of attention.rope in a layer, int32 []."""
    c = self.config
    if c.global_rope_base is None and c.global_rope_scale == 1:
      return dict(base=c.rope_base)
    local = jnp.array(c.is_local)[layer]
    return dict(base=jnp.where(local, c.rope_base, c.global_rope_base or c.rope_base),
                scale=jnp.where(local, 1, c.global_rope_scale))


class Mlp(nn.Module):
  """down(gelu(gate(x)) * up(x)), tanh-GELU."""
  config: GemmaConfig

  @nn.compact
  def __call__(self, x):
    c = self.config
    gating = self.param("gating_einsum", layers.fan_in(-2, -3), (2, c.width, c.mlp))
    linear = self.param("linear", layers.fan_in(-2), (c.mlp, c.width))
    wide = checkpoint_name(layers.einsum("BTD,XDF->BTXF", x, gating), layers.MLP_WIDTH)
    gate, up = jnp.moveaxis(wide, 2, 0)
    down = layers.einsum("BTF,FD->BTD", nn.gelu(gate) * up, linear)
    return checkpoint_name(down, layers.MODEL_WIDTH)


class Block(nn.Module):
  config: GemmaConfig
  train: bool

  @nn.compact
  def __call__(self, carry, layer, tokens, masks):
    c, (x, cache) = self.config, carry
    norm = lambda name, y: layers.RMSNorm(name=name)(y)
    post = norm if c.post_norms else lambda name, y: y
    drop = nn.Dropout(c.dropout, deterministic=not self.train)
    mask = masks["global"]
    if c.window is not None:
      local = jnp.array(c.is_local)[layer]
      mask = jax.tree.map(functools.partial(jnp.where, local), masks["local"], mask)
    y, cache = Attention(c, name="attn")(norm("pre_attention_norm", x), tokens, mask, layer, cache)
    x = partitioning.shard_activations(x + drop(post("post_attention_norm", y)))
    y = Mlp(c, name="mlp")(norm("pre_ffw_norm", x))
    # big_vision's order: it differs between the halves.
    x = partitioning.shard_activations(x + post("post_ffw_norm", drop(y)))
    self.sow("intermediates", "hidden", x)
    return (x, cache), None


class Embedder(nn.Module):
  config: GemmaConfig

  def setup(self):
    c = self.config
    self.input_embedding = self.param(
        "input_embedding", nn.initializers.normal(c.width**-0.5), (c.vocab_size, c.width))

  def encode(self, text):
    """int32 [B, T] -> [B, T, D], scaled by sqrt(D)."""
    return partitioning.shard_activations(
        self.scale(layers.lookup(self.input_embedding, text).astype(self.config.dtype)))

  def scale(self, x):
    """Rows of the table -> what the first block reads."""
    return x * jnp.sqrt(self.config.width).astype(x.dtype)

  def decode(self, x):
    logits = layers.tied_head(x, self.input_embedding)
    return layers.softcap(logits, self.config.final_softcap)


class Gemma(decoder.Decoder):
  config: GemmaConfig
  block = Block

  def setup(self):
    self.embedder = Embedder(self.config)
    self.final_norm = layers.RMSNorm()

  @staticmethod
  def block_args(config, tokens, keys, kernel="einsum"):
    return tokens, attention.masks(kernel, tokens, keys, config.window, config.sliding_window_mode)
