"""Gemma's config, and its sizes: a variant is a row of VARIANTS."""
import dataclasses
import functools
from typing import ClassVar

from big_vlm.nn import attention, variants


@dataclasses.dataclass(frozen=True)
class GemmaConfig:
  """See nn/decoder.py for the fields that all decoders have."""
  width: int
  depth: int
  mlp: int
  heads: int
  kv_heads: int
  head_dim: int
  vocab_size: int = 256_000
  query_scale: float | None = None  # None: head_dim ** -0.5
  post_norms: bool = False
  attn_softcap: float | None = None
  final_softcap: float | None = None
  window: int | None = None  # of local layers; None: they see as far as global ones
  sliding_window_mode: str = "symmetric"  # a row of attention.SLIDING_WINDOW_MODES
  global_every: int = 2  # layer i, from 0, is global where this divides i + 1; the others are local
  qk_norm: bool = False  # RMSNorm of queries and keys over the head dim, before RoPE
  rope_base: float = 10_000
  global_rope_base: float | None = None  # of global layers; None: rope_base
  global_rope_scale: float = 1  # what global layers divide positions by
  dropout: float = 0.0
  dtype: str = "float32"  # of activations; parameters, norms, softmax and logits are float32
  remat: str = "full"
  attention: str = "auto"
  unroll: int = 1
  eos_token: ClassVar[int] = 1
  max_positions: ClassVar[int] = 8192

  def __post_init__(self):
    attention.check_window_mode(self.sliding_window_mode)
    variants.check(self)
    if self.head_dim % 2:
      raise ValueError(f"head_dim={self.head_dim} of a Gemma is odd, and RoPE turns pairs.")

  @property
  def is_local(self):
    """Whether each layer is local: bool [depth]."""
    return tuple((layer + 1) % self.global_every != 0 for layer in range(self.depth))


_GEMMA2 = dict(post_norms=True, attn_softcap=50., final_softcap=30., window=4096)
VARIANTS = {
    "tiny": GemmaConfig(32, 2, 64, 4, 1, 16, vocab_size=128),
    "tiny2": GemmaConfig(32, 3, 64, 4, 2, 8, vocab_size=128, **{**_GEMMA2, "window": 6}),
    "gemma_2b": GemmaConfig(2048, 18, 16_384, 8, 1, 256),
    "gemma_7b": GemmaConfig(3072, 28, 24_576, 16, 16, 256),
    "gemma2_2b": GemmaConfig(2304, 26, 9_216, 8, 4, 256, **_GEMMA2),
    "gemma2_9b": GemmaConfig(3584, 42, 14_336, 16, 8, 256, **_GEMMA2),
    # 27B divides by the width per head, 144, where the others divide by head_dim.
    "gemma2_27b": GemmaConfig(4608, 46, 36_864, 32, 16, 128, query_scale=144**-0.5, **_GEMMA2),
    # Gemma 2 without post norms, caps and local layers, trained on 1,024 tokens. The released
    # config.json has sliding_window 512 and makes all its layers full_attention; the defaults of
    # transformers' VaultGemmaConfig (caps 50 and 30, every other layer local) are not its values.
    "vault_gemma_1b": GemmaConfig(1152, 26, 6_912, 4, 4, 256),
}
# config(variant, **changes): a row with some fields changed
config = functools.partial(variants.config, VARIANTS, "Gemma variant")
