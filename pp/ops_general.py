"""Ops on the example's dict and on arrays of any kind: keys, random choices, shapes.

Values are numpy arrays, Python lists, strings or numbers; random ops draw from example["_rng"].
"""

import collections
import hashlib

import numpy as np

from pp.names import pick
from pp.registry import OPS, keyed, rng_of
from pp.text_utils import to_text


def is_private(key):
  """True for the loader's own keys, which `keep` and `flatten` leave alone."""
  return str(key).startswith("_")


@OPS.register("flatten")
def flatten(keys=None):
  """Nested dicts -> keys joined by "/", e.g. {"a": {"b": 7}} -> {"a/b": 7}.

  So are lists that hold a dict: {"a": [{"b": 7}]} -> {"a/0/b": 7}; a list of values is one value,
  and so is a mask's run-length code {"counts": ..., "size": ...}.
  With `keys`, only these top-level keys are flattened; the others stay as they are.
  """
  def op(example):
    flat = {}
    for key, value in example.items():
      if is_private(key) or (keys is not None and key not in keys):
        flat[key] = value
      else:
        _flatten_into(flat, str(key), value)
    return flat
  return op


def _is_nested(value):
  return isinstance(value, dict) and set(value) != {"counts", "size"}


def _flatten_into(flat, path, value):
  if _is_nested(value):
    for key, child in value.items():
      _flatten_into(flat, f"{path}/{key}", child)
  elif isinstance(value, (list, tuple)) and any(map(_is_nested, value)):
    for i, child in enumerate(value):
      _flatten_into(flat, f"{path}/{i}", child)
  else:
    flat[path] = value


@OPS.register("keep")
def keep(*keys):
  """Keeps these keys and the loader's own; absent names are ignored."""
  wanted = frozenset(keys)
  return lambda example: {k: v for k, v in example.items() if k in wanted or is_private(k)}


@OPS.register("drop")
def drop(*keys):
  """Removes these keys; absent names are ignored."""
  unwanted = frozenset(keys)
  return lambda example: {k: v for k, v in example.items() if k not in unwanted}


@OPS.register("copy")
def copy(inkey, outkey):
  """example[outkey] = a copy of the dicts and lists in example[inkey]; their leaves are shared."""
  return lambda example: {**example, outkey: _copy_structure(example[inkey])}


def _copy_structure(value):
  if isinstance(value, dict):
    return {k: _copy_structure(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return type(value)([_copy_structure(v) for v in value])
  return value


@OPS.register("setdefault")
def setdefault(key, value):
  """Sets example[key] where it is missing, None, or an array or list of size 0.

  An empty array is filled to its shape with every 0 replaced by 1, in its own dtype. The empty
  string is a value and stays.
  """
  def op(example):
    old = example.get(key)
    if old is None:
      return {**example, key: np.asarray(value) if isinstance(value, (list, tuple)) else value}
    if isinstance(old, np.ndarray) and old.size == 0:
      dtype = None if old.dtype.kind in "US" else old.dtype  # "<U1" would cut the value
      return {**example, key: np.full([d or 1 for d in old.shape], value, dtype)}
    if isinstance(old, (list, tuple)) and len(old) == 0:
      return {**example, key: [value]}
    return example
  return op


@OPS.register("choice", random=True)
def choice(n="single", key=None, fewer_ok=False, inkey=None, outkey=None):
  """Random entries along axis 0; several keys get the same ones.

  Args:
    n: "single" takes one entry and drops the axis; an int takes that many different ones, in
      their old order; [low, high] takes a random number of them, both ends included.
    key: the key, or a list of keys whose values are equally long. `inkey` and `outkey`, where
      given, go before it; outkey may hold "{key}", e.g. outkey="{key}_one".
    fewer_ok: take all entries where there are fewer than asked for.

  One of one entry is no choice, and needs no generator.
  """
  low, high = _bounds(n)
  pairs = _key_pairs("choice", key, inkey, outkey)

  def op(example):
    size = _common_length(example, pairs)
    if n == "single" and size == 1:
      return _pick_one(example, pairs, 0)
    rng = rng_of(example, "choice")
    if n == "single":
      _require(size, 1, pairs)
      return _pick_one(example, pairs, int(rng.integers(size)))
    if not fewer_ok:
      _require(size, high, pairs)
    count = min(int(rng.integers(low, high + 1)), size)
    picked = np.sort(rng.permutation(size)[:count])
    return {**example, **{out: _take(example[i], picked) for i, out in pairs}}
  return op


@OPS.register("choice_no_replacement", random=True)
def choice_no_replacement(key=None, inkey=None, outkey=None):
  """One entry per visit, and every entry once before any comes again; drops the axis.

  The order is a permutation that depends on the example's "_id" (int or str) and on the cycle
  only, the visit is the loader's "_epoch" (int), so that nothing has to be saved or shared.
  """
  pairs = _key_pairs("choice_no_replacement", key, inkey, outkey)

  def op(example):
    missing = [k for k in ("_id", "_epoch") if k not in example]
    if missing:
      raise ValueError(f"choice_no_replacement needs the example's {' and '.join(missing)}, which "
                       "the training loader provides; in an evaluation use getidx instead.")
    size = _common_length(example, pairs)
    _require(size, 1, pairs)
    cycle, visit = divmod(int(example["_epoch"]), size)
    digest = hashlib.blake2b(f"{example['_id']}\0{cycle}".encode(), digest_size=8).digest()
    order = np.random.default_rng(int.from_bytes(digest, "little")).permutation(size)
    return _pick_one(example, pairs, int(order[visit]))
  return op


def _bounds(n):
  low, high = (1, 1) if n == "single" else n if isinstance(n, (list, tuple)) else (n, n)
  if not (isinstance(low, int) and isinstance(high, int) and 0 <= low <= high):
    raise ValueError(f"choice(n={n!r}): n is 'single', a count, or [low, high] with low <= high.")
  return low, high


def _key_pairs(op, key, inkey, outkey):
  inkeys = inkey or key
  if not inkeys:
    raise ValueError(f"{op} needs key= or inkey=.")
  inkeys = [inkeys] if isinstance(inkeys, str) else list(inkeys)
  outkeys = outkey or key or inkeys
  if isinstance(outkeys, str):
    outkeys = [outkeys.replace("{key}", k) for k in inkeys]
  if len(set(outkeys)) != len(inkeys):
    raise ValueError(f"{op}: {len(inkeys)} input keys {inkeys} need as many output keys, got "
                     f"{outkeys}; outkey may hold '{{key}}'.")
  return list(zip(inkeys, outkeys))


def _common_length(example, pairs):
  sizes = {}
  for inkey, _ in pairs:
    value = example[inkey]
    if not isinstance(value, (list, tuple)) and np.ndim(value) == 0:
      raise ValueError(f"{inkey!r} is a single value, not a list to choose from.")
    sizes[inkey] = len(value)
  if len(set(sizes.values())) != 1:
    raise ValueError(f"the keys must be equally long to choose the same entries, got {sizes}.")
  return next(iter(sizes.values()))


def _require(size, needed, pairs):
  if size < needed:
    raise ValueError(f"{pairs[0][0]!r} has {size} entries, fewer than the {needed} to choose "
                     "from; use setdefault before it, or fewer_ok=True to take what there is.")


def _pick_one(example, pairs, i):
  return {**example, **{out: example[inkey][i] for inkey, out in pairs}}


def _take(value, indices):
  return value[indices] if isinstance(value, np.ndarray) else [value[i] for i in indices]


@OPS.register("concat")
def concat(inkeys, outkey=None, axis=-1):
  """Concatenates the arrays of `inkeys` into outkey (inkeys[0] unless given)."""
  return lambda example: {
      **example, outkey or inkeys[0]: np.concatenate([example[k] for k in inkeys], axis)}


@OPS.register("reshape")
@keyed("image")
def reshape(new_shape):
  """np.reshape; the shape [] turns one entry into a scalar."""
  def fn(value):
    if isinstance(value, (list, tuple)) and any(isinstance(v, bytes) for v in value):
      value = np.array(value, object)  # numpy's own kind of bytes loses zeros at the end
    return np.reshape(value, new_shape)[()]
  return fn


@OPS.register("squeeze_last_dim")
@keyed("image")
def squeeze_last_dim():
  """[..., 1] -> [...]."""
  return lambda value: np.squeeze(np.asarray(value), axis=-1)


@OPS.register("pad_to_shape", takes={"shape": "image_shape"})
@keyed("image")
def pad_to_shape(shape, pad_value=0, where="after"):
  """Pads each dimension to `shape`; None leaves it. where: "before", "after", or "both"."""
  if where not in ("before", "after", "both"):
    raise ValueError(f"pad_to_shape: where={where!r} is not 'before', 'after' or 'both'.")

  def fn(value):
    value = np.asarray(value)
    if value.ndim != len(shape):
      raise ValueError(f"cannot pad an array of shape {value.shape} to {tuple(shape)}.")
    missing = [0 if want is None else want - have for want, have in zip(shape, value.shape)]
    if min(missing, default=0) < 0:
      raise ValueError(f"an array of shape {value.shape} is larger than {tuple(shape)}.")
    before = [{"before": m, "after": 0, "both": m // 2}[where] for m in missing]
    return np.pad(value, [(b, m - b) for b, m in zip(before, missing)],
                  constant_values=pad_value)
  return fn


@OPS.register("onehot")
def onehot(depth, key="labels", key_result=None, multi=True, on=1.0, off=0.0):
  """Labels (int or ints [N]) at `key` -> float32 of `on` and `off`, to key_result or `key`.

  Args:
    depth: number of classes; a label outside 0..depth-1 leaves no mark.
    multi: several labels mark one vector [depth] together; else they give [N, depth].
  """
  def op(example):
    labels = np.asarray(example[key]).astype(np.int64)
    marked = labels[..., None] == np.arange(depth)
    if multi and labels.ndim:
      marked = marked.reshape(-1, depth).any(axis=0)
    return {**example, key_result or key: np.where(marked, np.float32(on), np.float32(off))}
  return op


@OPS.register("lookup")
@keyed("image")
def lookup(mapping, npzkey="fnames", sep=None):
  """Strings -> their int32 numbers in a file, -1 where unknown; a list or array gives an array.

  mapping: path of an .npz, whose array `npzkey` holds the strings in order; or of a text file with
    one string a line, numbered from 0, or, with `sep`, with "string<sep>number" on each.
  """
  numbers = _numbered(mapping, npzkey, sep)

  def fn(value):
    if isinstance(value, (list, tuple)) or np.ndim(value):
      return np.array([numbers.get(to_text(v), -1) for v in value], np.int32)
    return np.int32(numbers.get(to_text(value), -1))
  return fn


def _numbered(path, npzkey, sep):
  if str(path).endswith(".npz"):
    with np.load(path, allow_pickle=False) as file:
      names = file[pick({k: k for k in file.files}, npzkey, f"array of {path}")]
    return {to_text(name): i for i, name in enumerate(names.tolist())}
  with open(path, encoding="utf-8") as file:
    lines = file.read().splitlines()
  if sep is None:
    return {line: i for i, line in enumerate(lines)}
  numbers = {}
  for n, line in enumerate(lines, 1):
    name, _, number = line.partition(sep)
    try:
      numbers[name] = int(number)
    except ValueError:
      raise ValueError(f"lookup: line {n} of {path} is {line[:60]!r}, not a string, {sep!r} and "
                       "a whole number.") from None
  return numbers


@OPS.register("getidx")
def getidx(inkey, index_key, outkey=None):
  """example[outkey or inkey] = example[inkey][example[index_key]]; -1 is the last entry."""
  def op(example):
    value, index = example[inkey], np.asarray(example[index_key])
    picked = np.asarray(value)[index] if index.ndim else value[int(index)]
    return {**example, outkey or inkey: picked}
  return op


@OPS.register("majority")
@keyed("image")
def majority():
  """The most frequent entry; among equals the one that comes first."""
  def fn(value):
    if len(value) == 0:
      raise ValueError("there is no most frequent entry of an empty list; use setdefault first.")
    return collections.Counter(value).most_common(1)[0][0]
  return fn
