"""START HERE: what a batch is. Everything before it is numpy (pp, data), everything after is JAX.

Two towers, as SigLIP's, take pairs: "image" [B, H, W, 3] and "text" [B, T], pieces, eos and padding
up to the text tower's length (pp/ops_pairs.py).

The sequence that a language model sees is `image tokens | text`, and a text row is

    text        BOS answer en how many ? \\n   three EOS PAD PAD
    mask_ar      0    0    0   0   0  0  0     1    1   1   1    0: sees all of its block, 1: causal
    mask_loss    0    0    0   0   0  0  0     1    1   0   0    1: we train to predict this token
    mask_input   1    1    1   1   1  1  1     -    -   0   0    1: a token of the prompt (in evals)

pp/text_layout.py lays it out. Image tokens have mask_ar 0: image and prefix see each other, the
suffix is causal (prefix-LM, PaliGemma report, section 3.1). Training feeds text[:, :-1] and
predicts text[:, 1:].

With config.input.packing = "pack" a row holds several examples: their texts one after the other,
their images in slots, and the number of the example, from 1 on, that each token and each image is
of; 0 is padding. The sequence is then `images | text` of each example in turn; examples do not see
each other, and each has positions from 0 on (data/packing.py).

    text            BOS what ? \n cat EOS  BOS caption en \n a bird EOS PAD
    segment          1   1   1  1  1   1    2     2    2  2  2  2   2   0
    image_segment    1   2   0                                           a slot is free
"""
import numpy as np

# key: (axes, dtypes, where it is needed: in training, in evaluation, in pairs for two towers).
# B batch, F frames or several images of one example, T text length. uint8 images become [-1, 1]
# floats on the device.
BATCH = {
    "image": (("BHWC", "BFHWC"), (np.uint8, np.float32), "pairs"),
    "text": (("BT",), (np.int32,), "train eval pairs"),
    "mask_ar": (("BT",), (np.int32,), "train eval"),
    "mask_loss": (("BT",), (np.int32,), "train"),
    "mask_input": (("BT",), (np.int32,), "eval"),
    "segment": (("BT",), (np.int32,), ""),
    "image_segment": (("BF",), (np.int32,), ""),
    "_mask": (("B",), (np.bool_,), "eval"),  # False: a padding row of the last batch
}


def check_batch(batch, train, vocab_size=None, pairs=False):
  """Raises one ValueError that lists every way in which batch breaks the table above; pairs: of
  one image and one text each."""
  problems, sizes = [], {}
  use = "pairs" if pairs else "train" if train else "eval"
  for key, (axes, dtypes, needed) in BATCH.items():
    axes = axes[:1] if pairs else axes
    if key not in batch:
      if use in needed.split():
        problems.append(f"{key!r} is missing; there are {', '.join(sorted(batch))}")
      continue
    x = batch[key]
    if x.dtype not in dtypes:
      problems.append(f"{key!r} is {x.dtype}, not {' or '.join(np.dtype(d).name for d in dtypes)}")
    named = next((a for a in axes if len(a) == x.ndim), None)
    if named is None:
      problems.append(f"{key!r} has shape {x.shape}, not [{'] or ['.join(map(', '.join, axes))}]")
      continue
    for axis, n in zip(named, x.shape):
      first_key, first = sizes.setdefault(axis, (key, n))
      if n != first:
        problems.append(f"axis {axis} is {n} in {key!r} but {first} in {first_key!r}")
    if named[-1] == "C" and x.shape[-1] != 3:
      problems.append(f"{key!r} has {x.shape[-1]} channels, not 3")
  if vocab_size and "text" in batch and not problems:
    if (top := int(np.max(batch["text"], initial=0))) >= vocab_size:
      problems.append(f"token id {top} does not fit the model's vocabulary of {vocab_size}: "
                      "is this the model's tokenizer?")
  if problems:
    raise ValueError("Bad batch: " + "; ".join(problems) + ". See big_vlm/batch.py.")
