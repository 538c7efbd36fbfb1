"""Where our parameters lie in someone else's checkpoint: tables of rows, read in both directions.

Their checkpoint is {name: LazyArray} as ours is, and a LazyArray is read when it is asked for, so a model of
any size passes through in the memory of its largest tensor. A ParamMapping says which tensors of theirs hold
one leaf of ours:

  ParamMapping("llm/layers/attn/kv_einsum/w", "layers.{}.self_attn.{}_proj.weight", "k d h -> (k h) d",
      axes=(range(18), "kv"))

is our leaf [18, 2, k, d, h], whose piece [3, 0] is their layers.3.self_attn.k_proj.weight [k*h, d].
"""
import collections
import dataclasses
import itertools

import einops
import numpy as np

from big_vlm.checkpoints.checkpoint import LazyArray


@dataclasses.dataclass(frozen=True)
class ParamMapping:
  """One leaf of ours and the tensors of theirs that hold it."""
  ours: str
  theirs: str  # with one {} for each of the axes
  pattern: str = ""  # einops, a piece of ours -> a tensor of theirs; "": the same
  axes: tuple = ()  # for each leading axis of ours that they keep apart, what goes into its {}
  part: tuple = (0, 1)  # (j, n): it is the j-th of n equal parts of their tensor's first axis
  before: int = 0  # rows that only they have, ahead of ours: zeros when we write
  after: int = 0  # ... and behind ours: the mean of our rows when we write

  def pieces(self):
    """(index into our leaf, their name) of each piece."""
    for at in itertools.product(*(range(len(a)) for a in self.axes)):
      yield at, self.theirs.format(*(a[i] for a, i in zip(self.axes, at)))

  def there(self, piece):
    """Our piece as they have it, without the rows that are theirs alone."""
    return einops.rearrange(piece, self.pattern) if self.pattern else piece

  def here(self, tensor, shape):
    """The reverse of there(): our piece of that shape."""
    if not self.pattern:
      return tensor.reshape(shape)
    left, right = (side.strip() for side in self.pattern.split("->"))
    names = left.replace("(", " ").replace(")", " ").split()
    sizes = {n: s for n, s in zip(names, shape, strict=True) if not n.isdigit()}
    return einops.rearrange(tensor, f"{right} -> {left}", **sizes)

  def their_shape(self, shape):
    """Shape of the part of their tensor that one piece of our leaf of `shape` fills."""
    empty = np.broadcast_to(np.float32(), shape[len(self.axes):])
    rows, *rest = self.there(empty).shape
    return (rows + self.before + self.after, *rest)


def import_(rows, theirs, shapes, source):
  """{our name: LazyArray} of their {name: LazyArray}; shapes: {our name: shape} of the model wanted.

  Strict: raises ValueError that lists every tensor which is missing, unexpected or of another
  shape. source: the file or folder, for the message.
  """
  check(rows, theirs, shapes, source)
  return {row.ours: _ours(row, theirs, tuple(shapes[row.ours])) for row in rows}


def check(rows, theirs, shapes, source):
  """Raises ValueError unless their tensors are those of the rows, in name and shape."""
  compare(theirs, _their_shapes(rows, shapes), source)


def compare(leaves, wanted, source):
  """Raises one ValueError with all differences between {name: LazyArray} and {name: shape}."""
  missing = sorted(set(wanted) - set(leaves))
  unexpected = sorted(set(leaves) - set(wanted))
  other = [f"{n} {list(leaves[n].shape)}, not {list(shape)}" for n, shape in sorted(wanted.items())
           if n in leaves and tuple(leaves[n].shape) != tuple(shape)]
  found = [f"{len(names)} {what}: {_few(names)}" for what, names in
           [("missing", missing), ("unexpected", unexpected), ("of another shape", other)] if names]
  if found:
    raise ValueError(f"{source} does not fit the model.\n  " + "\n  ".join(found))


def _few(names, most=8):
  rest = f" ... and {len(names) - most} more" if len(names) > most else ""
  return ", ".join(names[:most]) + rest


def _their_shapes(rows, shapes):
  expected = {}
  for row in rows:
    first, *rest = row.their_shape(tuple(shapes[row.ours]))
    for _, name in row.pieces():
      expected[name] = (first * row.part[1], *rest)
  return expected


def _ours(row, theirs, shape):
  pieces, inner = dict(row.pieces()), shape[len(row.axes):]
  dtype = theirs[next(iter(pieces.values()))].dtype

  def piece(at):
    tensor = theirs[pieces[at]].read(())
    j, n = row.part
    size = len(tensor) // n
    tensor = tensor[j * size:(j + 1) * size]
    return row.here(tensor[row.before:len(tensor) - row.after], inner)

  def read(index=()):
    index = (*index, *(slice(None) for _ in shape[len(index):]))
    outer, inside = index[:len(row.axes)], index[len(row.axes):]
    ranges = [range(*i.indices(n)) if isinstance(i, slice) else range(i, i + 1)
              for i, n in zip(outer, shape)]
    one = np.broadcast_to(np.int8(), inner)[inside].shape
    out = np.empty((*map(len, ranges), *one), dtype)
    for position in np.ndindex(*map(len, ranges)):
      out[position] = piece(tuple(r[i] for r, i in zip(ranges, position)))[inside]
    return out[tuple(slice(None) if isinstance(i, slice) else 0 for i in outer)]

  return LazyArray(shape, dtype, read)


def export_(rows, ours):
  """{their name: LazyArray} of our {name: LazyArray}: the reverse of import_."""
  parts = collections.defaultdict(dict)
  for row in rows:
    for at, name in row.pieces():
      parts[name][row.part[0]] = (row, at)
  return {name: _theirs([parts[name][j] for j in sorted(parts[name])], ours)
          for name in parts}


def _theirs(parts, ours):
  row, _ = parts[0]
  first, *rest = row.their_shape(ours[row.ours].shape)
  dtype = ours[row.ours].dtype

  def read(index=()):
    tensors = [_padded(row, row.there(ours[row.ours].read(at))) for row, at in parts]
    tensor = tensors[0] if len(tensors) == 1 else np.concatenate(tensors)
    return tensor[tuple(index)]

  return LazyArray((first * len(parts), *rest), dtype, read)


def _padded(row, tensor):
  if not row.before and not row.after:
    return tensor
  head = np.zeros((row.before, *tensor.shape[1:]), tensor.dtype)
  mean = tensor.mean(axis=0, dtype=np.float32).astype(tensor.dtype)
  tail = np.broadcast_to(mean, (row.after, *tensor.shape[1:]))
  return np.concatenate([head, tensor, tail])
