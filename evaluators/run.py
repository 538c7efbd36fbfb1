"""Evaluates a checkpoint: python -m evaluators.run --config C --init W --workdir OUT

  OUT/metrics.json       results with CIs and published scores, and their provenance
  OUT/report.html        the same as a page, with the examples behind the results
  OUT/predictions/       NAME.jsonl, a prediction for each example
  OUT/submissions/       NAME.json of the evals of type "submission", for their test server

The same command resumes after a kill: finished predictions are in NAME.partial.jsonl until all
evals are through, and are read from there for the same checkpoint and config.

--repeats N makes all predictions N times: metrics.json has the seconds of each under "repeats", the
first with compilation ("resumed": of what a killed run had left). Metrics that come out otherwise
than at first give a warning.
"""
import fnmatch
import json
import time

from etils import epath

import big_vlm
from big_vlm import cli, compilation, distributed, files, model_flags, reporting, sharding
from big_vlm.data import source
from big_vlm.families import paligemma
from evaluators import common, provenance, recipe, report, results
from evaluators.predictions import write_predictions
from pp.names import pick
from pp.tokenizer import difference, get_tokenizer

PICTURES = 300  # predictions that the report shows with their image; of one eval at most half


def run(config, init, workdir, evals=None, split=None, config_file=None, changes=None, dtype=None,
        adapter=None, quantize=None, limit=None, repeats=1):
  """Runs the config's evals, or those named ("ocr,detect" or "pope/*"), on their split or another.

  config_file, changes: the file of the config, "path.py:arguments", and {field: value} changed in
  it; without the file, deviations from the reference protocol are not known.
  dtype: of parameters and activations; default: the config's model.dtype, as in evaluations during
  the training and in tools.predict. adapter: a folder of PEFT. quantize: "int8" or "int4" weights.
  limit: so many examples of each eval, a fixed sample. repeats: how often each eval is run, for
  times without compilation. All are in metrics.json.

  Returns {"name/metric": result}, results as in results.py; on processes but the first {}.
  """
  distributed.assert_same(config.to_json_best_effort(), "configs")
  if repeats < 1:
    raise ValueError(f"repeats={repeats}: an eval is run once or more.")
  entries = choose_evals(config.evals.to_dict(), evals, split, limit)
  check_data(entries)
  folder = epath.Path(workdir)
  mesh = sharding.make_mesh(config.mesh.to_dict())
  chosen = config.copy_and_resolve_references()
  with chosen.unlocked():
    chosen.evals = entries
  common.evaluators(chosen, None, None, mesh)  # an error in an entry shows before weights are read
  dtype = sharding.dtype_on(mesh, dtype or config.model.dtype)
  vlm = big_vlm.from_preset(init, dtype=dtype, mesh=mesh, rules=config.sharding)
  vlm = model_flags.adapted(vlm, adapter, quantize)
  tokenizer = the_tokenizer(config.tokenizer, vlm.tokenizer_name)
  about = provenance.gather(config, config_file, changes or {}, vlm.source)
  warnings = recipe.Warnings(config, config_file, vlm.config, entries)
  pictures = min(PICTURES // 2, -(-PICTURES // len(entries)))

  primary = distributed.is_primary_process()
  found, shown, repeated = {}, [], {}
  for evaluator in common.evaluators(chosen, vlm.model, tokenizer, mesh):
    name, published = evaluator.name, config.published
    if evaluator.type == "mean":
      found |= results.of_mean(evaluator, found, published, warnings) if primary else {}
      continue
    resumed, began = partial(folder, name).exists(), time.perf_counter()
    predictions = evaluator.predict(vlm.params, reporting.counter(name), pictures,
                                    partial(folder, name))
    repeated[name] = [{"seconds": time.perf_counter() - began, "resumed": resumed}]
    if primary:
      found |= results.of(evaluator, predictions, published, warnings)
    comparable = {} if resumed else found  # the part before may be of another batch or device
    repeated[name] += [repeat(evaluator, vlm.params, comparable) for _ in range(repeats - 1)]
    if primary:
      save_predictions(folder, evaluator, predictions, epath.Path(vlm.source).name)
      shown += [{**p, "task": name} for p in predictions]
  if not primary:
    return {}
  write_results(folder, list(found.values()), shown, {
      **about, "evals": list(entries), "split": split or "as configured", "limit": limit,
      "dtype": dtype, "adapter": adapter, "quantize": quantize, "repeats": repeated,
      "model": paligemma.to_dict(vlm.config), "entries": entries})
  for name in entries:
    partial(folder, name).unlink(missing_ok=True)
  return found


def repeat(evaluator, params, found):
  """{"seconds", "name/metric": value} of an evaluator that is run once more; on processes but the
  first the seconds alone.

  found: the results, of which those with another value get a warning.
  """
  began = time.perf_counter()
  predictions = evaluator.predict(params, reporting.counter(evaluator.name))
  seconds = {"seconds": time.perf_counter() - began}
  if not distributed.is_primary_process():
    return seconds
  metrics = {k: results.finite(v) for k, v in evaluator.score(predictions).items()}
  for key in (key for key, value in metrics.items()
              if key in found and value != found[key]["value"]):
    found[key]["warnings"] = [*found[key]["warnings"], f"{found[key]['metric']} is {metrics[key]} "
                              "in a repeat: the evaluation is not deterministic"]
  return seconds | metrics


def the_tokenizer(configured, shipped):
  """The one tokenizer of an evaluation: the checkpoint's if it ships one, else the config's.

  Raises ValueError if they differ in pieces or ids, however they are spelled and wherever they lie.
  A line says so where the config's is not there to be compared, such as Gemma's without its file.
  """
  try:
    get_tokenizer(configured or shipped)
  except (ValueError, OSError) as e:
    if not shipped:
      raise
    print(f"tokenizer: the checkpoint's; the config's is not compared with it: {e}")
    return shipped
  if configured and shipped and (how := difference(configured, shipped)):
    raise ValueError(f"The config's tokenizer is not the checkpoint's: {how}. The model would read "
                     "other ids than it was trained on: give the checkpoint of this config, or "
                     f"--config.tokenizer={shipped!r}.")
  return shipped or configured or None


def choose_evals(evals, names=None, split=None, limit=None):
  """{name: entry} of a config's evals: all, or those that match names and patterns with commas.

  Evals that a chosen mean averages are added. split: replaces the split of their data. limit: how
  many of their examples to evaluate. Raises
  ValueError for a name or pattern that matches no eval, and for data without splits.
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
    if limit is not None and "data" in entry:
      entry["limit"] = limit
    if split and "data" in entry:
      if "split" not in entry["data"]:
        raise ValueError(f"The eval {name!r} has no splits to choose from: its data are "
                         f"{entry['data']}. Leave --split away, or choose other --evals.")
      entry["data"]["split"] = split
  return entries


def check_data(entries):
  """Raises FileNotFoundError that names all missing data at once, before the first eval runs."""
  missing = {}
  for name, entry in entries.items():
    try:
      if "data" in entry:
        source.get(**entry["data"])
    except FileNotFoundError as e:
      missing.setdefault(str(e), []).append(name)
  if missing:
    raise FileNotFoundError("\n".join(
        f"{text} (for {', '.join(names)})" for text, names in missing.items())
        + "\nOr choose among the evals, --evals NAME,NAME.")


def partial(folder, name):
  """Path of an eval's predictions until all evals are through."""
  return folder / "predictions" / f"{name}.partial.jsonl"


def save_predictions(folder, evaluator, predictions, step):
  """Writes the predictions, and of a `submission` eval also the file for the test server; step: as
  the {step} of an eval's outfile."""
  write_predictions(folder / "predictions" / f"{evaluator.name}.jsonl", predictions)
  evaluator.write_outfile(predictions, folder, step)
  if (answers := evaluator.submission(predictions)) is not None:
    path = folder / "submissions" / f"{evaluator.name}.json"
    files.write_atomic(path, json.dumps(answers))
    print(f"submission  {path}")


def write_results(folder, found, predictions, details):
  """Writes metrics.json and report.html, and prints the results. details: what metrics.json has
  beside the results, and the report but for "entries", the evals of the config."""
  path, details = folder / "metrics.json", dict(details)
  # A config has inf and functions, for which JSON has no word.
  entries = json.loads(json.dumps(details.pop("entries", {}), default=repr), parse_constant=str)
  metrics = {f"{r['task']}/{r['metric']}": {
      "value": results.finite(r["value"]), "interval": r["interval"],
      "published": r["published"], "majority": r["baseline"],
      "majority_fitted_on": results.FITTED_ON,
      **{k: r.get(k) for k in ("n", "total", "percent", "warnings")}} for r in found}
  files.write_atomic(path, json.dumps({"metrics": metrics, **details, "entries": entries}, indent=2,
                                      default=repr, allow_nan=False) + "\n")
  page = report.write_report(folder / "report.html", title="Evaluation", results=found,
                             predictions=predictions, subtitle=details["checkpoint"],
                             details=details)
  print(f"\n{results.table(found)}")
  for name, text in dict.fromkeys((r["task"], w) for r in found for w in r["warnings"]):
    print(f"warning: {name}: {text}")
  if table := seconds_table(details.get("repeats", {}), {r["task"]: r["n"] for r in found}):
    print(f"\n{table}")
  print(f"\nreport      {page}\nmetrics     {path}\ncheckpoint  {details['checkpoint']}")
  for above in epath.Path(details["checkpoint"]).parents[:2]:  # a training's is W/checkpoints/STEP
    if (above / "training.png").exists():
      print(f"plot        {above / 'training.png'}")


def seconds_table(repeats, counts):
  """The table of the seconds that evals took; "" where none was run more than once.

  repeats: {eval: [{"seconds"}]}. counts: {eval: number of its examples}.
  """
  lines = [[name, *(f"{r['seconds']:.2f}" for r in runs),
            f"{counts[name] / min(r['seconds'] for r in runs[1:]):,.1f}" if name in counts else "-"]
           for name, runs in repeats.items() if len(runs) > 1]
  if not lines:
    return ""
  return reporting.columns([
      ["seconds", *("first" if not n else f"repeat {n}" for n in range(len(lines[0]) - 2)),
       "examples/s, fastest"], *lines])


def main(argv=None):
  parser = cli.Parser(__doc__, config=True, distributed=True)
  parser.add_argument("--init", required=True, help="checkpoint: a preset, a path or URI, a "
                      "training's workdir W or step, W@best")
  parser.add_argument("--workdir", required=True,
                      help="where metrics, report, predictions and submissions go")
  parser.add_argument("--evals", help="evals of the config to run, with commas, e.g. "
                                      "'okvqa/val,pope/*' (default: all)")
  parser.add_argument("--split", help="data split to evaluate instead of the config's")
  parser.add_argument("--limit", type=int, metavar="N",
                      help="evaluate a fixed sample of N examples, with what it can tell of all")
  parser.add_argument("--repeats", type=int, default=1, metavar="N",
                      help="run each eval N times, for times without compilation")
  model_flags.add(parser, "the config's model.dtype")
  args = parser.parse_args(argv)
  compilation.cache()
  cli.start(args)
  run(args.config, args.init, args.workdir, args.evals, args.split, args.config_file,
      args.config_changes, args.dtype, args.adapter, args.quantize, args.limit, args.repeats)


if __name__ == "__main__":
  cli.run(main)
