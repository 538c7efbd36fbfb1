"""What configs share: the canonical PaliGemma preprocessing, and defaults of training.

Keys that trainers/train.py reads are listed in train() below with their defaults.
"""
import ml_collections

SEPARATOR = "\\n"


def tokens(tokenizer, text_len, train, keep=()):
  """pp from the strings "prefix" and "suffix" to what big_vlm/batch.py asks for.

  Prefix, separator and suffix are tokenized apart: no piece crosses a border. An evaluation never
  sees the suffix: it stays a string, to compare with.
  """
  tok = f"model={tokenizer!r}"
  ops = [f"tok(inkey='prefix', outkey='prefix_tokens', bos='yes', {tok})",
         f"tok(text='{SEPARATOR}', outkey='separator', {tok})"]
  if train:
    ops += [f"tok(inkey='suffix', outkey='suffix_tokens', eos='yes', {tok})",
            "masked_concat(('prefix_tokens', 'separator', 'suffix_tokens'), "
            "mask_ar=(0, 0, 1), mask_loss=(0, 0, 1))"]
    pads, text_len = {"text": 0, "mask_ar": 1, "mask_loss": 0}, text_len + 1
  else:
    ops += ["masked_concat(('prefix_tokens', 'separator'), mask_ar=(0, 0), mask_input=(1, 1))"]
    pads = {"text": 0, "mask_ar": 1, "mask_input": 0}
  ops += [f"tolen({text_len}, pad_value={pad}, key={key!r})" for key, pad in pads.items()]
  names = ", ".join(map(repr, ["image", *pads, *keep]))
  return "|".join([*ops, f"keep({names})"])


def train(**changes):
  """The defaults of a training run."""
  c = ml_collections.ConfigDict(dict(
      seed=0,
      model=dict(img={}, llm={}, dtype="float32"),
      # Where parameters start from, what big_vlm.from_preset takes: a whole model, or towers apart
      # (SigLIP and Gemma: stage 0; the connector is fresh). Empty: from the seed.
      init=dict(model="", img="", llm=""),
      tokenizer="",  # e.g. "gemma(tokensets=('loc', 'seg'))"
      mesh=dict(data=1, fsdp=-1, tensor=1),  # -1: all devices that are left
      sharding=((".*", "fsdp"),),  # regex over parameter names -> how, see big_vlm/sharding.py
      # mixture: [dict(data={...}, pp="...", weight=1.), ...]
      input=dict(mixture=[], batch_size=32, workers=0, threads=2),
      total_steps=1000,
      optimizer=dict(name="adamw", args={}, lr=1e-5, schedule="cosine", warmup=100,
                     weight_decay=0., clip_norm=1.),
      log_steps=50,
      checkpoint_steps=1000, keep_checkpoints=1,
      # name: dict(type="vqa", data={...}, pp="...", batch_size=.., max_new_tokens=.., steps=..)
      evals={},
  ))
  c.update(changes)
  return c
