"""The report's panels, one for each task: lengths of answers, how they ended, groups of questions.

They count all rows, also those that the gallery leaves out. A length is in tokens, or in characters
where the tokens are not known.
"""
import collections
import html
import math
import statistics

_BINS = 24
_GROUPS = 40  # of a task; the others of a longer list are one
_WIDTH, _HEIGHT = 300, 84  # units of a plot, without its axis
_CUT = .01  # share of answers cut by the limit of tokens, above which it is pointed out
_ENDS = ("eos", "stop", "length")


def panels(rows):
  """HTML of a panel for each task of the rows; "" without rows."""
  by_task = collections.defaultdict(list)
  for row in rows:
    by_task[str(row["task"])].append(row)
  if not by_task:
    return ""
  drawn = "".join(_panel(task, some) for task, some in by_task.items())
  return (f'<section aria-labelledby="answers"><h2 id="answers">Answers</h2>'
          f'<div class="panels">{drawn}</div></section>')


def verdict(row):
  """"right", "wrong", or "unscored" where nothing tells."""
  correct = row.get("correct")
  return "unscored" if correct is None else "right" if correct else "wrong"


def tally(rows):
  """HTML of how many rows there are of each verdict."""
  counts = collections.Counter(map(verdict, rows))
  parts = [f'<span class="{name}">{mark} {counts[name]:,} {name}</span>' for name, mark in
           (("wrong", "\u2717"), ("right", "\u2713"), ("unscored", "\u00b7")) if counts[name]]
  return ", ".join(parts)


def _panel(task, rows):
  lengths, unit = _lengths(rows)
  return (f'<article class="panel"><h3>{html.escape(task)}</h3>'
          f'<p class="tally">{tally(rows)}</p>{_histogram(rows, lengths, unit)}{_ends(rows)}'
          f"{_groups(task, rows)}</article>")


def _lengths(rows):
  counts = [row.get("tokens") if row.get("tokens") is not None else row.get("logprobs")
            for row in rows]
  if all(tokens is not None for tokens in counts):
    return [len(tokens) for tokens in counts], "tokens"
  return [len(str(row["prediction"])) for row in rows], "characters"


def _histogram(rows, lengths, unit):
  least, most = min(lengths), max(lengths)
  step = max(1, math.ceil((most - least + 1) / _BINS))
  bins = [collections.Counter() for _ in range((most - least) // step + 1)]
  for row, length in zip(rows, lengths):
    bins[(length - least) // step][verdict(row)] += 1
  tallest, wide = max(b.total() for b in bins), _WIDTH / max(len(bins), 8)
  shapes = []
  for i, counts in enumerate(bins):
    first, last, y = least + i * step, min(least + (i + 1) * step - 1, most), _HEIGHT
    said = f"{first}" if first == last else f"{first} to {last}"
    bars = ""
    for name in ("wrong", "right", "unscored"):
      high = _HEIGHT * counts[name] / tallest
      y -= high
      if counts[name]:
        bars += (f'<rect class="{name}" x="{i * wide + .5:.1f}" y="{y:.1f}" '
                 f'width="{wide - 1:.1f}" height="{high:.1f}"/>')
    parts = ", ".join(f"{counts[n]:,} {n}" for n in ("wrong", "right", "unscored") if counts[n])
    shapes.append(f"<g><title>{said} {unit}: {parts}</title>{bars}</g>" if bars else "")
  every = max(1, math.ceil(len(bins) / 8))
  ticks = "".join(f'<text x="{(i + .5) * wide:.1f}" y="{_HEIGHT + 14}">{least + i * step:,}</text>'
                  for i in range(0, len(bins), every))
  ordered = sorted(lengths)
  p95 = ordered[min(len(ordered) - 1, math.ceil(.95 * len(ordered)) - 1)]
  words = (f"{unit} of an answer: median {statistics.median_low(ordered):,}, 95\u2009% up to "
           f"{p95:,}, longest {most:,}")
  return (f'<figure><svg class="plot" role="img" aria-label="{words}" '
          f'viewBox="0 0 {_WIDTH} {_HEIGHT + 18}">{"".join(shapes)}'
          f'<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}"/>{ticks}</svg>'
          f"<figcaption>{words}</figcaption></figure>")


def _ends(rows):
  counts = collections.Counter(str(row["finish_reason"]) for row in rows
                               if row.get("finish_reason"))
  if not counts:
    return ""
  names = [*(n for n in _ENDS if counts[n]), *sorted(set(counts) - set(_ENDS))]
  shapes, x = "", 0.
  for name in names:
    width = _WIDTH * counts[name] / counts.total()
    kind = name if name in _ENDS else "other"
    shapes += (f'<rect class="end-{kind}" x="{x:.2f}" y="0" width="{width:.2f}" height="12">'
               f"<title>{html.escape(name)}: {counts[name]:,}</title></rect>")
    x += width
  words = ", ".join(f"{html.escape(name)} {100 * counts[name] / counts.total():.1f}\u2009%"
                    for name in names)
  cut = counts["length"] / counts.total()
  warning = ""
  if cut > _CUT:
    warning = ('<p class="notice">\u26a0 Answers that end by "length" were cut at the limit of new '
               "tokens.</p>")
  return (f'<figure><svg class="plot" role="img" aria-label="ended by {words}" '
          f'viewBox="0 0 {_WIDTH} 12">{shapes}</svg><figcaption>ended by: {words}</figcaption>'
          f"</figure>{warning}")


def _groups(task, rows):
  """Mean score of each group, or share of right answers where a row has no score; worst first."""
  values = collections.defaultdict(list)
  for row in rows:
    if row.get("group") is not None and (score := _score(row)) is not None:
      values[str(row["group"])].append(score)
  if not values:
    return ""
  larger = sorted(values, key=lambda g: (-len(values[g]), g))
  shown, rest = larger[:_GROUPS], larger[_GROUPS:]
  percent = all(0 <= score <= 1 for some in values.values() for score in some)
  top = 1 if percent else max(max(map(statistics.fmean, values.values())), 1e-9)
  number = lambda mean: f"{100 * mean:.1f}" if percent else f"{mean:.3f}"
  lines, more = "", ""
  for group in sorted(shown, key=lambda g: (statistics.fmean(values[g]), g)):
    mean, name = statistics.fmean(values[group]), html.escape(group)
    width = 100 * min(max(mean / top, 0), 1)
    lines += (f'<li><button type="button" data-task="{html.escape(task)}" data-group="{name}" '
              f'title="Show these examples"><span dir="auto">{name}</span>'
              f'<span class="scale"><b style="width:{width:.1f}%"></b></span>'
              f'<span class="mean">{number(mean)}</span>'
              f'<small>{len(values[group]):,}</small></button></li>')
  if rest:
    others = [v for group in rest for v in values[group]]
    more = (f'<p class="legend">{len(rest):,} smaller groups, {len(others):,} examples: '
            f"{number(statistics.fmean(others))}</p>")
  unit = ", in percent" if percent else ""
  return f'<h4>By group{unit}</h4><ul class="groups">{lines}</ul>{more}'


def _score(row):
  score = row.get("score")
  if score is None:
    return None if row.get("correct") is None else float(bool(row["correct"]))
  return float(score) if math.isfinite(score) else None
