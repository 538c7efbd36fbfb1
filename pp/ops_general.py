"""Ops on the example's dict and on arrays of any kind: keys, random choices, shapes.

Values are numpy arrays, Python lists, strings or numbers. Random ops draw from example["_rng"].
"""

import collections
import hashlib
import os

import numpy as np

from pp.names import pick
from pp.registry import OPS, rng_of, with_keys
from pp.text_utils import how_many_fit, to_text


def is_private(key):
  """True for the loader's own keys, which `keep` and `flatten` do not change."""
  return str(key).startswith("_")


@OPS.register("flatten")
def flatten(keys=None):
  """Flattens nested dicts and joins their keys by "/": {"a": {"b": 7}} -> {"a/b": 7}.

  A list with a dict in it is flattened too: {"a": [{"b": 7}]} -> {"a/0/b": 7}. A list of values and
  the run-length code {"counts": ..., "size": ...} of a mask stay.

  Args:
    keys: top-level keys to flatten; None for all.
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
  """Removes all keys but these and the loader's own; ignores absent names."""
  wanted = frozenset(keys)
  return lambda example: {k: v for k, v in example.items() if k in wanted or is_private(k)}


@OPS.register("drop")
def drop(*keys):
  """Removes these keys; ignores absent names."""
  unwanted = frozenset(keys)
  return lambda example: {k: v for k, v in example.items() if k not in unwanted}


@OPS.register("copy")
def copy(inkey, outkey):
  """Copies the dicts and lists of example[inkey] to example[outkey]; their leaves are shared."""
  return lambda example: {**example, outkey: _copy_structure(example[inkey])}


def _copy_structure(value):
  if isinstance(value, dict):
    return {k: _copy_structure(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return type(value)([_copy_structure(v) for v in value])
  return value


@OPS.register("setdefault")
def setdefault(key, value):
  """Sets example[key] if it is missing, None, or an array or list of size 0.

  An empty array keeps its dtype, and its shape with 1 in place of 0. The empty string is a value
  and stays.
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


@OPS.register("choice", random=True, takes={"text_len": "text_len"})
def choice(n="single", key=None, allow_fewer=False, inkey=None, outkey=None, tokens_each=None,
           text_len=None):
  """Picks random entries along axis 0, the same ones for several keys.

  Picking one of one entry needs no generator, so that an evaluation may do it.

  Args:
    n: "single" picks one entry and drops the axis; an int picks that many different ones and keeps
      their order; [low, high] picks a random number of them, both ends included.
    key: the key, or a list of keys whose values have the same length. `inkey` and `outkey` override
      it; outkey may hold "{key}", e.g. outkey="{key}_one".
    allow_fewer: take all entries if there are fewer than n.
    tokens_each: instead of n: as many entries as fit a text, of about so many tokens each.
    text_len: tokens of the text, for tokens_each.
  """
  n = how_many_fit(tokens_each, text_len) or n
  low, high = _bounds(n)
  pairs = _key_pairs("choice", key, inkey, outkey)
  single = n == "single"

  def op(example):
    size = _common_length(example, pairs, least=0 if allow_fewer and not single else high)
    if single:
      picked = int(rng_of(example, "choice").integers(size)) if size > 1 else 0
    else:
      rng = rng_of(example, "choice")
      count = min(int(rng.integers(low, high + 1)), size)
      picked = np.sort(rng.permutation(size)[:count])
    return {**example, **{out: take(example[i], picked) for i, out in pairs}}
  return op


@OPS.register("choice_no_replacement", random=True)
def choice_no_replacement(key=None, inkey=None, outkey=None):
  """Picks one entry in each epoch, and every entry once before any a second time; drops the axis.

  The order is a permutation drawn from the example's "_id" (int or str) and the number of times
  that all entries were picked. The loader's "_epoch" (int) is the position in it. The op therefore
  has no state.
  """
  pairs = _key_pairs("choice_no_replacement", key, inkey, outkey)

  def op(example):
    missing = [k for k in ("_id", "_epoch") if k not in example]
    if missing:
      raise ValueError(f"choice_no_replacement needs the example's {' and '.join(missing)}, which "
                       "the training loader provides; in an evaluation use getidx instead.")
    size = _common_length(example, pairs, least=1)
    cycle, visit = divmod(int(example["_epoch"]), size)
    digest = hashlib.blake2b(f"{example['_id']}\0{cycle}".encode(), digest_size=8).digest()
    order = np.random.default_rng(int.from_bytes(digest, "little")).permutation(size)
    return {**example, **{out: take(example[i], int(order[visit])) for i, out in pairs}}
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


def _common_length(example, pairs, least):
  sizes = {}
  for inkey, _ in pairs:
    value = example[inkey]
    if not isinstance(value, (list, tuple)) and np.ndim(value) == 0:
      raise ValueError(f"{inkey!r} is a single value, not a list to choose from.")
    sizes[inkey] = len(value)
  if len(set(sizes.values())) != 1:
    raise ValueError(f"the keys must be equally long to choose the same entries, got {sizes}.")
  if sizes[inkey] < least:
    raise ValueError(f"{pairs[0][0]!r} has {sizes[inkey]} entries, fewer than the {least} to "
                     "choose; put setdefault before it, or take all entries by allow_fewer=True.")
  return sizes[inkey]


def take(value, at):
  """The entry of an array or a list at an int, or its entries at several."""
  whole = isinstance(value, np.ndarray) or np.ndim(at) == 0
  return value[at] if whole else [value[i] for i in at]


@OPS.register("concat")
def concat(inkeys, outkey=None, axis=-1):
  """Concatenates the arrays at `inkeys`; the result goes to outkey, by default inkeys[0]."""
  return lambda example: {
      **example, outkey or inkeys[0]: np.concatenate([example[k] for k in inkeys], axis)}


@OPS.register("reshape")
@with_keys("image")
def reshape(new_shape):
  """Reshapes as np.reshape; the shape [] turns one entry into a scalar."""
  def fn(value):
    if isinstance(value, (list, tuple)) and any(isinstance(v, bytes) for v in value):
      value = np.array(value, object)  # numpy's dtype for bytes drops trailing zeros
    return np.reshape(value, new_shape)[()]
  return fn


@OPS.register("squeeze_last_dim")
@with_keys("image")
def squeeze_last_dim():
  """Removes the last dimension, which must be 1: [..., 1] -> [...]."""
  return lambda value: np.squeeze(np.asarray(value), axis=-1)


@OPS.register("pad_to_shape", takes={"shape": "image_shape"})
@with_keys("image")
def pad_to_shape(shape, pad_value=0, where="after"):
  """Pads each dimension to its size in `shape`, unless that is None.

  Args:
    pad_value: the value of the padding.
    where: "before", "after", or "both", which puts an odd rest after.
  """
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
  """Encodes labels, an int or ints [N], as float32 vectors of `on` and `off`.

  Args:
    depth: number of classes; labels outside 0..depth-1 are ignored.
    key: of the labels; the result goes to key_result, or replaces them.
    multi: N labels give one vector [depth]; otherwise they give [N, depth].
  """
  def op(example):
    labels = np.asarray(example[key]).astype(np.int64)
    marked = labels[..., None] == np.arange(depth)
    if multi and labels.ndim:
      marked = marked.reshape(-1, depth).any(axis=0)
    return {**example, key_result or key: np.where(marked, np.float32(on), np.float32(off))}
  return op


@OPS.register("lookup")
@with_keys("image")
def lookup(mapping, npzkey="fnames", sep=None):
  """Replaces strings by their int32 numbers in a file, unknown strings by -1.

  Args:
    mapping: path of the file. The array `npzkey` of an .npz holds the strings in order. A text file
      has one string on each line, numbered from 0.
    npzkey: name of the array.
    sep: the text file has "string<sep>number" on each line.
  """
  numbers = _numbered(mapping, npzkey, sep)

  def fn(value):
    if isinstance(value, (list, tuple)) or np.ndim(value):
      return np.array([numbers.get(to_text(v), -1) for v in value], np.int32)
    return np.int32(numbers.get(to_text(value), -1))
  return fn


def _numbered(path, npzkey, sep):
  path = os.fspath(path)  # a number would be a file that this process has open
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
  """Sets outkey or inkey to `example[inkey][example[index_key]]`; -1 is the last entry."""
  def op(example):
    value, index = example[inkey], np.asarray(example[index_key])
    picked = np.asarray(value)[index] if index.ndim else value[int(index)]
    return {**example, outkey or inkey: picked}
  return op


@OPS.register("majority")
@with_keys("image")
def majority():
  """Takes the most frequent entry; of equally frequent ones the first."""
  def fn(value):
    if len(value) == 0:
      raise ValueError("an empty list has no most frequent entry; put setdefault before it.")
    return collections.Counter(value).most_common(1)[0][0]
  return fn
