"""A checkpoint of any format, as the rest of the project sees it: a config and LazyArrays.

Each format is a module (native, npz, hf, keras, openpi) with three functions:

  can_read(path) -> bool         whether the file or folder is of this format
  open_source(path) -> Checkpoint   reads names, shapes and config; of tensors only the head that a
                                 Hugging Face folder may store, to compare it
  write(path, source, note)      writes a Checkpoint into the empty folder `path`; formats of one
                                 file (FILES in save.py) write that file

so a conversion is write(path, open_source(other)), one tensor in memory at a time.
"""
import collections
import dataclasses

import numpy as np

from big_vlm.families import paligemma
from big_vlm.formats import param_map
from big_vlm.formats.lazy_array import LazyArray
from big_vlm.formats.lazy_array import from_array as from_array


def shapes(config):
  """{name: shape} of the parameters of a PaliGemmaConfig."""
  return {name: x.shape for name, x in paligemma.param_shapes(config).items()}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A checkpoint: its model, its parameters by name ("llm/final_norm/scale"), its tokenizer."""
  path: str  # file or folder, for messages
  config: paligemma.PaliGemmaConfig
  leaves: dict[str, LazyArray]  # in the names and shapes of our parameter tree
  tokenizer: str | None  # for pp.tokenizer.get_tokenizer; None: it has none
  text_len: int | None = None  # tokens that its training read, where the format says it
  # {name: LazyArray} of the weight wrappers that a work folder stores in the place of weights:
  # ".../q" and ".../scale", ".../lora_a", ...; `leaves` has the weights that these make together.
  stored: dict[str, LazyArray] | None = None
  lora_scale: float | None = None  # alpha / rank of the adapters among them
  # {name: LazyArray} of what is not the model's, such as the action expert of openpi.
  aside: dict[str, LazyArray] | None = None

  def check(self):
    """Raises ValueError unless the leaves are those of the config's model, in name and shape."""
    param_map.compare(self.leaves, shapes(self.config), self.path)

  def with_text_head(self):
    """The Checkpoint, with the identity for the head that the text tower of SigLIP So400m/16 i18n
    lacks: the classes of transformers and KerasHub always have one."""
    txt = self.config.txt
    if not txt or txt.out_width:
      return self
    dtype = self.leaves["txt/Embed_0/embedding"].dtype
    head = {"txt/head/kernel": np.eye(txt.width, dtype=dtype),
            "txt/head/bias": np.zeros(txt.width, dtype)}
    config = dataclasses.replace(
        self.config, txt=dataclasses.replace(txt, out_width=txt.width))
    return dataclasses.replace(self, config=config, leaves=self.leaves | {
        name: from_array(x) for name, x in head.items()})

  @property
  def nbytes(self):
    return sum(leaf.nbytes for leaf in self.leaves.values())

  @property
  def stored_nbytes(self):
    """Of what the native format writes: quantized weights as they are."""
    return sum(leaf.nbytes for leaf in (self.stored if self.quantized else self.leaves).values())

  @property
  def dtype(self):
    """Name of the dtype in which most of the bytes are."""
    sizes = collections.Counter()
    for leaf in self.leaves.values():
      sizes[leaf.dtype.name] += leaf.nbytes
    return sizes.most_common(1)[0][0]

  @property
  def quantized(self):
    """Whether it stores quantized weights without adapters, to be loaded as they are."""
    return bool(self.stored) and not self.lora_scale
