"""What configs share: PaliGemma's text preprocessing (pp/prompts.py), and defaults of training.

Keys that trainers/train.py reads are listed in train() below with their defaults.
"""
import ml_collections

from pp.prompts import tokens  # noqa: F401 (configs write their text by common.tokens)


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
                     weight_decay=0., clip_norm=1.,
                     # regex over parameter names -> does it train; a frozen one has no state
                     trainable=((".*", True),)),
      log_steps=50,
      checkpoint_steps=1000, keep_checkpoints=1,
      # name: dict(type="vqa", data={...}, pp="...", batch_size=.., max_new_tokens=.., steps=..)
      evals={},
  ))
  c.update(changes)
  return c
