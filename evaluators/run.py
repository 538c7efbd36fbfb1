"""Evaluates a checkpoint: python -m evaluators.run --config C --init W --workdir OUT

Writes OUT/metrics.json, OUT/report.html (images, answers beside references) and OUT/predictions/.
"""
import datetime
import json
import pathlib

import jax

import big_vlm
from big_vlm import distributed, reporting, sharding
from big_vlm.models import paligemma
from evaluators import common, report
from pp.registry import pick

FRACTIONS = ("acc", "exact", "AP", "AP50", "AP75")  # metrics in 0..1, shown in per cent
GALLERY = 150  # rows per evaluator in the report, those with images; all are in predictions/


def run(config, init, workdir, evals=None, split=None):
  """Runs the config's evals, or those named ("ocr,detect"), on their split or on another one.

  Returns {"name/metric": {"value", "majority": of the most frequent answer, "n": examples}}; on
  processes but the first {}.
  """
  distributed.check_same(config.to_json_best_effort(), "configs")
  pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
  mesh = sharding.make_mesh(config.mesh.to_dict())
  vlm = big_vlm.from_preset(init, mesh=mesh, rules=config.sharding)

  entries, results, gallery = common.runnable(config.evals.to_dict()), {}, []
  for name in evals.split(",") if evals else entries:
    entry = pick(entries, name, "evaluator of this config")
    if split:
      entry["data"]["split"] = split
    evaluator = common.Evaluator(name, vlm.model, vlm.tokenizer_name, mesh, **entry)
    rows = evaluator.predict(vlm.params, note=reporting.counter(name), images=GALLERY)
    if not distributed.main():
      continue
    metrics, majority = evaluator.score(rows), evaluator.baseline(rows)
    for metric, value in metrics.items():
      results[metric] = {"value": value, "majority": majority[metric], "n": len(rows)}
    common.write_rows(pathlib.Path(workdir) / "predictions" / f"{name}.jsonl", rows)
    gallery += [card(name, row) for row in rows[:GALLERY]]
  if not distributed.main():
    return {}
  details = {"checkpoint": vlm.source, "data": split or "as configured",
             "date": datetime.date.today().isoformat(), "jax": jax.__version__,
             "devices": f"{jax.device_count()} {jax.devices()[0].device_kind}"}
  write(workdir, results, gallery, details, paligemma.to_dict(vlm.config))
  return results


def card(name, row):
  """A row as report.py draws it."""
  return {**row, "task": name, "prompt": row["prefix"], "references": [row["suffix"]]}


def write(workdir, results, gallery, details, model_config):
  """metrics.json and report.html, and the figures on the screen."""
  folder = pathlib.Path(workdir)
  text = json.dumps({"metrics": results, **details, "model": model_config}, indent=2)
  (folder / "metrics.json").write_text(text + "\n")
  figures = []
  print(f"\n{'metric':24}{'model':>10}{'majority answer':>18}{'examples':>10}")
  for name, r in results.items():
    task, _, metric = name.rpartition("/")
    percent = metric in FRACTIONS
    figures.append({"task": task, "metric": metric, "value": r["value"], "baseline": r["majority"],
                    "n": r["n"], "percent": percent})
    show = (lambda x: f"{x:.1%}") if percent else (lambda x: f"{x:.3f}")
    print(f"{name:24}{show(r['value']):>10}{show(r['majority']):>18}{r['n']:>10}")
  page = report.write_report(
      folder / "report.html", title="Evaluation", figures=figures, rows=gallery,
      subtitle=details["checkpoint"], details=details)
  print(f"\nreport      {page}\nmetrics     {folder / 'metrics.json'}\n"
        f"checkpoint  {details['checkpoint']}")
  for above in pathlib.Path(details["checkpoint"]).parents[:2]:  # ours is W/checkpoints/STEP
    if (above / "training.png").exists():
      print(f"plot        {above / 'training.png'}")


if __name__ == "__main__":
  reporting.launch(run, processes=True, config="Config file with `evals`.",
                   init="Checkpoint: a training's workdir or its checkpoints/STEP.",
                   workdir="Where metrics, report and predictions go.",
                   evals="Names of the config's evals to run, with commas; default: all.",
                   split="Data split to evaluate instead of the config's.")
