"""Evaluates a checkpoint: python -m evaluators.run --config C --init W --workdir OUT

  OUT/metrics.json       figures with intervals and published scores, and what made them
  OUT/report.html        the same to look at, with the examples behind
  OUT/predictions/       NAME.jsonl, a row for each example
  OUT/submissions/       NAME.json of the evals of kind "store", as their test server takes it

The same command after a kill goes on: rows that are finished are in NAME.partial.jsonl until all
evals are through, and are taken from there for the same checkpoint and config.
"""
import fnmatch
import json
import math
import os
import pathlib
import sys
import time

import big_vlm
from big_vlm import cli, compilation, distributed, reporting, sharding
from big_vlm.data import source
from big_vlm.families import paligemma
from evaluators import common, figures, provenance, recipe, report
from evaluators.rows import write_rows
from pp.names import pick
from pp.tokenizer import difference

PICTURES = 300  # rows that the report shows with their image; of one eval at most half
NOTE_SECONDS = 30  # between lines of progress where there is no terminal


def run(config, init, workdir, evals=None, split=None, config_file=None, changes=None):
  """Runs the config's evals, or those named ("ocr,detect" or "pope/*"), on their split or on
  another one.

  config_file, changes: the file that the config is from, "path.py:arguments", and {field: value}
  changed in it; without the file what differs from the published recipe is not known.

  Returns {"name/metric": figure}, figures as in figures.py; on processes but the first {}.
  """
  distributed.assert_same(config.to_json_best_effort(), "configs")
  entries = chosen(config.evals.to_dict(), evals, split)
  check_data(entries)
  folder = pathlib.Path(workdir)
  folder.mkdir(parents=True, exist_ok=True)
  mesh = sharding.make_mesh(config.mesh.to_dict())
  dtype = config.model.dtype.replace("auto", "float32")
  vlm = big_vlm.from_preset(init, dtype=dtype, mesh=mesh, rules=config.sharding)
  tokenizer = the_tokenizer(config.tokenizer, vlm.tokenizer_name)
  about = provenance.gather(config, config_file, changes or {}, vlm.source)
  warnings = recipe.Warnings(config, config_file, vlm.config, entries)
  pictures = min(PICTURES // 2, -(-PICTURES // len(entries)))
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.evals = entries

  found, shown = {}, []
  for evaluator in common.evaluators(config, vlm.model, tokenizer, mesh):
    name, published = evaluator.name, config.published
    if evaluator.type == "mean":
      found |= figures.of_mean(evaluator, found, published, warnings) if distributed.is_primary_process() else {}
      continue
    rows = evaluator.predict(vlm.params, progress(name), pictures, partial(folder, name))
    if distributed.is_primary_process():
      found |= figures.of(evaluator, rows, published, warnings)
      save(folder, evaluator, rows)
      shown += [{**row, "task": name} for row in rows]
  if not distributed.is_primary_process():
    return {}
  write(folder, list(found.values()), shown, {
      **about, "evals": list(entries), "split": split or "as configured", "dtype": dtype,
      "model": paligemma.to_dict(vlm.config)})
  for name in entries:
    partial(folder, name).unlink(missing_ok=True)
  return found


def the_tokenizer(configured, shipped):
  """The one tokenizer of an evaluation: the checkpoint's if it ships one, else the config's.

  Raises ValueError if they differ in pieces or ids, however they are spelled and wherever they lie.
  """
  if configured and shipped and (how := difference(configured, shipped)):
    raise ValueError(f"The config's tokenizer is not the checkpoint's: {how}. The model would read "
                     "other ids than it was trained on: give the checkpoint of this config, or "
                     f"--config.tokenizer={shipped!r}.")
  return shipped or configured or None


def chosen(evals, names=None, split=None):
  """{name: entry} of a config's evals: all, or those that names and patterns with commas say, and
  what their means are over; on another split of their data.

  Raises ValueError for a name that is no eval, a pattern that none has, and data without splits.
  """
  if not evals:
    raise ValueError("The config has no `evals`: there is nothing to run. A task's config has "
                     "some, e.g. configs/transfers/okvqa.py, and configs/evals/ has suites.")
  wanted = set()
  for name in map(str.strip, names.split(",")) if names else evals:
    matching = fnmatch.filter(evals, name)
    wanted |= set(matching or [pick({n: n for n in evals}, name, "eval of this config")])
  for name in list(wanted):
    wanted |= set(evals[name].get("evals", ()))
  entries = {name: evals[name] for name in evals if name in wanted}
  for name, entry in entries.items():
    if split and "data" in entry:
      if "split" not in entry["data"]:
        raise ValueError(f"The eval {name!r} has no splits to choose from: its data are "
                         f"{entry['data']}. Leave --split away, or choose other --evals.")
      entry["data"]["split"] = split
  return entries


def check_data(entries):
  """Raises FileNotFoundError that names all data that are not there: not hours later, one by one.
  """
  said = {}
  for name, entry in entries.items():
    try:
      if "data" in entry:
        source.get(**entry["data"])
    except FileNotFoundError as e:
      said.setdefault(str(e), []).append(name)
  if said:
    raise FileNotFoundError("\n".join(
        f"{text} (for {', '.join(names)})" for text, names in said.items())
        + "\nOr choose among the evals, --evals NAME,NAME.")


def progress(name):
  """A note(done, total) of batches: a line that counts up on a terminal, else one now and then.

  What a resumed run finds done does not count for the time that is left.
  """
  began = shown = time.perf_counter()
  first = None

  def note(done, total):
    nonlocal first, shown
    now, on_terminal = time.perf_counter(), sys.stdout.isatty()
    first = first or (done, now)
    if done == total:
      print("\r" * on_terminal + f"{name}: {total} batches in {now - began:.0f} s", flush=True)
    elif on_terminal or now - shown > NOTE_SECONDS:
      count, since = (done - first[0], first[1]) if done > first[0] else (1, began)
      left = reporting.clock((now - since) / count * (total - done))
      print("\r" * on_terminal + f"{name}: batch {done}/{total}  ETA {left}",
            end="" if on_terminal else "\n", flush=True)
      shown = now
  return note


def partial(folder, name):
  """Where the rows of an eval are until all evals are through."""
  return folder / "predictions" / f"{name}.partial.jsonl"


def save(folder, evaluator, rows):
  """The rows, and where the eval is of kind `store` what a test server takes."""
  write_rows(folder / "predictions" / f"{evaluator.name}.jsonl", rows)
  if (answers := evaluator.submission(rows)) is not None:
    path = folder / "submissions" / f"{evaluator.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(answers))
    print(f"submission  {path}")


def write(folder, results, rows, details):
  """metrics.json and report.html, and the figures on the screen."""
  path = folder / "metrics.json"
  metrics = {f"{f['task']}/{f['metric']}": {
      "value": f["value"] if math.isfinite(f["value"]) else None, "interval": f["interval"],
      "published": f["published"], "majority": f["baseline"],
      **{k: f[k] for k in ("n", "percent", "warnings")}} for f in results}
  temporary = path.with_suffix(".tmp")
  temporary.write_text(json.dumps({"metrics": metrics, **details}, indent=2) + "\n")
  os.replace(temporary, path)
  page = report.write_report(folder / "report.html", title="Evaluation", results=results, rows=rows,
                             subtitle=details["checkpoint"], details=details)
  print(f"\n{figures.table(results)}")
  for name, text in dict.fromkeys((f["task"], w) for f in results for w in f["warnings"]):
    print(f"warning: {name}: {text}")
  print(f"\nreport      {page}\nmetrics     {path}\ncheckpoint  {details['checkpoint']}")
  for above in pathlib.Path(details["checkpoint"]).parents[:2]:  # ours is W/checkpoints/STEP
    if (above / "training.png").exists():
      print(f"plot        {above / 'training.png'}")


def main(argv=None):
  parser = cli.Parser(__doc__, config=True, distributed=True)
  parser.add_argument("--init", required=True, help="checkpoint: a preset, a path or URI, a "
                      "training's workdir or step")
  parser.add_argument("--workdir", required=True,
                      help="where metrics, report, predictions and submissions go")
  parser.add_argument("--evals", help="evals of the config to run, with commas, e.g. "
                                      "'okvqa/val,pope/*' (default: all)")
  parser.add_argument("--split", help="data split to evaluate instead of the config's")
  args = parser.parse_args(argv)
  compilation.cache()
  cli.start(args)
  run(args.config, args.init, args.workdir, args.evals, args.split, args.config_file,
      args.config_changes)


if __name__ == "__main__":
  cli.run(main)
