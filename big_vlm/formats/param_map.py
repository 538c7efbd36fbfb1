"""Where our parameters lie in an external checkpoint: a table that is read in both directions.

An external checkpoint is {name: LazyArray} as ours is, and a LazyArray is read when it is asked
for, so a model of any size passes through in the memory of its largest tensor. A ParamMapping says
which external tensors hold one leaf of ours:

  ParamMapping("llm/layers/attn/kv_einsum/w", "layers.{}.self_attn.{}_proj.weight",
               "k d h -> (k h) d", axes=(range(18), "kv"))

is our leaf [18, 2, k, d, h], whose piece [3, 0] is the external layers.3.self_attn.k_proj.weight
[k*h, d].
"""
import collections
import dataclasses
import itertools

import einops
import numpy as np

from big_vlm.formats.lazy_array import LazyArray

FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class ParamMapping:
  """One leaf of ours and the external tensors that hold it."""
  name: str
  external: str  # with one {} for each of the axes
  pattern: str = ""  # einops, a piece of our leaf -> an external tensor; "": the same
  axes: tuple = ()  # for each leading axis of ours that is split there, what goes into its {}
  part: tuple = (0, 1)  # (j, n): it is the j-th of n equal parts of the external first axis
  padding_before: int = 0  # external rows ahead of ours, which we lack: written as zeros
  padding_after: int = 0  # ... and behind ours: written as the mean of our rows

  def pieces(self):
    """(index into our leaf, external name) of each piece."""
    for at in itertools.product(*(range(len(a)) for a in self.axes)):
      yield at, self.external.format(*(a[i] for a, i in zip(self.axes, at)))

  def export_piece(self, piece):
    """Our piece as it is there, without the padding rows."""
    return einops.rearrange(piece, self.pattern) if self.pattern else piece

  def import_piece(self, tensor, shape):
    """The reverse of export_piece(): our piece of that shape."""
    if not self.pattern:
      return tensor.reshape(shape)
    left, right = (side.strip() for side in self.pattern.split("->"))
    names = left.replace("(", " ").replace(")", " ").split()
    sizes = {n: s for n, s in zip(names, shape, strict=True) if not n.isdigit()}
    return einops.rearrange(tensor, f"{right} -> {left}", **sizes)

  def external_shape(self, shape):
    """Shape of the external tensor that holds a piece of our leaf of `shape`."""
    empty = np.broadcast_to(np.float32(), shape[len(self.axes):])
    if not (piece := self.export_piece(empty).shape):
      return ()  # a scalar
    rows, *rest = piece
    return ((rows + self.padding_before + self.padding_after) * self.part[1], *rest)


@dataclasses.dataclass(frozen=True)
class LayerNames:
  """How a framework ends the names of a layer's weight and bias."""
  weight: str
  bias: str

  def dense(self, name, external, kernel="", bias="", **kw):
    """The mappings of a dense layer "x"; kernel, bias: their patterns."""
    return [ParamMapping(f"{name}/kernel", external + self.weight, kernel, **kw),
            ParamMapping(f"{name}/bias", external + self.bias, bias, **kw)]

  def norm(self, name, external, **kw):
    """The mappings of a LayerNorm."""
    return [ParamMapping(f"{name}/scale", external + self.weight, **kw),
            ParamMapping(f"{name}/bias", external + self.bias, **kw)]


def keras_numbers(depth):
  """What Keras adds to the class name of each of `depth` layers."""
  return ["", *(f"_{i}" for i in range(1, depth))]


TORCH, KERAS = LayerNames(".weight", ".bias"), LayerNames("/vars/0", "/vars/1")


def import_(mappings, external, shapes, source):
  """{our name: LazyArray} of the external {name: LazyArray}; shapes: {our name: its shape}.

  Strict: raises ValueError that lists every tensor which is missing, unexpected or of another
  shape. source: the file or folder, for the message.
  """
  compare(external, {name: m.external_shape(tuple(shapes[m.name]))
                     for m in mappings for _, name in m.pieces()}, source)
  return {m.name: _import_leaf(m, external, tuple(shapes[m.name])) for m in mappings}


def compare(leaves, wanted, source):
  """Raises one ValueError with all differences between {name: LazyArray} and {name: shape}."""
  missing = sorted(set(wanted) - set(leaves))
  unexpected = sorted(set(leaves) - set(wanted))
  other = [f"{n} {list(leaves[n].shape)}, not {list(shape)}" for n, shape in sorted(wanted.items())
           if n in leaves and tuple(leaves[n].shape) != tuple(shape)]
  odd = [f"{n} {leaves[n].dtype}" for n in sorted(wanted)
         if n in leaves and leaves[n].dtype.name not in FLOATS]
  found = [f"{len(names)} {what}: {_few(names)}" for what, names in
           [("missing", missing), ("unexpected", unexpected), ("of another shape", other),
            ("not of floats (quantized weights? take what they were made from)", odd)] if names]
  if found:
    raise ValueError(f"{source} does not fit the model.\n  " + "\n  ".join(found))


def _few(names, most=8):
  rest = f" ... and {len(names) - most} more" if len(names) > most else ""
  return ", ".join(names[:most]) + rest


def _import_leaf(mapping, external, shape):
  pieces, n_axes = dict(mapping.pieces()), len(mapping.axes)
  dtype, inner = external[next(iter(pieces.values()))].dtype, shape[n_axes:]

  def piece(at):
    tensor = external[pieces[at]].read(())
    if not external[pieces[at]].shape:
      return mapping.import_piece(np.asarray(tensor), inner)
    j, n = mapping.part
    size = len(tensor) // n
    tensor = tensor[j * size:(j + 1) * size]
    rows = slice(mapping.padding_before, len(tensor) - mapping.padding_after)
    return mapping.import_piece(tensor[rows], inner)

  def read(index=()):
    index = (*index, *(slice(None) for _ in shape[len(index):]))
    outer, inside = index[:n_axes], index[n_axes:]
    ranges = [range(*i.indices(n)) if isinstance(i, slice) else range(i, i + 1)
              for i, n in zip(outer, shape)]
    one = np.broadcast_to(np.int8(), inner)[inside].shape
    out = np.empty((*map(len, ranges), *one), dtype)
    for position in np.ndindex(*map(len, ranges)):
      out[position] = piece(tuple(r[i] for r, i in zip(ranges, position)))[inside]
    return out[tuple(slice(None) if isinstance(i, slice) else 0 for i in outer)]

  return LazyArray(shape, dtype, read)


def export_(mappings, leaves):
  """{external name: LazyArray} of our {name: LazyArray}: the reverse of import_."""
  parts = collections.defaultdict(dict)
  for mapping in mappings:
    for at, name in mapping.pieces():
      parts[name][mapping.part[0]] = (mapping, at)
  return {name: _export_tensor([parts[name][j] for j in sorted(parts[name])], leaves)
          for name in parts}


def _export_tensor(parts, leaves):
  mapping, _ = parts[0]
  leaf = leaves[mapping.name]

  def read(index=()):
    tensors = [_padded(m, m.export_piece(leaves[m.name].read(at))) for m, at in parts]
    tensor = tensors[0] if len(tensors) == 1 else np.concatenate(tensors)
    return np.asarray(tensor[tuple(index)])

  return LazyArray(mapping.external_shape(leaf.shape), leaf.dtype, read)


def _padded(mapping, tensor):
  if not mapping.padding_before and not mapping.padding_after:
    return tensor
  head = np.zeros((mapping.padding_before, *tensor.shape[1:]), tensor.dtype)
  mean = tensor.mean(axis=0, dtype=np.float32).astype(tensor.dtype)
  tail = np.broadcast_to(mean, (mapping.padding_after, *tensor.shape[1:]))
  return np.concatenate([head, tensor, tail])
