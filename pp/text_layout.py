"""The text of a training or evaluation example, as a pp string: what big_vlm/batch.py draws.

Fine-tuning from a config and from a notebook write it here; VLM.tokenize lays out prompts alike.
"""

import numpy as np

SEPARATOR = "\n"
PAD = 0


def prompt_ids(tokenizer, prefix, image=True):
  """[int]: bos, the prefix (str), and the separator unless the model is text-only (image=False)."""
  return tokenizer.to_int(prefix, bos=True) + tokenizer.to_int(SEPARATOR) * image


def suffix_ids(tokenizer, suffix):
  """[int]: the suffix (str) and eos."""
  return tokenizer.to_int(suffix, eos=True)


def layout(prompt, suffix=None, length=None, image=True):
  """Ids [int] -> int32 arrays [length] "text", "mask_ar", and "mask_loss" or "mask_input".

  Args:
    prompt: from prompt_ids().
    suffix: from suffix_ids(); None lays out the prompt alone.
    length: longer rows are cut on the right, shorter ones padded; None: as long as the ids.
    image: False for a text-only model.
  """
  prefix_len, total = len(prompt), len(prompt) + len(suffix or ())
  at = np.arange(length or total)
  text = np.full_like(at, PAD, np.int32)
  text[:total] = [*prompt, *(suffix or ())][:len(at)]
  in_prompt = at < prefix_len
  mask = ("mask_input", in_prompt) if suffix is None else ("mask_loss", ~in_prompt & (at < total))
  causal = ~in_prompt if image else np.ones_like(in_prompt)
  return {"text": text, "mask_ar": causal.astype(np.int32), mask[0]: mask[1].astype(np.int32)}


def tokens(tokenizer, text_len, train, keep=(), image=True):
  """pp from the strings "prefix" and "suffix" to what big_vlm/batch.py asks for.

  Prefix, separator and suffix are tokenized apart: no piece crosses a border. An evaluation never
  sees the suffix: it stays a string, to compare with.

  Args:
    tokenizer: as pp.tokenizer.get_tokenizer takes it.
    text_len: tokens that the model reads; longer texts are cut. In training a row has one more,
      which is predicted only. None: rows are as long as their texts.
    train: with suffix, eos and mask_loss; else the prompt alone, with mask_input.
    keep: other keys of the example that the rows keep.
    image: False for a text-only model, which has no separator and reads all of it causally.
  """
  tok = f"model={tokenizer!r}"
  ops = [f"tok(inkey='prefix', outkey='prefix_tokens', bos='yes', {tok})"]
  parts = ["prefix_tokens"]
  if image:
    ops.append(f"tok(text='\\n', outkey='separator', {tok})")
    parts.append("separator")
  masks = {"mask_ar": [0 if image else 1] * len(parts)}
  if train:
    ops.append(f"tok(inkey='suffix', outkey='suffix_tokens', eos='yes', {tok})")
    masks["mask_loss"] = [0] * len(parts) + [1]
    masks["mask_ar"].append(1)
    parts.append("suffix_tokens")
    pads = {"text": 0, "mask_ar": 1, "mask_loss": 0}
    text_len = text_len and text_len + 1
  else:
    masks["mask_input"] = [1] * len(parts)
    pads = {"text": 0, "mask_ar": 1, "mask_input": 0}
  ops.append(f"masked_concat({parts}, {', '.join(f'{k}={v}' for k, v in masks.items())})")
  ops += [f"tolen({text_len}, pad_value={pad}, key={key!r})" for key, pad in pads.items()]
  names = ", ".join(map(repr, ["image", *pads, *keep]))
  return "|".join([*ops, f"keep({names})"])
