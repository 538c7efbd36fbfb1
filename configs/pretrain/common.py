"""The stages of pretraining share one curve of learning rates and settings by model.

Published (arXiv 2407.07726, section 3.2; 2412.03555, section 3) are the numbers of examples, text
lengths, peak rates, Adam with its usual arguments, and that one rsqrt curve goes through all stages
with a slow linear warm-up of the image encoder. Batch sizes, warm-ups, time scale, clipping and
weight decay are not: they are choices.
"""
from configs import common
from configs.pretrain import tasks
from configs.transfers.common import MODELS, TOKENIZER
from pp.names import pick

RATES = {"paligemma_3b": 2e-5, "paligemma2_3b": 1e-5, "paligemma2_10b": 5e-6,
         "paligemma2_28b": 5e-6}
LLM = {"paligemma_3b": "google/gemma-2b", "paligemma2_3b": "google/gemma-2-2b",
       "paligemma2_10b": "google/gemma-2-9b", "paligemma2_28b": "google/gemma-2-27b"}
SIGLIP = "google/siglip-so400m-patch14-224"

# (batch, grad_accum_steps, remat) by model and resolution, from tools.plan --topology v5e:16x16
# all of them fit 256 chips of TPU v5e, at an MFU of 47 to 65 %.
PLANS = {
    "paligemma_3b": {224: (8192, 2, "save_attn"), 448: (2048, 2, "save_attn"),
                     896: (256, 1, "save_attn")},
    "paligemma2_3b": {224: (8192, 2, "save_attn"), 448: (2048, 2, "save_attn"),
                      896: (256, 1, "save_attn")},
    "paligemma2_10b": {224: (2048, 1, "save_attn"), 448: (512, 2, "save_attn"),
                       896: (256, 1, "full")},
    "paligemma2_28b": {224: (1024, 1, "full"), 448: (256, 1, "full"), 896: (256, 1, "full")},
}

# In examples: the curve is the same whatever the batch.
WARMUP, IMG_WARMUP, TIMESCALE = 10e6, 100e6, 80e6


def pretrain(a, examples, before=0):
  """The config of a stage for a.res, a.model, a.text_len and a.data_dir, but for where it starts.

  examples: {res: of this stage}. before: those that earlier stages have seen.
  """
  examples = pick(examples, a.res, "resolution of this stage")
  batch, grad_accum_steps, remat = pick(PLANS, a.model, "model")[a.res]
  c = common.train(tokenizer=TOKENIZER, text_len=a.text_len, grad_accum_steps=grad_accum_steps,
                   total_examples=examples)
  c.model.img = dict(variant="So400m/14", image_size=a.res, remat=remat, zero_head=True)
  # Of the transfers' decoders all but the soft-cap that they switch off.
  c.model.llm = {"remat": remat} | {
      k: v for k, v in MODELS[a.model][0].items() if k != "final_softcap"}
  c.mesh.data = 2  # so that fsdp is 128 of 256, which divides the dimensions of all models
  c.input.update(batch_size=batch, workers=8, on_error="skip")
  stage = 1 if before else 0
  for name, task in tasks.table(everything=bool(stage)).items():
    c.input.mixture.append(dict(
        name=name, data=dict(name="jsonl", path=f"{a.data_dir}/{name}/*.jsonl", check=False),
        pp=f"{task.pp}|text_layout", weight=task.weights[stage]))
  rest, img = schedules(batch, before)
  rules = (("img/head/.*", rest), ("img/.*", img), (".*", rest))
  c.optimizer.update(name="adamw", lr=RATES[a.model], schedule=rules, weight_decay=0., clip_norm=1.)
  return c


def schedules(batch, before):
  """(of all but the image encoder, of the image encoder) after `before` examples."""
  curve = lambda warmup, seen: dict(
      decay="rsqrt", warmup_examples=warmup, timescale=TIMESCALE / batch,
      shift=max(seen - WARMUP, 0.) / batch)
  if before:
    return curve(0., before), curve(0., before)
  return curve(WARMUP, 0.), curve(IMG_WARMUP, IMG_WARMUP)  # they meet where its warm-up ends
