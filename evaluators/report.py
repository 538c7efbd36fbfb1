"""The evaluation report: one HTML file that shows the numbers and the examples behind them.

  figures    each metric with its interval, beside the published score and a majority answer
  answers    by task: how long they are, how they ended, how good each group of questions is
  examples   a gallery to filter, sort and search; drawn by the page's script while one scrolls
  details    how the run was made

Everything is inside the file (images as data URIs), so it opens from disk and can be mailed. A
content policy forbids it to fetch anything and to run any script but its own, and all text is
escaped: a model may well write "<script>". It stays below 15 MB however many rows there are: see
gallery.py for what is left out.
"""
import base64
import hashlib
import html
import json
import os
import pathlib

from evaluators import gallery, report_figures, report_page, report_plots, report_style

ROW_KEYS = ("task", "id", "prediction")
FIGURE_KEYS = ("task", "metric", "value")


def write_report(path, *, title, subtitle="", figures=(), rows=(), details=None):
  """Write the report, replacing an older one in one step.

  Args:
    path: the .html file; missing folders are made.
    title, subtitle: str.
    figures: list of {"task", "metric", "value": number or None}, and where known "percent": True
      for what the papers print times 100, "interval": (low, high) of 95 %, "published": the
      score to compare with, "baseline": that of the majority answer, all on the scale of value;
      "n": examples, "warnings": [str], what was not as in the published recipe.
    rows: list of {"task", "id", "prediction"}, and where known
      "correct": bool, or None where nothing tells; "score": float; "group": str, such as a type
      of question;
      "prompt", or else "prefix"; "references": [str], or else "suffix"; "tokens", "logprobs" and
      "finish_reason" of the answer, the last "" where no model wrote one;
      "image": uint8 [H, W, 1 or 3 or 4], the bytes of a PNG or JPEG, or None; over it "pred_boxes"
      and "ref_boxes", [{"box": (ymin, xmin, ymax, xmax) in 0..1, "label", "score"}], by default
      those that the prediction spells; and "pred_mask" and "ref_mask", [H, W] of any size, the
      object above 0.
    details: {name: value} for the block at the end: checkpoint, step, config, date.

  Returns:
    pathlib.Path of the file.

  Raises:
    ValueError: for a row or figure that lacks a key, and for an image, box or mask that cannot be
      drawn, naming the row.
    OSError: where the file cannot be written, naming the folder. An older report stays.
  """
  for i, figure in enumerate(figures):
    _require(figure, FIGURE_KEYS, f"figures[{i}]")
  for i, row in enumerate(rows):
    _require(row, ROW_KEYS, f"rows[{i}]")
  script = report_page.SCRIPT
  digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
  page = report_page.PAGE.format(
      title=html.escape(title), css=report_style.CSS, script=script, digest=digest,
      subtitle=f'<p class="subtitle" dir="auto">{html.escape(subtitle)}</p>' if subtitle else "",
      figures=report_figures.table(figures), plots=report_plots.panels(rows),
      gallery=gallery.section(rows), details=_details(details) if details else "")
  return _write(pathlib.Path(path), page.encode("utf-8", "replace"))  # lone surrogates -> "?"


def _require(record, keys, where):
  if missing := [key for key in keys if key not in record]:
    raise ValueError(f"{where} of the report lacks {', '.join(missing)}; "
                     f"it has {', '.join(map(str, record))}.")


def _details(details):
  rows = []
  for name, value in details.items():
    text = (json.dumps(value, indent=2, default=str, ensure_ascii=False)
            if isinstance(value, (dict, list, tuple)) else str(value))
    rows.append(f"<dt>{html.escape(str(name))}</dt><dd><pre>{html.escape(text)}</pre></dd>")
  return ('<details class="panel"><summary>How this was made</summary>'
          f'<dl class="details">{"".join(rows)}</dl></details>')


def _write(path, data):
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_bytes(data)
    os.replace(temporary, path)
  except OSError as error:
    try:
      temporary.unlink(missing_ok=True)
    except OSError:
      pass  # the folder itself is what is broken; the message below says so
    raise OSError(error.errno, f"Cannot write the report into the folder {path.parent} "
                  f"({error.strerror}). Free some space or name a folder you may write to",
                  str(path)) from error
  return path
