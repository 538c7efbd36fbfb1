"""The text of a training or evaluation example, as a pp string: what big_vlm/batch.py draws.

Fine-tuning from a config and from a notebook write it here; VLM.tokenize lays out prompts alike.
"""

SEPARATOR = "\\n"


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
    ops.append(f"tok(text='{SEPARATOR}', outkey='separator', {tok})")
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
