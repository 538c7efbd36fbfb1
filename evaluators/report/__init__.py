"""The evaluation report: one HTML file that shows the results and the examples behind them.

  results    each metric with its 95 % bootstrap CI, the published score, a majority-class baseline
  answers    by task: how long they are, how they ended, how good each group of questions is
  examples   a gallery to filter, sort and search; the page's script draws it while one scrolls
  details    how the run was made

Everything is inside the file (images as data URIs), so it opens from disk and can be mailed. A
content policy forbids it to fetch anything and to run any script but its own, and all text is
escaped: a model may well write "<script>". It stays below 15 MB however many predictions there
are: gallery.py says which are left out.
"""
import json

from evaluators.report import gallery, panels, table
from evaluators.report.page import FOLDER, write_page

PREDICTION_KEYS = ("task", "id", "prediction")
RESULT_KEYS = ("task", "metric", "value")


def write_report(path, *, title, subtitle="", results=(), predictions=(), details=None,
                 summary=""):
  """Writes the report, replacing an older one in one step.

  Args:
    path: the .html file, local or gs://; missing folders are created.
    title, subtitle: str.
    results: list of {"task", "metric", "value": number or None}, and where known "percent": True
      for metrics that papers print times 100, "interval": (low, high) of the 95 % bootstrap CI,
      "published": the score to compare with, "baseline": that of the majority class, all on the
      scale of value; "n": examples, "warnings": [str], deviations from the reference protocol.
    predictions: list of {"task", "id", "prediction"}, and where known
      "correct": bool, or None where it is unknown; "score": float; "group": str, such as a type
      of question;
      "prompt", or else "prefix"; "references": [str], or else "suffix"; "tokens", "logprobs" and
      "finish_reason" of the answer, the last "" where no model wrote one;
      "image": uint8 [H, W, 1 or 3 or 4], the bytes of a PNG or JPEG, or None; over it "pred_boxes"
      and "ref_boxes", [{"box": (ymin, xmin, ymax, xmax) in 0..1, "label", "score"}], by default
      those that the prediction and the first reference spell; and "pred_mask" and "ref_mask",
      [H, W] of any size, the object above 0; "nearest_texts" [[text, cosine, whether right]];
      "neighbours", the images of "nearest_images" [[index, cosine, whether right]]; "other",
      {"name", "prediction", "boxes"} of another model, to stand beside the prediction, whose model
      is "name" then.
    details: {name: value} for the block at the end: checkpoint, step, config, date.
    summary: text in columns above all.

  Returns:
    epath.Path of the file.

  Raises:
    ValueError: for a prediction or result that lacks a key, and for an image, box or mask that
      cannot be drawn, naming the prediction.
    OSError: where the file cannot be written, naming it. An older report stays.
  """
  for i, result in enumerate(results):
    _require(result, RESULT_KEYS, f"results[{i}]")
  for i, prediction in enumerate(predictions):
    _require(prediction, PREDICTION_KEYS, f"predictions[{i}]")
  return write_page(path, FOLDER / "report.html", title=title, subtitle=subtitle, summary=summary,
                    table=table.table(results), panels=panels.panels(predictions),
                    gallery=gallery.gallery(predictions),
                    details=[(name, _text(value)) for name, value in (details or {}).items()])


def _require(record, keys, where):
  if missing := [key for key in keys if key not in record]:
    raise ValueError(f"{where} of the report lacks {', '.join(missing)}; "
                     f"it has {', '.join(map(str, record))}.")


def _text(value):
  if isinstance(value, (dict, list, tuple)):
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)
  return str(value)
