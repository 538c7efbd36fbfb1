"""The text tower's config, and its sizes: a variant is a row of VARIANTS."""
import dataclasses
import functools

from big_vlm.nn import variants

SIGLIP2_VOCAB = 256_000  # Gemma's pieces


@dataclasses.dataclass(frozen=True)
class TextConfig:
  width: int
  depth: int
  mlp: int
  heads: int
  vocab_size: int = 32_000
  length: int = 64  # tokens of every text, padding included: the tower reads padding too
  pad_token: int = 1  # the id after a short text's eos: SigLIP's is the eos again, SigLIP 2's is 0
  out_width: int | None = None  # of the linear head, the image tower's width; None: no head
  temperature_init: float = 10.  # of training from scratch: of the logits' scale, exp(t),
  bias_init: float = -10.  # and of their bias
  dropout: float = 0.0
  dtype: str = "float32"  # of activations; position embeddings stay float32
  remat: str = "full"  # as in nn/decoder.py, which has the next two as well
  attention: str = "auto"
  unroll: int = 1

  def __post_init__(self):
    variants.check(self)
    if not self.temperature_init > 0:
      raise ValueError(f"temperature_init={self.temperature_init} is not above 0.")

  @property
  def head_dim(self):
    return self.width // self.heads


def pad_token(vocab_size):
  """The pad_token of a released model, of which files say nothing, or CLIP's."""
  return 0 if vocab_size == SIGLIP2_VOCAB else 1


VARIANTS = {
    "text_tiny": TextConfig(32, 2, 64, 4, vocab_size=64, length=8, out_width=32),
    "text_B": TextConfig(768, 12, 3072, 12, out_width=768),
    "text_L": TextConfig(1024, 24, 4096, 16, out_width=1024),
    "text_So400m": TextConfig(1152, 27, 4304, 16, out_width=1152),
}
# config(variant, **changes): a row with some fields changed
config = functools.partial(variants.config, VARIANTS, "text tower variant")
