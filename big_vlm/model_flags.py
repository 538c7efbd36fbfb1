"""The flags of commands that run a model, --dtype, --adapter and --quantize, and what they do."""
from big_vlm.adapt.quantize import KINDS
from big_vlm.building import DTYPES


def add(parser, dtype):
  """Adds them to an argparse parser; dtype: what stands in for --dtype, for its help."""
  parser.add_argument("--dtype", choices=("auto", *DTYPES),
                      help=f"of parameters and activations (default: {dtype}); auto is bfloat16 on "
                           "TPU and GPU, which halves the memory, and float32 on a CPU")
  parser.add_argument("--adapter", help="a folder of PEFT: LoRA adapters of the model")
  parser.add_argument("--quantize", choices=tuple(KINDS), help="weights in fewer bits")


def check_tokenizer(vlm, source):
  """Raises ValueError for the VLM of a source that cannot read a prompt."""
  if not vlm.tokenizer:
    raise ValueError(f"{source} has no tokenizer, so it cannot read a prompt: put its "
                     "tokenizer.model or tokenizer.json beside its weights.")


def adapted(vlm, adapter=None, quantize=None):
  """The VLM with what the flags ask for."""
  vlm = vlm.load_adapter(adapter) if adapter else vlm
  return vlm.quantize(quantize) if quantize else vlm
