"""Examples of vlm.fit as users of other frameworks have them, brought to the form of a batch.

  {"image": ..., "prefix": "caption en", "suffix": "a cat"}        ours, as a line of a JSONL file
  {"images": [...], "prompts": [...], "responses": [...]}          KerasHub's: a column for each
  {"image": ..., "tokens": ids, "targets": ids, "weights": [...]}  KerasHub's y and sample_weight
  {"image": ..., "tokens": ids, "labels": ids}                     transformers'

Ids are [T] of one example, bos included, without placeholders of images. targets are the tokens
that follow each of tokens, weights 1 where a target is trained on and 0 elsewhere; labels are the
tokens themselves, or -100 where nothing is trained on. The prompt, all of which a model with images
sees at once, ends before the first token that is trained on.
"""
import numpy as np

from pp.names import check_names

COLUMNS = {"images": "image", "prompts": "prefix", "responses": "suffix"}
IMAGES, IDS = ("image", "images"), ("tokens", "targets", "weights", "labels")
IGNORED = -100


def from_columns(columns):
  """[{"image", "prefix", "suffix"}] of {"images", "prompts", "responses"}."""
  check_names(columns, COLUMNS, "A dict of columns for fit()")
  if missing := {"prompts", "responses"} - set(columns):
    raise ValueError(f"A dict of columns for fit() needs {sorted(missing)[0]!r}: lists of images, "
                     "prompts and responses.")
  lengths = {name: len(column) for name, column in columns.items()}
  if len(set(lengths.values())) != 1:
    raise ValueError(f"The columns of fit() differ in length: {lengths}.")
  return [dict(zip(map(COLUMNS.get, columns), row)) for row in zip(*columns.values())]


def from_ids(example, vocab_size, image):
  """The example with the row of big_vlm/batch.py in the place of its token ids, of T + 1 tokens.

  image: whether the model sees. Raises ValueError for ids beyond the vocabulary, and for targets
  that are not the next tokens.
  """
  check_names(example, (*IMAGES, *IDS), "An example of token ids")
  x = {name: np.asarray(example[name]) for name in IDS if name in example}
  if ("labels" in x) == ("targets" in x) or ("weights" in x and "labels" in x):
    raise ValueError("beside 'tokens' it needs 'targets' and maybe 'weights', or 'labels'.")
  if odd := next((name for name in x if x[name].shape != x["tokens"].shape
                  or x[name].ndim != 1 or not x[name].size), None):
    raise ValueError(f"{odd!r} has the shape {list(x[odd].shape)}, 'tokens' "
                     f"{list(x['tokens'].shape)}: all are [T].")
  tokens, targets = x["tokens"], x.get("targets")
  if targets is None:
    tokens, targets = tokens[:-1], x["labels"][1:]
  weights = x.get("weights", targets != IGNORED)
  if not np.isin(weights, (0, 1)).all() or not weights.any():
    raise ValueError("weights are 0 or 1 for each target, at least one of them 1.")
  text = np.append(tokens, x["tokens"][-1] if "labels" in x else max(targets[-1], 0))
  if odd := [int(i) for i in (*text, *targets[weights > 0]) if not 0 <= i < vocab_size]:
    raise ValueError(f"the id {odd[0]} is not in the vocabulary of {vocab_size}; placeholders of "
                     "images are left out, the image itself stands before the text.")
  for i in np.flatnonzero((text[1:] != targets) & (weights > 0)):
    raise ValueError(f"target {i} is {targets[i]}, but the token after token {i} is {text[i + 1]}: "
                     "targets are shifted by one, labels are not.")
  loss = np.append(0, weights).astype(np.int32)
  causal = np.maximum.accumulate(loss) if image else np.ones_like(loss)
  return {name: example[name] for name in IMAGES if name in example} | {
      "text": text.astype(np.int32), "mask_ar": causal, "mask_loss": loss}
