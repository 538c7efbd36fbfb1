"""Model families, the one door: a family is a folder, and a line here.

A family is a package with

  Config        its config, a frozen dataclass      VARIANTS       {name: Config}
  Model         its Flax module, Model(config)      config(name, **changes)
  PARAMS        {leaf's name: spec.ParamSpec}       axis_sizes(config)  {letter: int}
  PLACES        ((part in a profile, regex), ...)
  hf, keras, npz, presets how other formats name its leaves, and what is released

of a decoder (nn/decoder.py has the interface of its Model) or of a vision tower:

  Model         Model(config)(image, train=False): uint8 or float [-1, 1] images [B, H, W, 3] ->
                [B, tokens, out_width], with pool="map" [B, out_width]. Its layers are stacked in
                Transformer/encoderblock, which has MultiHeadDotProductAttention_0; the module
                `head` projects to out_width. As "intermediates" it sows "embedded" (the layers'
                input), "encoded" (after the last norm) and "features" (the output), each layer
                "hidden", its attention "attention".
  Config        width, depth, mlp, heads, head_dim, image_size, patches, tokens (per image), pool
                ("none" in a PaliGemma), out_width (there the decoder's width; None: no head),
                dropout, dtype, remat, attention, unroll

or of a text tower (TEXT_TOWERS), which SigLIP has beside a vision tower that pools:

  Model         Model(config)(text, train=False): int32 [B, length] -> [B, out_width or width]
  Config        width, depth, mlp, heads, head_dim, vocab_size, length, pad_token, out_width, ...

paligemma.py composes a tower with a decoder, or two towers. How the whole model's leaves lie in
another format is in the paligemma_*.py beside it; how formats are read is big_vlm/formats/.
"""
import re

from big_vlm.families import gemma, gemma3, opt, siglip
from big_vlm.families.siglip import text
from big_vlm.families.spec import ParamSpec
from pp.names import near_miss

DECODERS = (gemma, gemma3, opt)
TOWERS = (siglip,)
TEXT_TOWERS = (text,)

DECODER_VARIANTS = {name: row for family in DECODERS for name, row in family.VARIANTS.items()}
TOWER_VARIANTS = {name: row for family in TOWERS for name, row in family.VARIANTS.items()}
TEXT_VARIANTS = {name: row for family in TEXT_TOWERS for name, row in family.VARIANTS.items()}
# Where a model's parameter tree holds the leaves of a family.
PREFIXES = {**dict.fromkeys(TOWERS, "img/"), **dict.fromkeys(TEXT_TOWERS, "txt/"),
            **dict.fromkeys(DECODERS, "llm/")}
# What joins two towers: logits are zi zt^T exp(t) + b.
LOGIT = {"t": ParamSpec("1", "logit"), "b": ParamSpec("1", "logit")}
# {name in a model: ParamSpec} of all families: a name means the same leaf in all of them.
PARAMS = LOGIT | {prefix + name: spec for family, prefix in PREFIXES.items()
                  for name, spec in family.PARAMS.items()}


def of(config):
  """The family package of a config."""
  return {family.Config: family for family in PREFIXES}[type(config)]


def leaf_name(name):
  """"llm/final_norm/scale" of "opt_state/0/mu/llm/final_norm/scale"; None: not of a parameter."""
  found = re.search(r"(?:^|/)((?:img|txt|llm)/.*|[tb]$)", name)
  return found and found[1]


def locate(name):
  """(parameter's name, its ParamSpec, what follows the name) of a leaf in any tree, or None.

  Trees hold more than parameters: "opt_state/0/mu/llm/final_norm/scale" belongs to
  llm/final_norm/scale, and so does a part of a weight wrapper, which follows the name:
  "llm/layers/mlp/linear/lora_a" gives ("llm/layers/mlp/linear", its spec, "lora_a").
  """
  parts = (leaf_name(name) or "").split("/")
  for end in range(len(parts), 0, -1):
    if spec := PARAMS.get(parameter := "/".join(parts[:end])):
      return parameter, spec, "/".join(parts[end:])
  return None


def param(name):
  """locate(name), or a ValueError where no family declares the parameter."""
  if found := locate(name):
    return found
  raise ValueError(f"No family declares the parameter {name!r}.{near_miss(name, PARAMS)} A leaf is "
                   "declared in PARAMS of its folder in big_vlm/families.")


def stays_float32(name):
  """Whether a parameter stays float32 whatever the dtype of the model: vectors, patch and position
  embeddings."""
  return param(name)[1].traits.float32


def weight_decay(name):
  """The default multiplier of weight decay: 1 for what multiplies and for adapters, 0 for scales,
  biases and position tables."""
  _, spec, part = param(name)
  return float(spec.traits.decays or part.startswith("lora_"))


def backward_order(name):
  """Sorts parameters as the backward pass reaches them: from the loss to the pixels. Those of
  stacked layers are equal."""
  parameter, spec, _ = param(name)
  if parameter in LOGIT:
    return False, -1, 0
  prefix, leaf = parameter[:4], parameter[4:]
  if spec.stacked:
    return prefix == "img/", 1, 0
  rows = next(list(f.PARAMS) for f, p in PREFIXES.items() if p == prefix and leaf in f.PARAMS)
  stack = next(i for i, row in enumerate(rows) if PARAMS[prefix + row].stacked)
  return prefix == "img/", 0 if rows.index(leaf) > stack else 2, -rows.index(leaf)
