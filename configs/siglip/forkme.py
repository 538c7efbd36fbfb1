"""Fine-tune a SigLIP on your own pairs: copy this file, and change what is special about them.

  python -m tools.inspect_batch --config configs/siglip/forkme.py --html batch.html
  python -m tools.plan          --config configs/siglip/forkme.py --device h100
  python -m trainers.train      --config configs/siglip/forkme.py --workdir workdirs/mine
  python -m tools.index         my/photos --model workdirs/mine --out workdirs/index

Arguments, as in configs/siglip/forkme.py:model=siglip2_so400m14_384,data=my/train.jsonl

  data, val    JSONL files, or patterns such as my/*.jsonl, of lines such as {"image": "cat.jpg",
               "text": "a cat on a sofa"}; the text may be a list, of which each visit reads another
               one. val= without a value: no evaluation
  text         the field of the text, if it is not "text"
  data_dir     folder that paths in the lines are relative to, if not that of the file
  model        a released SigLIP, by any name of `python -m big_vlm.presets siglip`
  init         a workdir of trainers.train, or what else big_vlm.from_preset takes, instead
  tokenizer    its file: of SigLIP 1 its spiece.model; SigLIP 2's is Gemma's tokenizer.model, which
               $BIG_VLM_GEMMA_TOKENIZER names
  res          pixels a side, if not those of the model: its position table is resampled
  freeze       img or txt: that tower stays as it is, without gradient and optimizer state
  epochs       times that each pair is seen; or steps, of a batch each

Where no argument says them, the learning rate, the batch and the steps follow from the model and
the data: the training prints them, with the reason. Any field is changed on the command line:
--config.optimizer.lr=3e-5
"""
from big_vlm import presets
from big_vlm.training import defaults
from configs.siglip import common
from pp.names import pick

FROZEN = {"": (), "img": (("img/.*", None),), "txt": (("txt/.*", None),)}
BATCH = defaults.Default(256, "the more texts an image is compared with, the more it learns")


def get_config(arg=None):
  a = common.parse(arg, data="my/train.jsonl", val="my/val.jsonl", init="", freeze="", epochs=0.,
                   steps=0)
  # The model, its initial parameters, and its tokenizer. A text is lower-cased, cut or padded to
  # the length that the text tower takes; the progress says how many were cut.
  c = common.two_towers(a, a.init)
  c.init.model = a.init or a.model

  # Images are decoded, turned upright as their EXIF says, and squashed to the square of the model
  # without antialias, as it was trained and as VLM.embed and tools.index read them. An example
  # without an image or a text is an error that names it.
  c.input.mixture = [dict(data=common.source(a, a.data), pp=common.pp(a, "draw"))]
  c.input.threads = 4  # that read and decode; if the progress line shows data wait: input.workers=8
  c.input.on_error = "raise"  # "skip" leaves broken pairs out and counts them

  # What the arguments leave open; see training/defaults.py.
  size = presets.parameters({"img": dict(c.model.img), "llm": None, "txt": dict(c.model.txt)})
  examples = defaults.examples(c.input.mixture)
  batch = defaults.batch_size(examples, BATCH)  # of all devices together
  duration = ({"total_steps": float(a.steps)} if a.steps else {"total_epochs": a.epochs}
              if a.epochs else defaults.duration(size, examples, batch.value))
  defaults.set_fields(c, {"input.batch_size": batch,
                          "optimizer.lr": defaults.learning_rate(size), **duration})
  c.log_steps = 10
  c.checkpoint_fraction = 0.25  # four checkpoints in all, of which the last two are kept
  # From 0 up over the first twentieth of the steps, then along a cosine to 0; None freezes. What
  # is pretrained does not decay (arXiv 2303.15343, section 4.5).
  c.optimizer.weight_decay = 0.
  c.optimizer.schedule = (*pick(FROZEN, a.freeze, "part to freeze"),
                          (".*", dict(decay="cosine", warmup_fraction=0.05)))
  # If it does not fit: --config.grad_accum_steps=4, which compares with the whole batch all the
  # same and takes a third more time.

  # Ten times during the training: the loss on val, drawn over that of the training. Where it rises
  # again the model learns by heart; --config.best.metric=val/loss --config.best.mode=min keeps the
  # best checkpoint, which workdirs/mine@best opens.
  if a.val:
    c.evals.val = common.loss(c, common.source(a, a.val), common.pp(a, "first"), fraction=0.1)
  return c
