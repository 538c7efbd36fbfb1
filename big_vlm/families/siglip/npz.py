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
  rest = _without_class_position({n: x for n, x in leaves.items() if n not in blocks})
  return rest | import_(mappings, blocks, shapes, path)


def _without_class_position(leaves):
  """leaves with the position of the class token, a row before those of the patches until 2022, in
  the token itself, which has it added."""
  table, token = leaves.get("img/pos_embedding"), leaves.get("img/cls")
  if token is None or table is None or math.isqrt(table.shape[1]) ** 2 == table.shape[1]:
    return leaves
  rows = lambda part: lambda index=(): table.read(())[:, part][tuple(index)]
  return leaves | {
      "img/cls": LazyArray(token.shape, token.dtype, lambda index=(): (
          token.read(()) + rows(slice(1))())[tuple(index)]),
      "img/pos_embedding": LazyArray((1, table.shape[1] - 1, table.shape[2]), table.dtype,
                                     rows(slice(1, None)))}


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
  """The ViTConfig; nothing in a file tells pool="gap" from "none", nor the size without a table."""
  *patch, width = shapes["img/embedding/kernel"]
  naflex = len(patch) == 1
  patch = math.isqrt(patch[0] // 3) if naflex else patch[0]
  block = "img/Transformer/encoderblock"
  depth, _, heads, _ = shapes[f"{block}/MultiHeadDotProductAttention_0/query/kernel"]
  table = shapes.get("img/pos_embedding")
  side = table and (table[0] if naflex else math.isqrt(table[1]))
  size = next((s for s in IMAGE_SIZES if s // patch == side), side * patch) if table else 224
  last = lambda name: shapes[name][-1] if name in shapes else None
  return ViTConfig(
      width=width, depth=depth, mlp=shapes[f"{block}/MlpBlock_0/Dense_0/kernel"][2], heads=heads,
      patch=patch, image_size=size, naflex=naflex, positions="learn" if table else "sincos2d",
      pool="map" if "img/MAPHead_0/probe" in shapes else "tok" if "img/cls" in shapes else "none",
      rep_size=last("img/pre_logits/kernel"), out_width=last("img/head/kernel"))
