"""The report's table of figures: value and interval, the published score, a majority answer."""
import html
import itertools
import math
import numbers

_HEAD = ("metric", "ours", "", "published", "difference", "majority answer", "examples")
_LEGEND = (
    '<p class="legend"><span><i class="mark fill"></i>ours</span>'
    '<span><i class="mark span"></i>95\u2009% interval</span>'
    '<span><i class="mark published"></i>published</span>'
    '<span><i class="mark baseline"></i>majority answer</span></p>'
    '<p class="legend">Shares of 1, and CIDEr, are printed times 100 as in the papers. An interval '
    "tells how far the figure would move with other examples of the same kind, not with other "
    "training seeds.</p>")


def table(figures):
  """HTML of the figures that write_report takes, in their order; "" for none."""
  if not figures:
    return ""
  bodies = []
  for task, some in itertools.groupby(figures, key=lambda f: str(f["task"])):
    lines = "".join(map(_line, some))
    bodies.append(f'<tbody><tr class="task"><th colspan="{len(_HEAD)}" scope="rowgroup">'
                  f"{html.escape(task)}</th></tr>{lines}</tbody>")
  warned = sum(bool(figure.get("warnings")) for figure in figures)
  notice = ""
  if warned:
    which = "One figure was" if warned == 1 else f"{warned} figures were"
    notice = (f'<p class="notice">\u26a0 {which} not made as the published recipe says; the table '
              "tells how.</p>")
  head = "".join(f'<th scope="col">{name}</th>' if name else "<td></td>" for name in _HEAD)
  return (f'<section class="panel" aria-labelledby="figures"><h2 id="figures">Figures</h2>{notice}'
          f'<table class="figures"><thead><tr>{head}</tr></thead>{"".join(bodies)}</table>'
          f"{_LEGEND}</section>")


def number(value, percent=False):
  """"94.2" of .942 in percent, otherwise three decimals or a whole number; "n/a" of no number."""
  if value is None or not math.isfinite(value):
    return "n/a"
  if percent:
    return f"{100 * value:.1f}".replace("-", "\u2212")
  if isinstance(value, numbers.Integral):
    return f"{int(value):,}"
  return (f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}").replace("-", "\u2212")


def _line(figure):
  percent, value = figure.get("percent", False), _finite(figure["value"])
  published, baseline = _finite(figure.get("published")), _finite(figure.get("baseline"))
  low, high = figure.get("interval") or (None, None)
  interval = None if _finite(low) is None or _finite(high) is None else (low, high)
  span = ""
  if interval:
    span = f"<small>{number(low, percent)} to {number(high, percent)}</small>"
  cells = [
      ("ours", f"<b>{number(value, percent)}</b>{span}"),
      ("bar", _bar(value, interval, published, baseline, percent)),
      ("published", "" if published is None else number(published, percent)),
      ("difference", _difference(value, interval, published, percent)),
      ("baseline", "" if baseline is None else number(baseline, percent)),
      ("n", "" if figure.get("n") is None else f"{int(figure['n']):,}")]
  names = dict(zip(("ours", "bar", "published", "difference", "baseline", "n"), _HEAD[1:]))
  line = "".join(f'<td class="{kind}" data-name="{names[kind]}">{text}</td>'
                 for kind, text in cells)
  warnings = "".join(f'<tr class="warning"><td colspan="{len(_HEAD)}">\u26a0 {html.escape(str(w))}'
                     "</td></tr>" for w in figure.get("warnings") or ())
  return f'<tr><th scope="row">{html.escape(str(figure["metric"]))}</th>{line}</tr>{warnings}'


def _finite(value):
  return value if value is not None and math.isfinite(value) else None


def _difference(value, interval, published, percent):
  """How far ours is from the published score, and whether the interval has room for that."""
  if value is None or published is None:
    return ""
  difference = value - published
  text = ("+" if difference >= 0 else "") + number(float(difference), percent)
  if interval is None:
    return text
  inside = interval[0] <= published <= interval[1]
  verdict = "inside the interval" if inside else "outside the interval"
  return f'{text}<small class="{"in" if inside else "out"}">{verdict}</small>'


def _bar(value, interval, published, baseline, percent):
  """Marks on a line from 0 to 1, or to the largest of them where there is no natural full scale.

  Counts have no bar.
  """
  marks = [v for v in (value, published, baseline, *(interval or ())) if v is not None]
  if value is None or value < 0 or isinstance(value, numbers.Integral):
    return ""
  top = max([1 if percent else 0, *marks])
  at = lambda v: f"{100 * min(max(v / top, 0), 1) if top else 0:.1f}%"
  parts = [f'<b style="width:{at(value)}"></b>']
  if baseline is not None:
    parts.append(f'<i class="mark baseline" style="left:{at(baseline)}"></i>')
  if interval:
    low, high = (100 * min(max(v / top, 0), 1) if top else 0 for v in interval)
    parts.append(f'<i class="mark span" style="left:{low:.1f}%;width:{high - low:.1f}%"></i>')
  if published is not None:
    parts.append(f'<i class="mark published" style="left:{at(published)}"></i>')
  return f'<div class="scale">{"".join(parts)}</div>'
