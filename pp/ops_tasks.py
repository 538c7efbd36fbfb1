"""Ops for single tasks: ScienceQA's choices and widgetcap's red box."""

import string

import numpy as np

from pp.registry import OPS, rng_of
from pp.text_utils import to_text

RED = (255, 0, 0)


@OPS.register("sci_qa_choices_shuffle", random=True)
def sci_qa_choices_shuffle(choice_str_inkey="choices", ans_inkey="answer",
                           indexed_choices_outkey="indexed_choices",
                           indexed_answer_outkey="indexed_answer"):
  """Shuffles choices and writes them with letters, "(A) banana, (B) apple", and the answer, "B".

  Args:
    choice_str_inkey: key of the choices, 26 strings at most.
    ans_inkey: key of the index of the right choice; another index writes the answer "".
    indexed_choices_outkey, indexed_answer_outkey: keys to write.
  """
  def op(example):
    choices, answer = example[choice_str_inkey], int(example[ans_inkey])
    if len(choices) > len(string.ascii_uppercase):
      raise ValueError(f"{len(choices)} choices are more than there are letters.")
    order = rng_of(example, "sci_qa_choices_shuffle").permutation(len(choices)).tolist()
    lettered = list(zip(string.ascii_uppercase, order))
    return {**example,
            indexed_choices_outkey: ", ".join(f"({a}) {to_text(choices[i])}" for a, i in lettered),
            indexed_answer_outkey: "".join(a for a, i in lettered if i == answer)}
  return op


@OPS.register("draw_bbox")
def draw_bbox(image_key="image", bbox_key="bbox"):
  """Draws a box (ymin, xmin, ymax, xmax in 0..1) as a red line of one pixel; float32 [H,W,C].

  The line goes through the pixels of the corners and is clipped to the image. Its levels are
  0..255, so that the op belongs after `resize` and before `value_range`.
  """
  def op(example):
    image = np.array(example[image_key], np.float32)
    box = np.asarray(example[bbox_key], np.float32)
    if image.ndim != 3 or box.shape != (4,) or not np.isfinite(box).all():
      raise ValueError(f"draw_bbox needs an image [H,W,C] and a box of four numbers, got shapes "
                       f"{image.shape} and {box.shape}.")
    sides = np.float32(image.shape[:2] * 2)
    top, left, bottom, right = (box * (sides - 1)).astype(int).tolist()
    height, width, channels = image.shape
    rows = slice(max(top, 0), max(bottom + 1, 0))
    columns = slice(max(left, 0), max(right + 1, 0))
    if top <= bottom and left <= right:
      for row in {top, bottom} & set(range(height)):
        image[row, columns] = np.resize(RED, channels)
      for column in {left, right} & set(range(width)):
        image[rows, column] = np.resize(RED, channels)
    return {**example, image_key: image}
  return op
