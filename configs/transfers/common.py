"""Transfers share arguments, model and optimizer by resolution, mixture components and evals.

  configs/transfers/TASK.py:res=448,model=paligemma2_10b,train_on_val      arguments: see parse

Settings are the published best ones: arXiv 2407.07726 (PaliGemma), appendix J, and what big_vision
released; arXiv 2412.03555 (PaliGemma 2), appendices A to D. A file says
  SETTINGS    {res: what transfer() takes}: the resolutions with published settings
  PUBLISHED   table() of the reports' scores, under the names of the metrics that its evals give
Scores by a test server and scores on a validation split are of different evals ("vqav2/test" and
"vqav2/minival"). Scores are in percent, as in the reports; CIDEr is times 100.

Arguments of the evaluator types; keys of the example that they need -> metrics:
  vqa             metric=, to_lower=; "answer" or "answers" -> accuracy; anls, relaxed_accuracy or
                  pair_accuracy by the metrics anls, relaxed, mmvp. evaluators/vqa.py says which
                  other keys a metric needs
  caption         language=, lengths=; "captions" -> cider, bleu4, rouge_l; chars, sentences
  counting        "answer", "issimple" -> accuracy, accuracy/simple, accuracy/complex
  detection       confidence=; "objects/bbox", "objects/label", and of the image as it came
                  "height", "width", "objects/area", "objects/is_crowd" -> AP, AP50, ...
  segmentation    vqvae=; "objects/mask", "objects/bbox" -> miou, ciou, boxacc/0.5
  text_spotting   "objects/label", "objects/polygon", "ignored/polygon" -> precision, recall, f1
  tables          "html" -> s_teds, teds, grits_top, grits_con
  sequence_error  "answer" -> cer, ser, ler, in per cent
  perplexity      the rows of a training, without random ops -> nll, nll_per_token, perplexity
  submission      format=: the file that a test server takes
  mean            evals=, metric=: over other evals
"""
import ast
import math
import types

from configs import common
from pp.names import check_names, new_name, pick

TOKENIZER = "gemma(tokensets=('loc', 'seg'))"
VOCABULARY = 256_000 + 1024 + 128

# As PaliGemma 2 was trained, without a window; the final soft-cap is off, which transfers better.
GEMMA2 = dict(vocab_size=VOCABULARY, window=None, final_softcap=None)
MODELS = {  # model: (decoder, the pretrained checkpoint at a resolution)
    "paligemma_3b": (dict(variant="gemma_2b", vocab_size=VOCABULARY), "google/paligemma-3b-pt-{}"),
    "paligemma2_3b": (dict(variant="gemma2_2b", **GEMMA2), "google/paligemma2-3b-pt-{}"),
    "paligemma2_10b": (dict(variant="gemma2_9b", **GEMMA2), "google/paligemma2-10b-pt-{}"),
    "paligemma2_28b": (dict(variant="gemma2_27b", **GEMMA2), "google/paligemma2-28b-pt-{}"),
}

# PaliGemma 2 took the recipe of PaliGemma at 224 for all resolutions, but for the learning rate,
# which was chosen for each task and model. These are the medians of the best ones over 27 tasks
# (arXiv 2412.03555, table 14).
RATES = {"paligemma2_3b": 3e-6, "paligemma2_10b": 1e-6, "paligemma2_28b": 1e-6}

BOX_TOKENS = 7  # of an object in an answer: four locations, a label of two tokens at most, the " ;"

DEFAULTS = dict(res=224, model="paligemma_3b", train_on_val=False, data_dir=None, text_len=32)


def parse(arg, **defaults):
  """The arguments of a config as a namespace: "res=448,train_on_val" -> a.res, a.train_on_val.

  res: pixels. model: a row of MODELS. text_len: tokens of prompt and answer. train_on_val: train on
  the validation split too, for scores of a test server. data_dir: of the data sets; None is TFDS's
  own. defaults: others, or other values of these. A name alone stands for name=True, a value alone
  for res.
  """
  return arguments(arg, {**DEFAULTS, **defaults})


def arguments(arg, known):
  """As parse(), of a config that takes the arguments {name: default} and no others."""
  given = {}
  for part in filter(None, (arg or "").split(",")):
    name, equals, text = part.partition("=")
    if not equals:
      name, text = (part, "True") if part in known or new_name(part, known) else ("res", part)
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
    kind = {int: "an int", float: "a float", bool: "a bool"}[type(default)]
    raise ValueError(f"The argument {name}={text} of the config is not {kind} "
                     f"as its default, {default!r}.")
  return value


def transfer(a, settings, published, rates=RATES):
  """The config of a transfer for parse()'s arguments, but for its data and evals.

  settings: {res: dict(epochs= or steps= or examples=, lr=, batch_size=, wd=0 or 0.1 (times lr),
    label_smoothing=, dropout=, freeze_img=)}
  rates: {model: learning rate} of PaliGemma 2; None where the settings are its own.
  """
  best = dict(pick(settings, a.res, "resolution with published settings"))
  decoder, name = pick(MODELS, a.model, "model")
  if rates and a.model in rates:
    best = dict(settings.get(224, best), lr=rates[a.model])
  c = common.train(tokenizer=TOKENIZER, text_len=a.text_len,
                   published=at(published, a.model, a.res))
  c.init.model = name.format(a.res)
  c.model.img = dict(variant="So400m/14", image_size=a.res)
  c.model.llm = dict(decoder, dropout=best.pop("dropout", 0.))
  c.input.batch_size = best.pop("batch_size", 256)
  c.loss.label_smoothing = best.pop("label_smoothing", 0.)
  schedule = ((".*", dict(decay="cosine", warmup_fraction=0.05)),)
  if best.pop("freeze_img", False):
    schedule = (("img/.*", None), *schedule)
  # In big_vision's transfers the kernels of the image tower decay, and nothing of the decoder.
  c.optimizer.update(
      name="adamw", args=dict(b2=0.999), lr=best.pop("lr"), schedule=schedule, clip_norm=1.,
      weight_decay=best.pop("wd", 0.), weight_decay_mults=(("img/.*/kernel", 1.), (".*", 0.)))
  for unit in ("epochs", "steps", "examples"):
    if unit in best:
      c[f"total_{unit}"] = best.pop(unit)
  check_names(best, (), "SETTINGS")
  return c


def table(text):
  """{metric: {model: {res: score}}} of lines "metric score score ..."; "-" stands for no score.

  The first line names the models, the second the resolutions of each, in ascending order.
  """
  models, columns, *lines = [line.split() for line in text.strip().splitlines()]
  columns = list(map(int, columns))
  starts = [i for i, res in enumerate(columns) if not i or res <= columns[i - 1]]
  models = [m for m, i, j in zip(models, starts, [*starts[1:], len(columns)], strict=True)
            for _ in range(i, j)]
  scores = {}
  for metric, *row in lines:
    scores[metric] = {}
    for model, res, score in zip(models, columns, row, strict=True):
      if score != "-":
        scores[metric].setdefault(model, {})[res] = float(score)
  return scores


def at(published, model, res):
  """{metric: score} of a table() for one model and resolution."""
  return {metric: models[model][res] for metric, models in published.items()
          if res in models.get(model, ())}


def video(a, segment=""):
  """pp from an encoded video to a.num_frames frames, every a.stride-th from the start.

  segment: arguments of decode_video that select a part of the video.
  """
  frames = [f"num_frames={a.num_frames}", f"stride={a.stride}", *filter(None, [segment])]
  return f"decode_video({', '.join(frames)})|resize"


def prompt(template):
  """pp that writes the prompt."""
  return f"strfmt({template!r}, outkey='prefix')"


def in_turn(key):
  """pp that takes another of several answers at each visit, and all before any again."""
  return f"choice_no_replacement(inkey={key!r}, outkey='suffix')"


def first(key):
  """pp that takes the first of several answers, "" of none: an evaluation draws none."""
  return (f"setdefault('first', 0)|setdefault({key!r}, '')|"
          f"getidx({key!r}, 'first', outkey='suffix')")


def source(a, name, split):
  return dict(name=name, split=split, data_dir=a.data_dir)


def component(a, data, split, pp, **kw):
  """A component of the training mixture; pp makes image, prefix and suffix. kw: weight, name."""
  return dict(data=source(a, data, split), pp=f"{pp}|text_layout", **kw)


def evaluate(c, a, name, splits, type, pp, keep=(), data=None, **kw):
  """Adds evals NAME/ALIAS for splits {alias: split}: the model answers pp's image and prefix.

  keep: keys of the example by which the evaluator type `type` scores.
  data: the data set, if it is not called `name`.
  kw: arguments of the evaluator: batch_size, fraction (of the steps, by default at their end),
  sampler, prompt_len and max_new_tokens (by default config.text_len), and those of its type.
  """
  for alias, split in splits.items():
    c.evals[f"{name}/{alias}"] = dict(
        type=type, data=source(a, data or name, split),
        pp=f"{pp}|text_layout(keep={('prefix', *keep)})", **{"batch_size": 256, **kw})


def perplexity(c, a, name, splits, pp, data=None, fraction=0.05):
  """Adds evals NAME/ALIAS/pplx for splits {alias: split}: how likely pp's suffix is."""
  for alias, split in splits.items():
    c.evals[f"{name}/{alias}/pplx"] = dict(
        type="perplexity", data=source(a, data or name, split), pp=f"{pp}|text_layout",
        batch_size=c.input.batch_size, fraction=fraction)


def video_task(c, a, name, data, type, prompt, answer, keep, fixed_answer=None, **kw):
  """The mixture of a video task and its evals, NAME/ALIAS and NAME/ALIAS/pplx.

  answer: pp that writes the suffix; fixed_answer: the same for evals, where it draws none.
  """
  train = "train+valid" if a.train_on_val else "train"
  c.input.mixture = [component(a, data, train, f"{prompt}|{answer}")]
  often = {"minitrain": "train[:5%]", "minival": "valid[:25%]"}
  splits = {**often, "val": "valid", "test": "test"}
  for (alias, split), fraction in zip(splits.items(), (1/8, 1/4, None, None)):
    evaluate(c, a, name, {alias: split}, type, prompt, keep, data, batch_size=128,
             fraction=fraction, **kw)
  perplexity(c, a, name, often, f"{prompt}|{fixed_answer or answer}", data, fraction=1/8)


def detection(c, a, name, splits):
  """The mixture of a task with the boxes of all classes, and its evals, NAME/ALIAS and
  NAME/ALIAS/pplx, for splits {alias: split}.

  a.noise: a label of one token, "noise", to fill answers with boxes where nothing is, as the
  reports do: their locations are not learnt, and the eval that decodes forbids the label and the
  end.
  """
  image = "flatten|decode|resize(antialias=True)"
  detect = "detect(order='{}', prompt='detect all classes'{})".format
  filled, layout, forbidden = "", "text_layout", {}
  if a.noise:
    filled = f", tokens_each={BOX_TOKENS}, noise={a.noise!r}"
    layout = f"text_layout(noise={a.noise!r})"
    forbidden = {"logit_bias": {f" {a.noise}": -math.inf, "<eos>": -math.inf}}
  c.input.mixture = [dict(data=source(a, name, "train"),
                          pp=f"{image}|{detect('random', filled)}|{layout}")]
  evaluate(c, a, name, splits, "detection", f"{image}|{prompt('detect all classes')}",
           keep=("objects/bbox", "objects/label", "objects/area", "objects/is_crowd", "height",
                 "width", "image/id"),
           confidence="label", prompt_len=16, batch_size=64, fraction=0.1, **forbidden)
  perplexity(c, a, name, splits, f"{image}|{detect('raster', '')}")


def mean(c, name, evals, metric):
  """Adds the eval `name`, whose `metric` is the mean of that of others."""
  c.evals[name] = dict(type="mean", evals=tuple(evals), metric=metric)
