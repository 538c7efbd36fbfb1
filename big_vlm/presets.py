"""From a source, the name of a model or a path, to what it takes to build it."""
import dataclasses

from etils import epath

from big_vlm.checkpoints import native
from big_vlm.models import paligemma


@dataclasses.dataclass(frozen=True)
class Preset:
  config: paligemma.PaliGemmaConfig
  tokenizer: str  # for pp.tokenizer.get_tokenizer
  source: str  # where the weights are


def find(source, dtype):
  """The Preset of a work folder of trainers.train, or of one of its checkpoints/STEP folders.

  Raises FileNotFoundError if source is neither.
  """
  source = str(epath.Path(source))
  _, _, model, tokenizer = native.read_model(source)
  return Preset(paligemma.config(**model | {"dtype": dtype}), tokenizer, source)
