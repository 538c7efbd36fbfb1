"""Puts evaluations side by side: python -m tools.compare workdirs/a/test workdirs/b/test

Each folder is the --workdir of an `evaluators.run` of the same examples. Prints every metric that
all of them have, then examples of each eval to which their answers differ, with the reference;
boxes are in the reports. Then how far each is from the first: the difference of each metric with
its 95 % interval, by the bootstrap over images, and how likely chance gives such a difference.
"""
import itertools
import json
from typing import NamedTuple

from etils import epath

from big_vlm import cli, files
from big_vlm.data import source
from big_vlm.reporting import columns
from evaluators import paired, report, results
from evaluators.predictions import whole_picture
from pp.foreign import parse_json, read_bytes, reading
from pp.printable import printable

MAX_BYTES = 1 << 30  # of a metrics.json or a file of predictions
MOST = 40  # characters of an answer that are shown
PICTURES = 300  # on a page


class Evaluation(NamedTuple):
  folder: epath.Path
  name: str  # the part of the folder that tells it from the others
  metrics: dict  # {"eval/metric": result}
  evals: list  # names
  entries: dict  # of the evals' config, {} of older evaluations


def read_evaluations(folders):
  """[Evaluation]. Raises FileNotFoundError for a folder without one, and ValueError where they have
  no metric in common."""
  folders = [epath.Path(folder) for folder in folders]
  read = [read_metrics(folder) for folder in folders]
  found = [Evaluation(folder, name, told["metrics"], told["evals"], told.get("entries", {}))
           for folder, name, told in zip(folders, short_names(folders), read)]
  if not common_metrics(found):
    raise ValueError("These evaluations have no metric in common: "
                     + "; ".join(f"{e.folder} has {', '.join(e.metrics) or 'none'}" for e in found))
  return found


def common_metrics(evaluations):
  """{"eval/metric": eval} that all of them have."""
  first = evaluations[0]
  of = {key: max((t for t in first.evals if key.startswith(f"{t}/")), key=len, default=None)
        for key in first.metrics if all(key in e.metrics for e in evaluations)}
  return {key: task for key, task in of.items() if task}


def compare(evaluations, predictions, examples=5):
  """The text of the comparison; predictions: see all_predictions()."""
  names = [e.name for e in evaluations]
  lines, tasks = [["metric", *names, "examples"]], common_metrics(evaluations)
  for key, task in tasks.items():
    row = [{**e.metrics[key], "metric": key.removeprefix(f"{task}/")} for e in evaluations]
    lines.append([key, *(results.text(r["value"], r) for r in row),
                  " / ".join(dict.fromkeys(str(r["n"]) for r in row))])
  parts = [columns(lines)]
  for task, rows in predictions.items():
    if found := different(rows)[:examples]:
      parts.append(columns([[task, "reference", *names], *found], left=range(2 + len(names))))
  for other in range(1, len(evaluations)):
    parts.append(difference(evaluations, other, tasks, predictions))
  return "\n\n".join(parts)


def difference(evaluations, other, tasks, predictions):
  """The text of how evaluation `other` is different from the first."""
  first, second = evaluations[0], evaluations[other]
  lines, notes = [["difference", f"{second.name} - {first.name}", "95 % interval", "p", "test"]], []
  for task, rows in predictions.items():
    if not rows:  # such as of a mean over evals
      continue
    keys = [key for key in tasks if tasks[key] == task]
    values = [{key.removeprefix(f"{task}/"): e.metrics[key]["value"] for key in keys}
              for e in (first, second)]
    for d in paired.differences(values, (rows[0], rows[other])):
      said = {**first.metrics[f"{task}/{d.metric}"], "metric": d.metric}
      between = " to ".join(results.text(x, said, "+") for x in d.interval or (None,))
      p = "-" if d.p is None else f"{d.p:.3f}" if d.p >= 0.001 else "< 0.001"
      lines.append([f"{task}/{d.metric}", results.text(d.value, said, "+"), between, p,
                    d.test or "-"])
      if d.why:
        notes.append((f"{task}/{d.metric}", d.why))
    if changed := paired.changed((rows[0], rows[other])):
      better = sum(bool(rows[other][i]["correct"]) for i in changed)
      notes.append((task, f"{better:,} of {len(rows[0]):,} examples are right in {second.name} "
                          f"alone, {len(changed) - better:,} in {first.name} alone"))
  return "\n".join([columns(lines), *(f"{name}: {why}" for name, why in notes)])


def read_metrics(folder):
  path = folder / "metrics.json"
  if not path.exists():
    raise FileNotFoundError(f"{folder} holds no finished evaluation: there is no {path}. "
                            f"{command(folder)}")
  found = parse_json(read_bytes(path, MAX_BYTES), path)
  told = found if isinstance(found, dict) else {}
  metrics, evals, entries = (told.get(key) for key in ("metrics", "evals", "entries"))
  if not (isinstance(metrics, dict) and all(map(_is_result, metrics.values()))
          and isinstance(evals, list) and all(isinstance(e, str) and e for e in evals)
          and isinstance(entries, dict | None)):
    raise ValueError(f"{path} is not the metrics.json of an evaluators.run.")
  return found


def command(folder):
  """How an evaluation is made, of the folder of a training or for one that is empty, in words."""
  trained = (folder / "checkpoints").exists()
  init, out = (folder, folder / "test") if trained else ("CHECKPOINT", folder)
  return (f"Make one: python -m evaluators.run --config CONFIG --init {init} --workdir {out}"
          + f", and give {out}" * trained + ".")


def _is_result(found):
  return (isinstance(found, dict) and found.keys() >= {"value", "n", "percent"}
          and _is_number(found["value"]))


def _is_number(x):
  return x is None or isinstance(x, int | float) and not abs(x) > 1e300  # NaN is one


def _is_prediction(found):
  """Whether a line of predictions has what is compared here and in evaluators/paired.py."""
  kinds = {"_id": str | int, "prediction": str, "prefix": str | None, "suffix": str | None,
           "references": list | None, "counts": dict | None, "pred_boxes": list | None,
           "ref_boxes": list | None}
  if not (isinstance(found, dict) and found.keys() >= {"_id", "prediction"} and all(
      isinstance(found.get(key), kind) for key, kind in kinds.items())):
    return False
  pairs = list((found.get("counts") or {}).values())
  return all(isinstance(x, list) and len(x) == 2 and None not in x for x in pairs) and all(
      map(_is_number, [found.get("score"), found.get("correct"), *itertools.chain(*pairs)]))


def short_names(folders):
  """The last parts of the paths that tell them apart."""
  for count in range(1, max(len(f.parts) for f in folders) + 1):
    names = ["/".join(f.parts[-count:]) for f in folders]
    if len(set(names)) == len(names):
      break
  return names


def all_predictions(evaluations):
  """{eval: read_predictions()} of the evals that all have."""
  return {task: read_predictions(evaluations, task)
          for task in dict.fromkeys(common_metrics(evaluations).values())}


def read_predictions(evaluations, task):
  """[[prediction] of each evaluation], in the order of the first; [] where the eval has none.

  Raises ValueError where they are of different examples.
  """
  paths = [epath.Path(files.inside(e.folder, f"predictions/{task}.jsonl")) for e in evaluations]
  there = [path.exists() for path in paths]
  if not any(there):
    return []
  if not all(there):
    lost = there.index(False)
    raise FileNotFoundError(f"{paths[lost]} is not there, but {paths[there.index(True)]} is. "
                            f"{command(evaluations[lost].folder)}")
  found = []
  for path in paths:
    with reading(path):  # lines of bytes: an answer may have U+2028, where str.splitlines cuts
      rows = [json.loads(line) for line in read_bytes(path, MAX_BYTES).splitlines()]
      if odd := next((n for n, row in enumerate(rows, 1) if not _is_prediction(row)), None):
        raise ValueError(f"{path}, line {odd}, is not a prediction of an evaluators.run.")
      found.append({p["_id"]: p for p in rows})
    if alone := sorted(found[0].keys() ^ found[-1].keys(), key=str):
      raise ValueError(f"These are evaluations of different examples: only one of {paths[0]} and "
                       f"{path} has {alone[0]}. Evaluate both on the same data and --split.")
    asked = lambda p: (p.get("prefix"), reference(p))
    odd = next((key for key, p in found[0].items() if asked(p) != asked(found[-1][key])), None)
    if odd is not None:
      raise ValueError(
          f"These are evaluations of different examples: {odd} has another prompt or reference in "
          f"{paths[0]} than in {path}. Evaluate both on the same data.")
  return [[rows[key] for key in found[0]] for rows in found]


def different(rows):
  """[[prompt, reference, answer of each evaluation]] where the answers differ."""
  found = []
  for some in zip(*rows):
    texts, wanted = [p["prediction"] for p in some], reference(some[0])
    # Boxes as text tell a reader nothing: the reports draw them.
    if len(set(texts)) > 1 and "<loc" not in wanted:
      found.append([printable(str(x).strip(), MOST)
                    for x in (some[0].get("prefix", "-"), wanted, *texts)])
  return found


def reference(p):
  return str(p.get("suffix", (p.get("references") or ["-"])[0]))


def write_page(path, evaluations, predictions, said):
  """Writes an HTML page of the examples that are right in one of two evaluations and wrong in the
  other, with their pictures where the data are still there; returns a line about them.

  predictions: see all_predictions(). said: the text of the comparison.
  """
  first, second = evaluations
  shown, lost = [], []
  for task, rows in predictions.items():
    indices = paired.changed(rows) if rows else []
    examples = open_examples(first.entries.get(task)) if indices else None
    for i in indices:
      before, after = rows[0][i], rows[1][i]
      picture = None
      if len(shown) < PICTURES and examples and (example := examples(i, after["_id"])):
        picture = whole_picture(example, None)
      shown.append({
          "task": task, "id": after.get("id", after["_id"]), "correct": after["correct"],
          "prompt": after.get("prefix", ""), "image": picture,
          "name": second.name, "prediction": after["prediction"],
          "other": {"name": first.name, "prediction": before["prediction"],
                    "boxes": before.get("pred_boxes", [])},
          "references": [reference(after)], "pred_boxes": after.get("pred_boxes", []),
          "ref_boxes": after.get("ref_boxes", []),
          **{key: after[key] for key in ("tokens", "logprobs", "finish_reason") if key in after}})
    if indices and not examples:
      lost.append(task)
  page = report.write_report(
      path, title=f"{second.name} beside {first.name}", predictions=shown,
      subtitle=f"{len(shown):,} examples on which one of the two is right; below, right and wrong, "
               f"lengths and probabilities are those of {second.name}", summary=said,
      details={first.name: first.folder, second.name: second.folder})
  without = f" (without pictures of {', '.join(lost)}: their data are not here)"
  return f"page: {page}{without * bool(lost)}"


def open_examples(entry):
  """A function: (index of a prediction, its "_id") -> example, None for another one; None where the
  data of an eval cannot be opened."""
  try:
    examples = source.get(**entry["data"])
    if entry.get("limit"):
      examples = source.Sample(examples, entry["limit"])
  except Exception:  # moved, not prepared here, or held in memory: the page goes without pictures
    return None

  def example(index, name):
    found = examples[index] if index < len(examples) else {}
    return found if found.get("_id") == name and "image" in found else None
  return example


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("folders", nargs="+", metavar="FOLDER", help="--workdir of an evaluators.run")
  parser.add_argument("--examples", type=int, default=5, help="of each eval (default: 5)")
  parser.add_argument("--html", help="page to write of the examples that changed sides")
  args = parser.parse_args(argv)
  if len(args.folders) < 2:
    parser.error("give two folders or more")
  if args.html and len(args.folders) > 2:
    parser.error("--html is of two folders")
  evaluations = read_evaluations(args.folders)
  predictions = all_predictions(evaluations)
  print(said := compare(evaluations, predictions, args.examples))
  if args.html:
    print(f"\n{write_page(args.html, evaluations, predictions, said)}")


if __name__ == "__main__":
  cli.run(main)
