"""SigLIP's vision tower in big_vision's .npz files: names of other times, and its config."""
import collections
import math
import re

from big_vlm.families.siglip.variants import ViTConfig
from big_vlm.formats.lazy_array import LazyArray
from big_vlm.formats.param_map import ParamMapping, import_

MARKS = ("img/embedding/kernel",)
IMAGE_SIZES = (224, 256, 384, 448, 512, 896)  # of released towers; 384 / 14 leaves a rest


def import_names(leaves, path):
  """{name: LazyArray} with our names for those of a ViT from before 2022 and of blocks that are not
  stacked."""
  old = "img/Transformer/posembed_input/pos_embedding"  # before 2022
  leaves = {n.replace(old, "img/pos_embedding"): x for n, x in leaves.items()}
  blocks = {n: x for n, x in leaves.items() if re.search(r"/encoderblock_\d+/", n)}
  depths = collections.Counter(tower for tower, _ in {
      re.match(r"(.*/encoderblock)_(\d+)/", n).groups() for n in blocks})
  mappings = [unstacked(n.replace("/encoderblock_0/", "/encoderblock/"), depths)
              for n in blocks if "/encoderblock_0/" in n]
  shapes = {m.name: (len(m.axes[0]), *leaves[m.external.format(0)].shape) for m in mappings}
  rest = {n: x for n, x in leaves.items() if n not in blocks}
  return rest | import_(mappings, blocks, shapes, path)


def unstacked(name, depths):
  """The ParamMapping of a leaf of stacked blocks to one of each; depths: {"img/.../encoderblock":
  number of blocks}."""
  tower, _, leaf = name.partition("/encoderblock/")
  tower += "/encoderblock"
  return ParamMapping(name, f"{tower}_{{}}/{leaf}", axes=(range(depths[tower]),))


def import_leaves(leaves, config):
  """leaves in our shapes: a NaFlex tower's patch embedding and position table are flat there."""
  return _reshaped(leaves, config, lambda c: {
      "img/embedding/kernel": (c.patch, c.patch, 3, c.width),
      "img/pos_embedding": (1, c.patches, c.width)})


def export_leaves(leaves, config):
  """The reverse of import_leaves()."""
  return _reshaped(leaves, config, lambda c: {
      "img/embedding/kernel": (c.patch**2 * 3, c.width),
      "img/pos_embedding": (*[math.isqrt(c.patches)] * 2, c.width)})


def _reshaped(leaves, config, shapes):
  if not (config.img and config.img.naflex):
    return leaves
  return leaves | {name: _reshape(leaves[name], shape)
                   for name, shape in shapes(config.img).items() if name in leaves}


def _reshape(leaf, shape):
  if math.prod(leaf.shape) != math.prod(shape):
    return leaf  # the comparison of shapes names it
  return LazyArray(shape, leaf.dtype, lambda index=(): leaf.read(()).reshape(shape)[tuple(index)])


def config_from_shapes(shapes, multimodal):
  *patch, width = shapes["img/embedding/kernel"]
  naflex = len(patch) == 1
  patch = math.isqrt(patch[0] // 3) if naflex else patch[0]
  block = "img/Transformer/encoderblock"
  depth, _, heads, _ = shapes[f"{block}/MultiHeadDotProductAttention_0/query/kernel"]
  side = shapes["img/pos_embedding"][0] if naflex else math.isqrt(shapes["img/pos_embedding"][1])
  return ViTConfig(
      width=width, depth=depth, mlp=shapes[f"{block}/MlpBlock_0/Dense_0/kernel"][2], heads=heads,
      patch=patch, image_size=next((s for s in IMAGE_SIZES if s // patch == side), side * patch),
      pool="map" if "img/MAPHead_0/probe" in shapes else "none", naflex=naflex,
      out_width=shapes["img/head/kernel"][1] if "img/head/kernel" in shapes else None)
