"""Few-shot linear probe: how well the tower's vectors tell classes apart after a few examples.

As big_vision's fewshot_lsr: the pooled vectors, not of length 1; for each of the seeds so many
images of each class are drawn from `train`; ridge regression in closed form. Only images that some
seed draws are embedded.
"""
import math

import numpy as np

from big_vlm.data import source
from evaluators.metrics import groups, least_squares
from evaluators.predictions import MissingKey, require_keys
from pp.names import near_miss

PERCENT = ("accuracy",)
TOWERS = 1
UNIT = False


def check(train, label="label", shots=(1, 5, 10, 25), seeds=3, l2=(2.**10,)):
  source.get(**train)  # data that are not there show now
  positive = lambda x: isinstance(x, (int, float)) and not isinstance(x, bool) and x > 0
  for name, given, kinds in (("shots", shots, int), ("l2", l2, (int, float))):
    if not isinstance(given, (list, tuple)) or not given or len(set(given)) < len(given) or not all(
        positive(x) and isinstance(x, kinds) and math.isfinite(x) for x in given):
      raise ValueError(f"{name}={given!r} is not a list of different numbers above 0.")
  if not isinstance(seeds, int) or seeds < 1:
    raise ValueError(f"seeds={seeds!r} is not a number of draws, 1 or more.")


def begin(vectors, options):
  """{"classes": [label], in ascending order; "numbers": [class number of each train example];
  "data"}."""
  examples = source.get(**options.train)
  labels = [of_example(examples[i], options.label) for i in range(len(examples))]
  if len({type(x) for x in labels}) > 1 or len(set(labels)) < 2:
    raise ValueError(f"The eval {vectors.name!r} needs two classes or more, all numbers or all "
                     f"texts; those of its train data are {sorted(set(labels), key=str)[:5]}.")
  classes, numbers = np.unique(labels, return_inverse=True)
  return {"classes": classes.tolist(), "numbers": numbers.tolist(),
          "data": examples.fingerprint()}


def prepare(vectors, options, known):
  """({"10shot": [Probe of each seed]}, l2)."""
  numbers, count = np.array(known["numbers"]), len(known["classes"])
  if (short := int((np.bincount(numbers) < (most := max(options.shots))).sum())):
    print(f"{vectors.name}: {short} of {count} classes have fewer than {most} examples in train: "
          "all of theirs are taken", flush=True)
  drawn = {shots: [least_squares.shots(numbers, shots, seed) for seed in range(options.seeds)]
           for shots in options.shots}
  used = np.unique(np.concatenate([at for each in drawn.values() for at in each]))
  found = vectors.of_examples(source.Some(source.get(**options.train), used))
  fit = lambda at: least_squares.Probe(found[np.searchsorted(used, at)], numbers[at], count)
  return {f"{shots}shot": list(map(fit, each)) for shots, each in drawn.items()}, options.l2


def of_example(p, label):
  """The label of an example, an int or a text."""
  found = p.get(label)
  if isinstance(found, np.generic) or getattr(found, "ndim", 1) == 0:
    found = found.item()
  if isinstance(found, bytes):
    found = found.decode()
  if isinstance(found, bool) or not isinstance(found, (int, str)):
    where = p.get("id", p.get("_id"))
    raise MissingKey(f"The evaluator 'few_shot' needs one label, a number or a text, and the "
                     f"example {where!r} has {found!r:.60} under {label!r}; it has "
                     f"{', '.join(map(str, p))}. Name it by label=, and have the eval's pp string "
                     "keep it.")
  return found


def compare(found, prepared):
  (probes, strengths), said = prepared, {}
  for shots, each in probes.items():
    for l2 in strengths:
      name = shots if len(strengths) == 1 else f"{shots}_l2={l2:g}"
      said[name] = np.stack([probe.predict(found, l2) for probe in each], axis=1).tolist()
  return [{"classes_said": {name: rows[i] for name, rows in said.items()}}
          for i in range(len(found))]


def check_example(p, known, options):
  """Adds the number of an example's "class". Raises ValueError for a class without train data."""
  label, classes = of_example(p, options.label), known["classes"]
  if label not in classes:
    near = near_miss(label, classes) if isinstance(label, str) else ""
    raise ValueError(f"The example {p.get('id')!r} has the label {label!r}, a class without "
                     f"examples among the train data of the evaluator 'few_shot'.{near}")
  p["references"], p["class"] = [str(label)], classes.index(label)


def finish(predictions, known):
  for p in predictions:
    last = list(p["classes_said"].values())[-1]
    p["prediction"] = str(known["classes"][last[0]])


def score(predictions, tokenizer, train, label="label", shots=(1, 5, 10, 25), seeds=3,
          l2=(2.**10,)):
  """{"accuracy/10shot": ...} for each of `shots`, means over the seeds.

  train: the data that shots are drawn from, as a config's `data`; they go through the eval's pp.
  label: the key of an example's class, a number or a text. l2: of several, each has its metric,
  "accuracy/10shot_l2=64"; choose among them on other data than those that you report.
  """
  del tokenizer, train, label, shots, seeds, l2
  require_keys(predictions, ["classes_said", "class"], "few_shot")
  for p in predictions:
    p["counts"] = {f"accuracy/{name}": [said.count(p["class"]), len(said)]
                   for name, said in p["classes_said"].items()}
    hits, tries = list(p["counts"].values())[-1]
    p["score"], p["correct"] = hits / tries, None if 0 < hits < tries else hits > 0
  return {name: groups.ratio(p["counts"][name] for p in predictions)
          for name in predictions[0]["counts"]}
