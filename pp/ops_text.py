"""Ops on strings and token arrays: templates, tokenizing, and the one text sequence of a VLM.

text_layout writes the whole row that a model reads, as pp/text_layout.py draws it. big_vision's
configs put it together themselves:

  tok(key='prefix', model=M, bos='yes')|tok(text='\\n', key='sep', model=M)
  |tok(key='suffix', model=M, eos='yes')
  |masked_concat(['prefix', 'sep', 'suffix'], mask_ar=[0, 0, 1], mask_loss=[0, 0, 1])
  |tolen(65, pad_value=0, key='text')|tolen(65, pad_value=1, key='mask_ar')|...

Strings may be UTF-8 bytes, as TFDS yields them. Tokens and masks are int32 [T].
"""

import string

import numpy as np

from pp.ops_general import is_private
from pp.registry import OPS, with_keys
from pp.text_layout import PAD, label_ids, layout, prompt_ids, skip_locations, suffix_ids
from pp.text_utils import to_text
from pp.tokenizer import get_tokenizer

ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@OPS.register("strfmt")
def strfmt(template, outkey="text"):
  """example[outkey] = the template with each {key} replaced by example[key]; {{ and }} escape.

  Keys may hold "/". Numbers are written shortly, 2.0 as 2, and arrays as [1.5 2].
  """
  parts = []  # of (literal text, key or None)
  for literal, key, spec, conversion in string.Formatter().parse(template):
    if spec or conversion:
      raise ValueError(f"strfmt: {{{key}}} has a format or conversion; only {{key}} is allowed.")
    parts.append((literal, key or None))

  def op(example):
    text = "".join(lit if key is None else lit + _written(example[key], key) for lit, key in parts)
    return {**example, outkey: text}
  return op


def _written(value, key):
  if isinstance(value, np.ndarray) and value.ndim == 0:
    value = value.item() if value.dtype.kind in "OSU" else value[()]
  if isinstance(value, (str, bytes)):
    return to_text(value)
  if isinstance(value, (list, tuple, np.ndarray)):
    if any(isinstance(v, (str, bytes)) for v in value):
      raise ValueError("strfmt writes one string for each {key}, not a list of strings; pick or "
                       "join them with choice, getidx or strjoin first.")
    return f"[{' '.join(_written(v, key) for v in value)}]"
  if value is None or isinstance(value, dict) or value != value:  # "None" and "nan" are no words
    raise ValueError(f"{key!r} is {value!r:.60}, neither a text nor a number; where it is missing, "
                     "put setdefault before strfmt, or leave such examples out by the data's "
                     "filter.")
  return str(value).removesuffix(".0")


@OPS.register("lower")
@with_keys("text")
def lower():
  """Lower-cases A to Z and nothing else; works on lists and arrays of strings too."""
  def fn(value):
    if isinstance(value, np.ndarray) and value.ndim:
      return np.array([fn(v) for v in value])
    if isinstance(value, (list, tuple)):
      return [fn(v) for v in value]
    return to_text(value).translate(ASCII_LOWER)
  return fn


@OPS.register("strjoin")
@with_keys("image")
def strjoin(glue, axis=None):
  """Joins the strings of a list or array along `axis`, all of them if None."""
  def join(strings):
    return glue.join(to_text(s) for s in strings)

  def fn(value):
    if axis is None or np.ndim(value) == 1:
      return join(np.asarray(value, object).ravel())
    moved = np.moveaxis(np.asarray(value, object), axis, -1)
    joined = [join(row) for row in moved.reshape(-1, moved.shape[-1])]
    return np.array(joined, object).reshape(moved.shape[:-1])
  return fn


@OPS.register("coco_captions")
def coco_captions(outkey="captions"):
  """example[outkey] = the texts of the captions of one image, as TFDS nests them."""
  return lambda example: {**example, outkey: example["captions"]["text"]}


@OPS.register("text_layout", takes={k: k for k in ("tokenizer", "text_len", "train", "image")})
def text_layout(tokenizer, text_len, train=True, image=True, keep=(), noise=None):
  """The strings "prefix" and "suffix" -> the row that the model reads: pp/text_layout.py draws it.

  Of the example stay "image", the row, the keys in `keep`, and the loader's own. An evaluation does
  not read the suffix, so that no answer can get into a prompt.

  Args:
    tokenizer: as pp.tokenizer.get_tokenizer takes it.
    text_len: tokens that the model reads; longer texts are cut. In training a row has one more,
      which is predicted only. None: rows are as long as their texts.
    train: with suffix, eos and mask_loss; else the prompt alone, with mask_input.
    image: False for a text-only model, for which an example with an image is an error.
    keep: more keys of the example to keep.
    noise: the label of boxes where nothing is, from `detect(noise=...)`: training predicts that
      label, and not the four locations before it. An eval of the type `detection` must forbid it
      and the end, logit_bias={" noise": float("-inf"), "<eos>": float("-inf")}, so that every
      answer is full of boxes, and rank these by confidence="label", which is the model's own.
  """
  tok, kept = get_tokenizer(tokenizer), {"image", *keep}
  noise_ids = noise and label_ids(tok, noise)
  length = text_len and text_len + train

  def op(example):
    if not image and "image" in example:
      raise ValueError("the example has an image, and the model is text-only")
    prompt = prompt_ids(tok, to_text(example["prefix"]), image)
    suffix = suffix_ids(tok, to_text(example["suffix"])) if train else None
    rest = {k: v for k, v in example.items() if k in kept or is_private(k)}
    row = layout(prompt, suffix, length, image)
    if noise_ids and train:
      skip_locations(row, *noise_ids)
    return rest | row
  return op


@OPS.register("pad_row", takes={"length": "row_len"})
def pad_row(length):
  """Pads the row that a model reads, "text", "mask_ar" and "mask_loss" [T], to [length]."""
  pads = {"text": PAD, "mask_ar": 1, "mask_loss": 0}
  return lambda example: {**example, **{
      k: fit_length(example[k], length, value) for k, value in pads.items()}}


@OPS.register("tok", takes={"model": "tokenizer"})
def tok(model, length=None, *, bos="no", eos="no", text=None, key=None, inkey=None, outkey=None):
  """Tokenizes the string at `key` to int32 [T], or [length], padded or cut on the right.

  Args:
    model: a tokenizer, as pp.tokenizer.get_tokenizer takes it.
    bos: "yes" puts the bos token in front.
    eos: "yes" puts the eos token at the end, where cutting may remove it; "sticky" keeps it.
    text: tokenize this constant once instead, and write it to outkey (or key).
  """
  for name, value, known in [("bos", bos, ("no", "yes")), ("eos", eos, ("no", "yes", "sticky"))]:
    if value not in known:
      raise ValueError(f"tok: {name}={value!r} is not one of {', '.join(map(repr, known))}.")
  if text is not None and inkey is not None:
    raise ValueError(f"tok: text={text!r} replaces inkey={inkey!r}; give one of them.")
  inkey, outkey = inkey or key, outkey or key
  if outkey is None or inkey is None and text is None:
    raise ValueError("tok needs key=, or inkey= and outkey=, or text= and outkey=.")
  tokenizer = get_tokenizer(model)

  def tokens_of(value):
    ids = tokenizer.to_int(to_text(value), bos=bos == "yes", eos=eos != "no")
    return fit_length(np.array(ids, np.int32), length, tokenizer.pad_token, eos == "sticky")

  if text is None:
    return lambda example: {**example, outkey: tokens_of(example[inkey])}
  constant = tokens_of(text)
  constant.flags.writeable = False  # all examples share it
  return lambda example: {**example, outkey: constant}


def fit_length(array, length, pad_value, sticky_end=False):
  """Pads or cuts [T] on the right to [length]; sticky_end keeps the last entry when cutting."""
  if not length or len(array) == length:
    return array
  if len(array) > length:
    return np.append(array[:length - 1], array[-1]) if sticky_end else array[:length]
  return np.pad(array, (0, length - len(array)), constant_values=pad_value)


@OPS.register("tolen", sets={"length": "row_len"})
def tolen(length, *, sticky_end=False, pad_value=None, pad_key=None, key=None, inkey=None,
          outkey=None):
  """Pads or cuts a 1-D array on the right to `length`; None or 0 leaves it as it is.

  Args:
    sticky_end: keep the last entry when cutting.
    pad_value: what to pad with, or pad_key: where the example holds it (the first entry).
  """
  inkey, outkey = key or inkey, key or outkey
  if inkey is None or outkey is None:
    raise ValueError("tolen needs key=, or both inkey= and outkey=.")
  if length and pad_value is None and pad_key is None:
    raise ValueError("tolen needs pad_value=, or pad_key=.")

  def op(example):
    array = np.asarray(example[inkey])
    if array.ndim != 1:
      raise ValueError(f"tolen needs an array [T] at {inkey!r}, got shape {array.shape}.")
    pad = pad_value if pad_value is not None or not length else np.ravel(example[pad_key])[0]
    return {**example, outkey: fit_length(array, length, pad, sticky_end)}
  return op


@OPS.register("masked_concat")
def masked_concat(keys, outkey="text", **masks):
  """Concatenates the arrays [T] of `keys`; each mask has one value per key, repeated over it.

  masked_concat(["a", "b"], mask_ar=[0, 1]) on a = [5, 6], b = [7] gives text = [5, 6, 7] and
  mask_ar = [0, 0, 1]. Masks are int32.
  """
  for name, values in masks.items():
    if len(values) != len(keys):
      raise ValueError(f"masked_concat: {name} has {len(values)} values for {len(keys)} keys.")

  def op(example):
    arrays = [np.asarray(example[k]) for k in keys]
    lengths = [len(a) for a in arrays]
    expanded = {name: np.repeat(np.array(v, np.int32), lengths) for name, v in masks.items()}
    return {**example, outkey: np.concatenate(arrays), **expanded}
  return op
