"""Zero-shot classification: the class whose prompts' mean vector is nearest to the image's.

As big_vision's discriminative_classifier: names and templates are canonical (lower-case, without
punctuation); of a name with aliases, "tench, Tinca tinca", the first is used; the vectors of a
class's prompts are averaged, and made of length 1 again. An image may have several labels, any of
which is right; those of -1 are none, and an image without labels does not count.
"""
import pathlib

import numpy as np

from big_vlm import embedding
from evaluators.metrics import groups
from evaluators.predictions import MissingKey, require_keys
from evaluators.prompts import TEMPLATES
from pp.canonical import canonical
from pp.foreign import read_bytes
from pp.names import near_miss, pick

PERCENT = ("accuracy", "top5_accuracy", "class_accuracy")
TOWERS = 2
SHOWN = 5
MAX_BYTES = 16 << 20  # of a file of names
UNDEFINED = dict.fromkeys(PERCENT, "no image has a label")


def check(class_names=None, templates="clip_paper", label="label", same_names="error"):
  pick(dict.fromkeys(("error", "first")), same_names, "same_names")
  prompts_of(["cat"] if class_names is None else read_names(class_names), templates, same_names)


def begin(vectors, options):
  """The names of the classes."""
  given = options.class_names
  return read_names(given) if given else vectors.class_names(options.label)


def prepare(vectors, options, known):
  """(names [L], vectors float32 [L, D])."""
  prompts = prompts_of(known, options.templates, options.same_names)
  found = vectors.of_texts([text for row in prompts for text in row], "as_is")
  return known, embedding.label_vectors(found, len(known))


def read_names(given):
  """[name] of a list, or of a file with one on each line."""
  if not isinstance(given, str):
    return embedding.strings(given, "class_names")
  path = pathlib.Path(given)
  if not path.is_file():
    raise FileNotFoundError(f"class_names={given!r} is no file: give one with a name on each line, "
                            "in the order of the labels' numbers, or a list of names.")
  try:
    text = read_bytes(path, MAX_BYTES).decode("utf-8-sig")
  except UnicodeDecodeError as e:
    raise ValueError(f"class_names={given!r} is not UTF-8 ({e}): save it as UTF-8.") from None
  names = [line.strip() for line in text.rstrip().split("\n")]  # a name may have U+2028
  if "" in names and text.strip():
    raise ValueError(f"class_names={given!r}: line {names.index('') + 1} is blank. Is a name "
                     "lost? The line says a class's number: remove it if there is none.")
  return embedding.strings([name for name in names if name], f"names in {given}")


def prompts_of(names, templates, same_names):
  """[[prompt of each template] of each class]. Raises ValueError for a name that is there twice,
  unless same_names="first": the first class of that name is then the answer for all."""
  if isinstance(templates, str) and "{}" not in templates:
    templates = pick(TEMPLATES, templates, "set of templates")
  firsts = [name.split(",")[0] for name in names]
  if same_names == "error":
    return embedding.prompts(firsts, templates)
  once = {canonical(name): name for name in firsts}
  return [row for name in firsts for row in embedding.prompts([once[canonical(name)]], templates)]


def compare(found, prepared):
  names, of_classes = prepared
  cosines = found @ of_classes.T
  best = np.argsort(-cosines, axis=1, kind="stable")[:, :SHOWN]
  near = np.take_along_axis(cosines, best, axis=1)
  return [{"prediction": names[top[0]], "top": top,
           "cosines": [round(c, 5) for c in row]} for top, row in zip(best.tolist(), near.tolist())]


def check_example(p, known, options):
  """Makes "labels" the numbers of an example's classes. Raises ValueError for a label that is no
  class."""
  label = options.label
  if p.get(label) is None:
    raise MissingKey(f"The evaluator 'zero_shot_classification' needs a label, and the example "
                     f"{p.get('id')!r} has no {label!r}; it has {', '.join(map(str, p))}. Name it "
                     "by label=, and have the eval's pp string keep it: keep('image', 'label').")
  given = p[label]
  given = given if isinstance(given, list) else [given]
  p["labels"] = [number(x, known, p) for x in given if x != -1]
  p["references"] = [known[n] for n in p["labels"]]


def number(given, names, p):
  """The number of a label, which is a number or a class's name as it was given."""
  if isinstance(given, str) and given in names:
    return names.index(given)
  if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < len(names):
    return given
  near = near_miss(given, names) if isinstance(given, str) else ""
  raise ValueError(f"The example {p.get('id')!r} has the label {given!r:.80}, which is none of the "
                   f"{len(names)} classes.{near} Labels are names in class_names, or their numbers "
                   "from 0 on.")


def finish(predictions, known):
  """Adds "nearest_texts" [[name, cosine, right]]."""
  for p in predictions:
    p["nearest_texts"] = [[known[n], c, n in p["labels"]]
                          for n, c in zip(p["top"], p["cosines"])]


def score(predictions, tokenizer, class_names=None, templates="clip_paper", label="label",
          same_names="error"):
  """{"accuracy", "top5_accuracy", "class_accuracy"}, the last the mean over the classes there are.

  class_names: the classes, by number, or a file with one on each line; None: those of the data set.
  templates: "clip_paper" (81 prompts), "clip_best" (8), "class_name_only", or a list of texts with
  "{}". label: the key of an example's class. same_names="first" accepts a name that two classes
  have, as OpenAI's list of ImageNet does ("missile", "sunglasses").
  """
  del tokenizer, class_names, templates, label, same_names
  require_keys(predictions, ["top", "labels"], "zero_shot_classification")
  counted = [p for p in predictions if p["labels"]]
  for p in predictions:
    p.update(score=None, correct=None)
  for p in counted:
    p["correct"] = p["top"][0] in p["labels"]
    p["score"], p["group"] = float(p["correct"]), p["references"][0]
    p["counts"] = {"top5_accuracy": [int(bool(set(p["top"]) & set(p["labels"]))), 1]}
  if not counted:
    return dict.fromkeys(PERCENT, float("nan"))
  by_class = {}
  for p in counted:
    by_class.setdefault(p["group"], []).append(p["score"])
  return {"accuracy": groups.mean(p["score"] for p in counted),
          "top5_accuracy": groups.mean(p["counts"]["top5_accuracy"][0] for p in counted),
          "class_accuracy": groups.mean(map(groups.mean, by_class.values()))}
