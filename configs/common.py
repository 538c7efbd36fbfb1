"""All fields of a config with their defaults; a config sets those in which it differs.

A pp string says what is special about a task: "decode|resize|strfmt('caption en', outkey='prefix')
|text_layout". Its ops take tokenizer, text_len and model.img.image_size from the fields, so that
--config.text_len=64 changes training, evals and plan alike; see pp/context.py.
"""
import ml_collections
from ml_collections import config_dict


def train(**changes):
  """The defaults of a training run. A duration is given in one of the units of UNITS, for example
  total_epochs=3, log_examples=5000; fraction is of all steps."""
  c = ml_collections.ConfigDict(dict(
      seed=0,
      # dtype of activations; "auto": bfloat16 on TPU and GPU, float32 on a CPU. Trainable
      # parameters are float32 always. txt: the text tower that SigLIP has in the place of llm. Each
      # of the three has remat: a row of layers.REMAT.
      model=dict(img={}, llm={}, txt={}, dtype="auto"),
      # Initial parameters, as big_vlm.from_preset takes them: a whole model, or img, llm and txt
      # separately (SigLIP and Gemma; the projector is randomly initialized). Empty: from the seed.
      init=dict(model="", img="", llm="", txt="",
                dont_load=()),  # regexes of names of parameters that are not taken
      resume="",  # workdir of another run, to resume with its optimizer state and step
      tokenizer="",  # of all pipelines, e.g. "gemma(tokensets=('loc', 'seg'))"
      # tokens of prompt and answer that the model reads; evals may have a prompt_len of their own
      text_len=config_dict.placeholder(int),
      mesh=dict(data=1, fsdp=-1, tensor=1),  # -1: all devices that are left
      # (regex over parameter names, how), the first that matches counts, e.g. ("img/.*",
      # "replicate"); optimizer moments follow their parameter. See big_vlm/sharding.py
      sharding=((".*", "fsdp"),),
      pp_modules=(),  # modules of yours that register ops, e.g. ("my.ops",) of the file my/ops.py
      # mixture: [dict(data={...}, pp="...", weight=1.), ...], see big_vlm/data. on_error:
      # "raise", or "skip" for examples that cannot be used. memory_gb: limit of reading ahead.
      # packing: "none"; "buckets" cuts rows to what a batch needs; "pack" puts row_examples
      # examples into a row: see big_vlm/data/packing.py. batch_size: examples of a step.
      input=dict(mixture=[], batch_size=32, packing="none", row_examples=4, workers=0, threads=2,
                 memory_gb=2., on_error="raise"),
      **durations("total"),
      # name: "next_token", or "sigmoid" for two towers, see training/objectives.py, which has no
      # other arguments. loss_normalization: "example" (each weighs the same) or "token"; see
      # training/losses.py
      loss=dict(name="next_token", loss_normalization="example", label_smoothing=0., z_loss=0.),
      grad_accum_steps=1,  # parts of the batch that go through the model one after the other
      # schedule and mults: (regex over parameter names, value), the first that matches counts; a
      # schedule of None freezes. ema: 0.9999 averages the parameters. See big_vlm/training/optim.py
      # and schedules.py.
      optimizer=dict(name="adamw", args={}, lr=1e-5,
                     schedule=((".*", dict(decay="cosine", warmup_fraction=0.05)),),
                     lr_mults=((".*", 1.),), weight_decay=0.,
                     weight_decay_mults=(),  # (): 0 for scales, biases and position tables, else 1
                     clip_norm=1., ema=0.),
      # rank above 0: train adapters (LoRA) alone, on the weights that the regex targets
      # matches; "": those of the decoder's layers.
      lora=dict(rank=0, targets="", alpha=None, dropout=0.),
      quantize="",  # "int8" or "int4" for the weights under the adapters: QLoRA
      **durations("log"),  # by default every 50 steps
      **durations("checkpoint"),  # by default every 1000 steps, and at the end
      max_to_keep=2,
      # The best checkpoint by a metric of the evals, such as "val/acc", is kept apart: W@best opens
      # it. mode: "max" or "min". patience: stop after so many evaluations without a better one.
      best=dict(metric="", mode="max", patience=0),
      **durations("keep_period"),  # checkpoints that are kept for good
      # "wandb" and "mlflow" get the metrics too, see big_vlm/trackers.py
      trackers=(),
      # name: dict(type="vqa", data={...}, pp="...", batch_size=.., steps=.., prompt_len=..,
      # max_new_tokens=..), the last two by default text_len; type="my.metrics" is a module of
      # yours, see evaluators/common.py
      evals={},
      # (field, value, why it is so) of values that the config has worked out: printed at the start,
      # but for those that another has replaced.
      defaults=(),
      published={},  # {"eval/metric": score in the model's report}: for the reports beside ours
  ))
  c.update(changes)
  return c


UNITS = ("steps", "examples", "epochs", "fraction")


def durations(name):
  """{name_steps: None, name_examples: None, ...}, of which a config sets at most one."""
  return {f"{name}_{unit}": config_dict.placeholder(float) for unit in UNITS}
