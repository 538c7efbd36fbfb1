"""Ops that write the prompt and the answer of tasks with location tokens.

  detect            "detect cat ; dog"     -> "<loc....>x4 cat ; <loc....>x4 dog"
  segment           "segment cat ; dog"    -> "<loc....>x4<seg...>x16 cat ; ..."
  caption_box       "caption <loc....>x4"  -> "a cat on a mat"
  refcoco_mask2str  "the cat on the left"  -> "<loc....>x4<seg...>x16", as in big_vision

A box is (ymin, xmin, ymax, xmax) in 0..1. A mask is uint8 [H,W] or [H,W,C], 0..255, or a PNG.
"""

import numpy as np

from pp import mask_codes
from pp.decode import decode_image
from pp.locations import box_to_loc, format_objects, parse_objects
from pp.ops_boxes import boxes_at, one_box
from pp.registry import OPS, rng_of
from pp.text_utils import how_many_fit, to_text

ORDERS = ("given", "raster", "random")


def _draws(arguments):
  return (arguments["order"] == "random" or arguments["subset"]
          or arguments.get("noise") is not None)


@OPS.register("detect", random=_draws, takes={"text_len": "text_len"})
def detect(boxes="objects/bbox", labels="objects/label", prefix="prefix", suffix="suffix",
           order="given", subset=False, max_objects=None, prompt=None, tokens_each=None,
           text_len=None, noise=None):
  """Writes prefix "detect cat ; dog" and suffix "<loc....>x4 cat ; <loc....>x4 dog ; ...".

  The prompt names each label once, in the order of first appearance in the example. Without any
  object it is "detect" and the answer is empty.

  Args:
    boxes, labels: keys of [N,4] (ymin, xmin, ymax, xmax in 0..1) and of N str, bytes or ints.
    prefix, suffix: keys to write.
    order: of the objects in the answer: "given", "raster" (from the top, then from the left, by
      their first corner), or "random" (another one in each epoch).
    subset: ask for a random subset of the labels, of at least one.
    max_objects: the most objects to answer, the first ones in `order`; the prompt then names their
      labels only.
    prompt: a fixed prompt, such as "detect all classes", instead of the labels.
    tokens_each: instead of max_objects: as many as fit a text, of about so many tokens each.
    text_len: tokens of the text, for tokens_each.
    noise: a label, such as "noise", for random boxes that fill the answer up to max_objects: a
      model learns to say of a box that nothing is there. See `text_layout(noise=...)`.
  """
  max_objects = how_many_fit(tokens_each, text_len) or max_objects
  _check("detect", order, max_objects, subset, prompt)
  answer = _answering("detect", boxes, labels, None, prefix, suffix, order, subset, max_objects,
                      prompt)
  return answer if noise is None else _with_noise(answer, suffix, noise, max_objects)


@OPS.register("segment", random=_draws, takes={"text_len": "text_len"})
def segment(boxes="objects/bbox", labels="objects/label", masks="objects/mask", prefix="prefix",
            suffix="suffix", order="given", subset=False, max_objects=None, prompt=None,
            model="oi", tokens_each=None, text_len=None):
  """Writes prefix "segment cat ; dog" and suffix "<loc....>x4<seg...>x16 cat ; ...".

  Args:
    masks: key of N masks, each of the whole image.
    model: as in `refcoco_mask2str`. The other arguments are those of `detect`.
  """
  max_objects = how_many_fit(tokens_each, text_len) or max_objects
  _check("segment", order, max_objects, subset, prompt)
  return _answering("segment", boxes, labels, masks, prefix, suffix, order, subset, max_objects,
                    prompt, mask_codes.load(model))


@OPS.register("caption_box")
def caption_box(box="bbox", caption="caption", prefix="prefix", suffix="suffix", verb="caption"):
  """Writes prefix "caption <loc....>x4" with the locations of a box, and its caption as the suffix.

  Args:
    box, caption: keys of one box and one string; `choice(key=[box, caption])` picks one of several.
    prefix, suffix: keys to write.
    verb: the word before the locations.
  """
  return lambda example: {
      **example, prefix: f"{verb} {box_to_loc(one_box(example, box))}".strip(),
      suffix: to_text(example[caption])}


@OPS.register("refcoco_mask2str")
def refcoco_mask2str(model="oi"):
  """Writes "prefix", the bare sentence, and "suffix", "<loc....>x4<seg...>x16".

  Reads "objects/mask", "objects/bbox" and "objects/refs/sentence" of one object; `choice` before it
  picks the object.

  Args:
    model: path of big_vision's vae-oid.npz; "oi" reads the path from $BIG_VLM_MASK_VQVAE.
  """
  params = mask_codes.load(model)

  def op(example):
    box = np.float32(one_box(example, "objects/bbox"))
    codes = mask_codes.mask_to_codes(params, _mask(example["objects/mask"]), box)
    return {**example, "prefix": to_text(example["objects/refs/sentence"]),
            "suffix": format_objects([box], [""], [codes])}
  return op


def _check(op, order, max_objects, subset, prompt):
  if order not in ORDERS:
    raise ValueError(f"{op}: order={order!r} is not one of {', '.join(ORDERS)}.")
  if max_objects is not None and max_objects < 1:
    raise ValueError(f"{op}: max_objects={max_objects} is not positive.")
  if subset and prompt is not None:
    raise ValueError(f"{op}: a fixed prompt cannot name the labels that subset=True asks for.")


def _answering(verb, boxes, labels, masks, prefix, suffix, order, subset, max_objects, prompt,
               vqvae=None):
  """The op that asks for boxes and, with the parameters of the VQ-VAE, for masks."""
  def op(example):
    corners = boxes_at(example, boxes).reshape(-1, 4)
    names = [str(n) if isinstance(n, (int, np.integer)) else to_text(n) for n in example[labels]]
    if len(corners) != len(names):
      raise ValueError(f"{boxes!r} has {len(corners)} boxes, {labels!r} {len(names)} labels.")
    if vqvae and len(example[masks]) != len(names):
      raise ValueError(f"{masks!r} has {len(example[masks])} masks for {len(names)} objects.")
    asked, indices = _asked(example, verb, corners, names, order, subset, max_objects)
    segs = vqvae and [mask_codes.mask_to_codes(vqvae, _mask(example[masks][i]), corners[i])
                      for i in indices]
    answer = format_objects(corners[indices], [names[i] for i in indices], segs)
    question = f"{verb} {' ; '.join(asked)}".strip() if prompt is None else prompt
    return {**example, prefix: question, suffix: answer}
  return op


def _with_noise(op, suffix, label, count):
  """The op, and behind its objects as many random boxes of `label` as make `count` of them."""
  if not label:
    raise ValueError(f"detect: noise={label!r} is no label: give a word, such as 'noise'.")
  if count is None:
    raise ValueError(f"detect: noise={label!r} fills the answer up to max_objects= or tokens_each=:"
                     " give one of them.")
  format_objects([np.zeros(4)], [label])  # an error in the label shows now

  def noisy(example):
    example = op(example)
    found = [o.label for o in parse_objects(example[suffix])]
    if any(f"{name} ".startswith(f"{label} ") for name in found):
      raise ValueError(f"an object's label is or begins with that of noise, {label!r}: name noise "
                       "otherwise.")
    more = max(count - len(found), 0)
    sides = np.sort(rng_of(example, "detect(noise=...)").uniform(size=(more, 2, 2)), axis=1)
    boxes = format_objects(sides.reshape(more, 4), [label] * more)  # ymin, xmin, ymax, xmax
    return {**example, suffix: " ; ".join(filter(None, [example[suffix], boxes]))}
  return noisy


def _asked(example, op, corners, names, order, subset, max_objects):
  """(labels in the prompt, indices of the objects in the answer), both in order."""
  asked = list(dict.fromkeys(names))
  if subset and asked:
    rng = rng_of(example, f"{op}(subset=True)")
    count = int(rng.integers(1, len(asked) + 1))
    asked = [asked[i] for i in np.sort(rng.permutation(len(asked))[:count])]
  indices = range(len(corners))
  if order == "raster":
    indices = np.lexsort((corners[:, 1], corners[:, 0]))
  if order == "random":
    indices = rng_of(example, f"{op}(order='random')").permutation(len(corners))
  indices = [int(i) for i in indices if names[i] in asked][:max_objects]
  left = {names[i] for i in indices}
  return [a for a in asked if a in left], indices


def _mask(mask):
  """uint8 [H,W] of a mask [H,W], a mask [H,W,C] (its first channel), or encoded bytes."""
  mask = mask if isinstance(mask, np.ndarray) and mask.ndim else decode_image(mask, channels=1)
  if mask.dtype == bool:
    mask = mask.astype(np.uint8) * 255
  if mask.dtype != np.uint8 or mask.ndim not in (2, 3) or 0 in mask.shape:
    raise ValueError(f"a mask is uint8 [H,W] or [H,W,C], got {mask.dtype}{list(mask.shape)}; of "
                     "several pick one by `choice`.")
  return mask if mask.ndim == 2 else mask[..., 0]
