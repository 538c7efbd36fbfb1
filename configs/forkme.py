"""Fine-tune on your own JSONL: copy this file, and change what is special about your task.

  python -m tools.validate_jsonl my/train.jsonl --check_overlap my/val.jsonl --html sheet.html
  python -m tools.inspect_batch --config configs/forkme.py --html batch.html
  python -m tools.plan          --config configs/forkme.py --device h100
  python -m trainers.train      --config configs/forkme.py --workdir workdirs/mine

Arguments, as in configs/forkme.py:res=448,model=paligemma2_3b,data=my/train.jsonl,lora=16

  data, val    JSONL files, or patterns such as my/*.jsonl; Parquet files, a folder of Hugging Face
               `datasets`, WebDataset tars; val= without a value: no evaluation. a.jsonl+b.jsonl
               are several tasks, of which each is seen as often; val and task then have as many
               parts (task: or one for all), and each task has evals of its own
  prompt       asked of every example, in the place of its prefix: answer en {question}
  image, prefix, suffix
               names of the fields in Parquet, `datasets` and WebDataset: suffix=answers/0
  train_on_val train on val too, and evaluate nothing
  data_dir     folder that paths in the lines are relative to, if not that of the file
  task         answer: right or wrong; classify: accuracy, also balanced, and a confusion matrix;
               labels: F1 of "cat, dog"; number: how far off; caption: CIDEr; detect: average
               precision
  model        paligemma_3b (if nothing else is said), paligemma2_3b, _10b or _28b
  res          224, 448 or 896 pixels
  decoder      gemma3_270m, gemma3_1b, ...: a new PaliGemma of SigLIP and this decoder, with a
               randomly initialized projector; give its tokenizer.model too
  init         digits, a workdir of trainers.train, or what else big_vlm.from_preset takes, instead
               of a released model; brings its tokenizer. A text-only one learns from lines without
               images
  tokenizer    Gemma's tokenizer.model, unless $BIG_VLM_GEMMA_TOKENIZER names it
  epochs       times that each example is seen; or steps, of a batch each
  text_len     tokens of prompt and answer
  freeze       vit or llm: that part stays as it is
  lora         rank of adapters, which alone train then: fits a smaller machine

Where no argument says them, the learning rate, the batch, the steps and text_len follow from the
model and the data: the training prints them, with the reason. Any field is changed on the command
line: --config.optimizer.lr=3e-5
"""
import functools
import pathlib

from big_vlm import presets
from big_vlm.checkpoints import load, uris
from big_vlm.data import source
from big_vlm.families import paligemma
from big_vlm.training import defaults, text_lengths
from configs import common
from configs.transfers import common as transfers
from pp.names import pick

# task: (evaluator type, fields of a line that it needs)
TASKS = {"answer": ("exact_match", ()), "caption": ("caption", ()),
         "classify": ("classification", ()), "labels": ("label_list", ()),
         "number": ("numbers", ()), "json": ("json", ()),
         "detect": ("detection", ("objects/bbox", "objects/label"))}
FROZEN = {"": (), "vit": (("img/.*", None),), "llm": (("llm/.*", None),)}

RELEASED = "paligemma_3b"
SIGLIP = "google/siglip-so400m-patch14-224"
GEMMA3_VOCABULARY = 262_144 + 1024 + 128  # its pieces, then <loc> and <seg>


def get_config(arg=None):
  a = transfers.parse(arg, res=0, model="", data="my/train.jsonl", val="my/val.jsonl",
                      task="answer", init="", decoder="", tokenizer="", epochs=0., steps=0,
                      text_len=0, freeze="", lora=0, prompt="", image="", prefix="", suffix="")
  for name in ("res", "epochs", "steps", "text_len", "lora"):
    if getattr(a, name) < 0:
      raise ValueError(f"{name}={getattr(a, name)} is below 0.")
  given = [f"{n}={getattr(a, n)}" for n in ("model", "init", "decoder") if getattr(a, n)]
  if len(given) > 1:
    raise ValueError(f"{' and '.join(given)}: each says which model begins. Give one of them.")
  # The defaults of a run; configs/common.py lists all fields.
  c = common.train()

  # The model, its initial parameters, and its tokenizer.
  released = not (a.init or a.decoder)
  if a.init:
    c.model.img, c.model.llm, c.tokenizer = model_of(a.init)
    c.init.model = a.init
    if a.res:  # its position table is resampled
      if not c.model.img:
        raise ValueError(f"res={a.res}, but init={a.init} is a text-only model: leave res out.")
      c.model.img.image_size = a.res
  elif a.decoder:
    if not a.tokenizer:
      raise ValueError(f"decoder={a.decoder} needs tokenizer=PATH, its tokenizer.model: that of "
                       "PaliGemma has other ids.")
    c.model.img = dict(variant="So400m/14", image_size=a.res or defaults.RESOLUTION.value)
    c.model.llm = dict(variant=a.decoder, vocab_size=GEMMA3_VOCABULARY)
    c.init.img, c.init.llm = SIGLIP, a.decoder  # or what big_vlm.from_preset takes
  else:
    decoder, name = pick(transfers.MODELS, a.model or RELEASED, "model")
    c.model.img = dict(variant="So400m/14", image_size=a.res or defaults.RESOLUTION.value)
    c.model.llm = dict(decoder)
    c.init.model = name.format(c.model.img.image_size)  # or any source of big_vlm.from_preset
    c.tokenizer = transfers.TOKENIZER
  if a.tokenizer:
    c.tokenizer = f"sp({a.tokenizer!r}, tokensets=('loc', 'seg'))"

  # Image: decoded, turned upright as its EXIF says, and squashed to the square of
  # model.img.image_size, as the released models were trained. "images" of a line become several
  # images of one example, all of this size. A "video" needs decode_video(num_frames=16) in the
  # place of decode.
  # Text: prefix and suffix of a line as they are. Longer ones are cut at text_len. To write them
  # from other fields, put for example strfmt('answer en {question}', outkey='prefix') before
  # text_layout, as prompt= does; to write them from boxes, detect(order='random').
  prompt = f"strfmt({a.prompt!r}, outkey='prefix')|" if a.prompt else ""
  pp = f"flatten|decode(exif=True)|resize(antialias=True)|{prompt}text_layout"
  if not c.model.img:
    pp = f"flatten|{prompt}text_layout"
  # Where the data lie. allow=("urls",) downloads images that lines of a JSONL name by URL;
  # stop=1000 takes the first thousand, filter=(("lang", "==", "de"),) some: big_vlm/data/source.py.
  data, vals, tasks = parts(a)
  of = functools.partial(data_of, root=a.data_dir, image=a.image, prefix=a.prefix, suffix=a.suffix)
  # Several tasks are mixed by weight: one of 2. is seen twice as often as one of 1., of 0 never.
  c.input.mixture = [dict(data=of(path, *val * a.train_on_val), pp=pp, weight=1.)
                     for path, val in zip(data, [[v] for v in vals] or [[]] * len(data))]
  c.input.threads = 4  # that read and decode; if the progress line shows data wait: input.workers=8
  c.input.on_error = "raise"  # "skip" leaves broken images out and counts them

  # What the arguments leave open: a large model needs a low learning rate and fewer steps, LoRA a
  # higher rate, and a row of text holds the longest of data and val. See training/defaults.py.
  size = presets.parameters({"img": dict(c.model.img) or None, "llm": dict(c.model.llm)})
  examples = defaults.examples(c.input.mixture)
  rate = defaults.learning_rate(size, adapters=bool(a.lora))
  if released and not a.lora and a.model in transfers.RATES:
    rate = defaults.Default(transfers.RATES[a.model], "the median of the best over 27 tasks")
  duration = ({"total_steps": float(a.steps)} if a.steps else {"total_epochs": a.epochs}
              if a.epochs else defaults.duration(size, examples))
  resolution = {} if a.init or a.res else {"model.img.image_size": defaults.RESOLUTION}
  defaults.set_fields(c, {
      "text_len": a.text_len or text_lengths.default(
          list(map(of, data + vals)), c.tokenizer, bool(c.model.img), prompt),
      "input.batch_size": defaults.batch_size(examples),  # of all devices together
      "optimizer.lr": rate, **resolution, **duration})
  c.log_steps = 10
  c.checkpoint_fraction = 0.25  # four checkpoints in all, of which the last two are kept
  # From 0 up over the first twentieth of the steps, then along a cosine to 0; None freezes.
  c.optimizer.schedule = (*pick(FROZEN, a.freeze, "part to freeze"),
                          (".*", dict(decay="cosine", warmup_fraction=0.05)))
  c.lora.rank = a.lora  # --config.quantize=int8: QLoRA, a quarter of the weights' memory

  # Ten evaluations during the training: the model answers the prompts of val, of which it sees
  # prefix and image only, and answers as tools.predict does, those to "detect" and "segment" well
  # formed. The evaluator gets the keys that text_layout keeps. The loss on val, over that of the
  # training in training.png, says when the model begins to learn by heart.
  for path, (kind, fields) in zip(vals, tasks) if not a.train_on_val else ():
    name = "val" if len(vals) == 1 else f"val/{pathlib.Path(path).stem}"
    keep = ("id", "prefix", "suffix", *fields)
    often = dict(data=of(path), batch_size=32, fraction=0.1)
    c.evals[name] = dict(type=kind, pp=f"{pp}(keep={keep})", grammar="auto", **often)
    c.evals[f"{name}/loss"] = dict(type="perplexity", pp=pp, **often)
  return c


def data_of(*paths, root=None, **names):
  """The `data` of files of one kind; root: of JSONL; names: of fields of the others."""
  data = source.of_paths(paths, **names)
  return data | (dict(root=root or None) if data["name"] == "jsonl" else {})


def parts(a):
  """([path of the data], [path of val], [row of TASKS]) of the tasks; val may be empty."""
  data, vals, tasks = (text.split("+") if text else [] for text in (a.data, a.val, a.task))
  tasks = [pick(TASKS, task, "task") for task in tasks]
  tasks *= len(data) if len(tasks) == 1 else 1
  if len(tasks) != len(data) or len(vals) not in (0, len(data)):
    raise ValueError(f"data={a.data} has {len(data)} parts, val={a.val} {len(vals)}, task={a.task} "
                     f"{len(tasks)}: give each task its data, its val (or no val at all) and its "
                     "task, joined with +.")
  if len({pathlib.Path(path).stem for path in vals}) < len(vals):
    raise ValueError(f"val={a.val}: the evals are called after these files, so that their names "
                     "must differ.")
  return data, vals, tasks


def model_of(source):
  """(image tower, decoder, tokenizer) of what big_vlm.from_preset takes: a workdir, a preset."""
  opened = load.open_source(uris.fetch(presets.uri(source)))
  model = paligemma.to_dict(opened.config)
  if not model["llm"] or not opened.tokenizer:
    lacks = "tokenizer" if model["llm"] else "decoder"
    raise ValueError(f"init={source} has no {lacks}, so it cannot learn to answer.")
  return model["img"] or {}, model["llm"], opened.tokenizer
