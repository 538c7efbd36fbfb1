"""What transfers share: arguments, model and optimizer by size and resolution, parts and evals.

  configs/transfers/TASK.py:res=448,size=10b,final_split      arguments of all of them: see parse

Settings are the published best ones: arXiv 2407.07726 (PaliGemma), appendix J, and what big_vision
released; arXiv 2412.03555 (PaliGemma 2), appendices A to D. A file says
  SETTINGS    {res: what transfer() takes}: the resolutions with published settings
  PUBLISHED   table() of the reports' scores, under the names of the metrics that its evals give
Scores by a test server and scores on a validation split are of different evals ("vqav2/test" and
"vqav2/minival"). Scores are in percent, as in the reports; CIDEr is times 100.

What the types of evals take and give, beside the prediction:
  vqa             rule=, to_lower=; "answer" or "answers" -> accuracy; anls, relaxed_accuracy or
                  pair_accuracy by the rules anls, relaxed, mmvp. What rules need besides:
                  evaluators/vqa.py
  caption         language=, lengths=; "captions" -> cider, bleu4, rouge_l; chars, sentences
  counting        "answer", "issimple" -> accuracy, accuracy/simple, accuracy/complex
  detection       confidence=; "objects/bbox", "objects/label", and of the image as it came
                  "height", "width", "objects/area", "objects/is_crowd" -> AP, AP50, ...
  segmentation    vqvae=; "objects/mask", "objects/bbox" -> miou, ciou, boxacc/0.5
  text_spotting   "objects/label", "objects/polygon", "ignored/polygon" -> precision, recall, f1
  tables          "html" -> s_teds, teds, grits_top, grits_con
  sequence_error  "answer" -> cer, ser, ler, in per cent
  perplexity      what the pp string of a training makes, without its random ops -> nll,
                  nll_per_token, perplexity
  store           format=: the file that a test server takes
  mean            evals=, metric=: over other evals
"""
import ast
import types

from configs import common
from pp.names import check_names, pick

TOKENIZER = "gemma(tokensets=('loc', 'seg'))"
VOCABULARY = 256_000 + 1024 + 128

# As PaliGemma 2 was trained, without a window; the final soft-cap is off, which transfers better.
GEMMA2 = dict(vocab_size=VOCABULARY, window=None, final_softcap=None)
MODELS = {  # size: (decoder, the pretrained model at a resolution)
    "pg1": (dict(variant="gemma_2b", vocab_size=VOCABULARY), "google/paligemma-3b-pt-{}"),
    "3b": (dict(variant="gemma2_2b", **GEMMA2), "google/paligemma2-3b-pt-{}"),
    "10b": (dict(variant="gemma2_9b", **GEMMA2), "google/paligemma2-10b-pt-{}"),
    "28b": (dict(variant="gemma2_27b", **GEMMA2), "google/paligemma2-28b-pt-{}"),
}

# PaliGemma 2 took the recipe of PaliGemma at 224 for all resolutions, but for the learning rate,
# which was chosen for each task and size. These are the medians of the best ones over 27 tasks
# (arXiv 2412.03555, table 14).
RATES = {"3b": 3e-6, "10b": 1e-6, "28b": 1e-6}

DEFAULTS = dict(res=224, size="pg1", final_split=False, data_dir=None)


def parse(arg, **defaults):
  """The arguments of a config as a namespace: "res=448,final_split" -> a.res, a.final_split.

  res: pixels. size: a row of MODELS. final_split: train on all that has answers, for scores on a
  server. data_dir: of the data sets; None is TFDS's own. defaults: others, or other values of
  these. A name alone stands for name=True, a value alone for res.
  """
  known = {**DEFAULTS, **defaults}
  given = {}
  for part in filter(None, (arg or "").split(",")):
    name, equals, text = part.partition("=")
    if not equals:
      name, text = (part, "True") if part in known else ("res", part)
    check_names([name], known, "The config")
    given[name] = _value(name, text, known[name])
  return types.SimpleNamespace(**{**known, **given})


def _value(name, text, default):
  """The text as a value of the default's type; None stands for a str."""
  if default is None or isinstance(default, str):
    return text
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    value = None
  if type(value) is not type(default) and not (type(value) is int and type(default) is float):
    raise ValueError(f"The argument {name}={text} of the config is no {type(default).__name__}, "
                     f"as its default {default!r} is.")
  return value


def transfer(a, settings, published, rates=RATES):
  """The config of a transfer for parse()'s arguments, but for its data and evals.

  settings: {res: dict(epochs= or steps= or examples=, lr=, batch_size=, wd=0 or 0.1 (times lr),
    label_smoothing=, dropout=, freeze_img=)}
  rates: {size: learning rate} of PaliGemma 2; None where the settings are its own.
  """
  best = dict(pick(settings, a.res, "resolution with published settings"))
  decoder, name = pick(MODELS, a.size, "size")
  if rates and a.size != "pg1":
    best = dict(settings.get(224, best), lr=rates[a.size])
  c = common.train(tokenizer=TOKENIZER, published=at(published, a.size, a.res))
  c.init.model = name.format(a.res)
  c.model.img = dict(variant="So400m/14", image_size=a.res)
  c.model.llm = dict(decoder, dropout=best.pop("dropout", 0.))
  c.input.batch_size = best.pop("batch_size", 256)
  c.loss.label_smoothing = best.pop("label_smoothing", 0.)
  schedule = ((".*", dict(decay="cosine", warmup_fraction=0.05)),)
  if best.pop("freeze_img", False):
    schedule = (("img/.*", None), *schedule)
  # Of big_vision's transfers the tower's products decay, and nothing of the decoder.
  c.optimizer.update(
      name="adamw", args=dict(b2=0.999), lr=best.pop("lr"), schedule=schedule, clip_norm=1.,
      weight_decay=best.pop("wd", 0.), weight_decay_mults=(("img/.*/kernel", 1.), (".*", 0.)))
  for unit in ("epochs", "steps", "examples"):
    if unit in best:
      c[f"total_{unit}"] = best.pop(unit)
  check_names(best, (), "SETTINGS")
  return c


def table(text):
  """{metric: {size: {res: score}}} of lines "metric score score ..."; "-" is none.

  The first line names the columns: "pg1-224 pg1-448 3b-224 ...".
  """
  head, *lines = [line.split() for line in text.strip().splitlines()]
  scores = {}
  for metric, *row in lines:
    scores[metric] = {}
    for column, score in zip(head, row, strict=True):
      if score != "-":
        size, res = column.split("-")
        scores[metric].setdefault(size, {})[int(res)] = float(score)
  return scores


def at(published, size, res):
  """{metric: score} of a table() for one size and resolution."""
  return {metric: sizes[size][res] for metric, sizes in published.items()
          if res in sizes.get(size, ())}


def image(a, antialias=False, key="image"):
  """pp from the encoded image to the square that the model takes; the aspect ratio is not kept."""
  smooth = ", antialias=True" if antialias else ""
  if key == "image":
    return f"decode|resize({a.res}{smooth})"
  return f"decode(key={key!r})|resize({a.res}{smooth}, key={key!r})"


def video(a, segment=""):
  """pp from an encoded video to a.num_frames frames, every a.stride-th from the start.

  segment: arguments of decode_video that say which part of the video counts.
  """
  rule = ", ".join([f"num_frames={a.num_frames}", f"stride={a.stride}", *filter(None, [segment])])
  return f"decode_video({rule})|resize({a.res})"


def prompt(template):
  """pp that writes the prompt."""
  return f"strfmt({template!r}, outkey='prefix')"


def first(key):
  """pp that takes the first of several answers, "" of none: an evaluation draws none."""
  return (f"setdefault('first', 0)|setdefault({key!r}, '')|"
          f"getidx({key!r}, 'first', outkey='suffix')")


def source(a, name, split):
  return dict(name=name, split=split, data_dir=a.data_dir)


def part(a, data, split, pp, **kw):
  """One source of the training mixture; pp makes image, prefix and suffix. kw: weight, name."""
  pp = f"{pp}|{common.tokens(TOKENIZER, a.text_len, train=True)}"
  return dict(data=source(a, data, split), pp=pp, **kw)


def evaluate(c, a, name, splits, type, pp, keep=(), data=None, prompt_len=None, **kw):
  """Adds evals NAME/ALIAS for splits {alias: split}: decode what pp's image and prefix ask for.

  keep: what the kind `type` scores by, in the example's keys.
  data: the data set, if it is not called `name`.
  prompt_len: tokens of a prompt, by default text_len: less where answers are long.
  kw: arguments of the evaluator; batch_size, fraction (of the training, by default at its end only),
  sampler, max_new_tokens (by default text_len), and those of the kind.
  """
  pp = f"{pp}|{common.tokens(TOKENIZER, prompt_len or a.text_len, False, ('prefix', *keep))}"
  for alias, split in splits.items():
    c.evals[f"{name}/{alias}"] = dict(
        type=type, data=source(a, data or name, split), pp=pp,
        **{"max_new_tokens": a.text_len, "batch_size": 256, **kw})


def perplexity(c, a, name, splits, pp, data=None, fraction=0.05):
  """Adds evals NAME/ALIAS/pplx for splits {alias: split}: how likely pp's suffix is."""
  pp = f"{pp}|{common.tokens(TOKENIZER, a.text_len, train=True)}"
  for alias, split in splits.items():
    c.evals[f"{name}/{alias}/pplx"] = dict(
        type="perplexity", data=source(a, data or name, split), pp=pp,
        batch_size=c.input.batch_size, fraction=fraction)


def mean(c, name, evals, metric):
  """Adds the eval `name`, whose `metric` is the mean of that of others."""
  c.evals[name] = dict(type="mean", evals=tuple(evals), metric=metric)
