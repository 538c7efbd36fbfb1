"""SigLIP's vision tower in big_vision's .npz files: names of other times, and its config."""
import math
import re

from big_vlm.families.siglip.variants import ViTConfig
from big_vlm.formats.param_map import ParamMapping, import_

MARKS = ("img/embedding/kernel",)
IMAGE_SIZES = (224, 256, 384, 448, 512, 896)  # of released towers; 384 / 14 leaves a rest


def import_names(leaves, path):
  """{name: LazyArray} with our names for those of a contrastive SigLIP, of a ViT from before 2022
  and of blocks that are not stacked."""
  # A contrastive SigLIP has a text tower, a temperature and a bias beside its image tower.
  leaves = {n: x for n, x in leaves.items() if not re.match(r"txt/|t$|b$", n)}
  old = "img/Transformer/posembed_input/pos_embedding"  # before 2022
  leaves = {n.replace(old, "img/pos_embedding"): x for n, x in leaves.items()}
  blocks = {n: x for n, x in leaves.items() if re.search(r"/encoderblock_\d+/", n)}
  depth = len({re.search(r"/encoderblock_(\d+)/", n)[1] for n in blocks})
  mappings = [ParamMapping(n.replace("_0/", "/", 1), n.replace("_0/", "_{}/", 1),
                           axes=(range(depth),)) for n in blocks if "/encoderblock_0/" in n]
  shapes = {m.name: (depth, *leaves[m.external.format(0)].shape) for m in mappings}
  rest = {n: x for n, x in leaves.items() if n not in blocks}
  return rest | import_(mappings, blocks, shapes, path)


def config_from_shapes(shapes, multimodal):
  patch, _, _, width = shapes["img/embedding/kernel"]
  block = "img/Transformer/encoderblock"
  depth, _, heads, _ = shapes[f"{block}/MultiHeadDotProductAttention_0/query/kernel"]
  side = math.isqrt(shapes["img/pos_embedding"][1])
  return ViTConfig(
      width=width, depth=depth, mlp=shapes[f"{block}/MlpBlock_0/Dense_0/kernel"][2], heads=heads,
      patch=patch, image_size=next((s for s in IMAGE_SIZES if s // patch == side), side * patch),
      pool="map" if "img/MAPHead_0/probe" in shapes else "none",
      out_width=shapes["img/head/kernel"][1] if "img/head/kernel" in shapes else None)
