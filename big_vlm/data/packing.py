"""Batches without most of their padding: config.input.packing, a row of MODES.

  none      rows of config.text_len tokens
  buckets   all rows of a batch are cut to the shortest of a few lengths that holds the longest
  pack      a row holds config.input.row_examples examples (big_vlm/batch.py), and is cut likewise

A step has the same examples and the same loss in each mode, up to rounding and the masks of
dropout. Which of them share a row depends on their lengths alone, within groups of GROUP_ROWS rows
that every process which needs a row makes as a whole: rows are then the same for any number of
processes and workers, and the step remains the whole state of the stream.

B examples, R rows, T text, F image slots.
"""
import dataclasses
import functools

import numpy as np

from big_vlm import distributed
from big_vlm.data import loader
from pp.names import pick
from pp.text_layout import PAD

MODES = ("none", "buckets", "pack")
GROUP_ROWS = 8  # rows whose examples are shared out among them: the more, the more even they get
TEXT_KEYS = ("text", "mask_ar", "mask_loss")
# Parts of the longest row that rows may have: a third of the padding at most, in eight programs.
BUCKETS = tuple(part / 2**k for k in range(4) for part in (1, 3 / 4))
MULTIPLE = 8  # tokens of a bucket


@dataclasses.dataclass(frozen=True)
class Layout:
  """How examples become the rows of a batch. See of_config."""
  batch_size: int  # examples
  mode: str = "none"
  row_examples: int = 1
  image_size: int | None = None
  image_tokens: int = 0  # of an image
  pairs: bool = False  # of two towers, which read padding too

  @property
  def rows(self):
    """Of a batch, on all processes together."""
    return self.batch_size // self.row_examples

  def reader(self, rows):
    """(examples of a batch to read, function [example of each] -> batch) for a process that has the
    rows `rows` of it."""
    if self.mode != "pack":
      return rows, loader.collate
    each = np.gcd(self.rows, GROUP_ROWS)  # rows of a group
    groups = sorted({row // each for row in rows})
    size = each * self.row_examples
    slots = [slot for group in groups for slot in range(group * size, (group + 1) * size)]
    return slots, functools.partial(self._pack, [int(row) for row in rows], groups, int(each))

  def _pack(self, rows, groups, each, examples):
    made, size = {}, len(examples) // len(groups)
    for i, group in enumerate(groups):
      of_group = examples[i * size:(i + 1) * size]
      sizes = [text_tokens(e)[0] + self.image_tokens * _count(e) for e in of_group]
      for row, members in enumerate(share_out(sizes, each)):
        made[group * each + row] = [of_group[member] for member in members]
    slots = max(sum(map(_count, made[row])) for row in rows)
    return loader.collate([self._row(made[row], slots) for row in rows])

  def _row(self, examples, slots):
    """The examples as one row, in the keys of big_vlm/batch.py; its other keys are lists."""
    lengths = [text_tokens(e)[0] for e in examples]
    loader.collate([{"_id": e.get("_id"), "text": e["text"]} for e in examples])  # of one length
    numbers, width = range(1, len(examples) + 1), len(examples) * len(examples[0]["text"])
    room = -(-width // MULTIPLE) * MULTIPLE + 1 - sum(lengths)
    row = {key: np.pad(np.concatenate([e[key][:n] for e, n in zip(examples, lengths)]), (0, room))
           for key in TEXT_KEYS}
    # Nothing predicts the first token of an example, as in text[:, 1:] of one example a row.
    row["mask_loss"][np.cumsum([0, *lengths[:-1]])] = 0
    row["segment"] = np.pad(np.repeat(numbers, lengths), (0, room)).astype(np.int32)
    if slots:
      row |= self._images(examples, slots)
    for key in dict.fromkeys(key for e in examples for key in e):
      if key not in row and key not in ("image", "mask_input"):
        row[key] = [e.get(key) for e in examples]
    if "_skipped" in row:
      row["_skipped"] = [i for ids in row["_skipped"] for i in ids or ()]
    return row

  def _images(self, examples, slots):
    """"image" [F, H, W, 3] and "image_segment" [F] of a row; what stands in free slots is not read.
    """
    found = [(number, image) for number, e in enumerate(examples, 1)
             for image in (_frames(e["image"]) if "image" in e else ())]
    dtype = found[0][1].dtype if found else np.uint8
    image = np.zeros((slots, self.image_size, self.image_size, 3), dtype)
    segment = np.zeros(slots, np.int32)
    for slot, (number, pixels) in enumerate(found):
      if (pixels.shape, pixels.dtype) != (image.shape[1:], dtype):
        raise ValueError(
            f"Example {examples[number - 1].get('_id')} has an image {pixels.dtype} {pixels.shape} "
            f"where {np.dtype(dtype)} {image.shape[1:]} is expected: `resize` in the pp string "
            "makes one shape, and all pipelines of a mixture make one dtype.")
      image[slot], segment[slot] = pixels, number
    return {"image": image, "image_segment": segment}

  def cut(self, batch):
    """The batch in the shape that all processes need: of its columns and of its image slots.

    All processes of a run must call it together.
    """
    if self.mode == "none":
      return batch
    most = batch["text"].shape[1] - 1
    need = int(text_tokens(batch).max()) if self.mode == "buckets" else (
        int((batch["segment"] > 0).sum(axis=1).max()))
    have, slots = batch.get("image", np.zeros(0, np.uint8)), image_slots(batch)
    need, images, floats = distributed.most([need, slots, int(have.dtype == np.float32)])
    length = next(n for n in buckets(most) if n >= min(need - 1, most))
    batch = {k: x[:, :length + 1] if x.ndim == 2 and k != "image_segment" else x
             for k, x in batch.items()}
    if self.mode == "pack" and images > slots:  # another process has more
      rows, side = len(batch["text"]), self.image_size
      free = np.zeros((rows, images - slots, side, side, 3), np.float32 if floats else np.uint8)
      numbers = np.zeros(free.shape[:2], np.int32)
      batch |= {"image": np.concatenate([have, free], axis=1) if slots else free,
                "image_segment": np.concatenate([batch["image_segment"], numbers], axis=1)
                if slots else numbers}
    return batch

  def tokens(self, batch):
    """(tokens that the model reads of these rows, how many of them are not padding)."""
    rows, length = len(batch["text"]), batch["text"].shape[1] - 1
    slots = image_slots(batch)
    if self.pairs:
      total = rows * (length + 1 + slots * self.image_tokens)
      return total, total
    if "segment" in batch:
      real = (batch["segment"][:, :-1] > 0).sum()
      real += (batch.get("image_segment", np.zeros(0)) > 0).sum() * self.image_tokens
    else:
      real = np.minimum(text_tokens(batch), length).sum() + rows * slots * self.image_tokens
    return rows * (length + slots * self.image_tokens), int(real)


def unpacked(batch):
  """The examples of a batch, {key: [value of each]}, packed or not, as collate() of one a row."""
  if "segment" not in batch:
    return batch
  examples = []
  for row in range(len(batch["text"])):
    of = {key: x[row] for key, x in batch.items()}
    for number in range(1, len(of["_id"]) + 1):
      here = of["segment"] == number
      one = {key: x[here] for key, x in of.items() if np.shape(x)[:1] == here.shape}
      if "image" in of:
        one["image"] = of["image"][of["image_segment"] == number]
      examples.append(one | {key: x[number - 1] for key, x in of.items()
                             if isinstance(x, list) and key != "_skipped"})
  keys = dict.fromkeys(key for e in examples for key in e if key != "segment")
  return {key: [e.get(key) for e in examples] for key in keys}


def of_config(config):
  """The Layout of a config's batches. Raises ValueError as rows()."""
  from big_vlm.families import paligemma  # here: worker processes import this file
  size, model = config.input.batch_size, config.model.to_dict()
  model = paligemma.config(**model | {"dtype": "float32"})
  tokens = model.img and (model.img.patches if model.txt else model.img.tokens)
  return Layout(size, config.input.packing, size // rows(config),
                model.img and model.img.image_size, tokens or 0, bool(model.txt))


def rows(config):
  """Rows of a batch of config.input.batch_size examples. Raises ValueError for bad fields."""
  size, each = config.input.batch_size, config.input.row_examples
  pick(dict.fromkeys(MODES), config.input.packing, "config.input.packing")
  if config.input.packing != "pack":
    return size
  if each < 1 or size % each:
    raise ValueError(f"config.input.packing='pack' puts input.row_examples={each} examples into a "
                     f"row, which does not divide a batch of {size}: give a divisor.")
  return size // each


def share_out(sizes, rows):
  """The members of each of `rows` rows, as many in all, of their sizes: the longest first, each to
  the shortest row that has a place. [[index]], ascending."""
  each, members, total = len(sizes) // rows, [[] for _ in range(rows)], [0] * rows
  for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
    row = min((r for r in range(rows) if len(members[r]) < each), key=lambda r: (total[r], r))
    members[row].append(index)
    total[row] += sizes[index]
  return [sorted(row) for row in members]


def text_tokens(batch):
  """int [B]: tokens of the rows "text" [B, T], or of one row [T], without padding; 2 at least.

  What counts as padding stands at the end, is supervised nowhere, and is seen by no other token.
  """
  text, ar, loss = (np.atleast_2d(batch[key]) for key in TEXT_KEYS)
  real = (text != PAD) | (ar == 0) | (loss > 0)
  last = text.shape[1] - np.argmax(real[:, ::-1], axis=1)
  return np.maximum(np.where(real.any(axis=1), last, 0), 2)


def buckets(most):
  """The lengths that rows of `most` tokens may be cut to, ascending: few, as each is a program."""
  return sorted({min(-(-int(most * part) // MULTIPLE) * MULTIPLE, most) for part in BUCKETS})


def image_slots(batch):
  """Images of a row."""
  if "image" not in batch:
    return 0
  return 1 if batch["image"].ndim == 4 else batch["image"].shape[1]


def _frames(image):
  return image if image.ndim == 4 else image[None]


def _count(example):
  return len(_frames(example["image"])) if "image" in example else 0
