"""The plot of a training: training.png."""
import io

from etils import epath

from big_vlm import files, metric_writer


def plot(workdir):
  """Draws metrics.jsonl as training.png (loss, learning rate, evaluations); returns its path.

  The loss of validation data, that of evals of perplexity and sigmoid, is drawn over that of the
  training.
  """
  rows = metric_writer.read_metrics(epath.Path(workdir) / "metrics.jsonl")
  series = {}
  for row in rows:
    for name, value in row.items():
      series.setdefault(name, []).append((row["step"], value))
  panels = {"loss": [n for n in ("loss",) if n in series], "learning rate": ["lr"],
            "evaluation, 0 to 1": [], "evaluation, other scales": []}
  for name in sorted(n for n in series if "/" in n and not n.startswith("examples/")):
    fraction = max(value for _, value in series[name]) <= 1
    panel = "loss" if name.endswith(("/nll", "/loss")) else (
        "evaluation, 0 to 1" if fraction else "evaluation, other scales")
    if not name.endswith(("/nll_per_token", "/perplexity")):  # the same curve on other scales
      panels[panel].append(name)
  panels = {title: names for title, names in panels.items() if names and names[0] in series}
  from matplotlib.figure import Figure  # here: slow to import
  from matplotlib.ticker import LogFormatter

  class Plain(LogFormatter):
    """0.06 in place of 6 x 10^-2, at the ticks that LogFormatter chooses."""
    def __call__(self, x, pos=None):
      return f"{x:g}" if super().__call__(x, pos) else ""

  figure = Figure(figsize=(4.5 * len(panels), 3.4), layout="constrained")
  for axes, (title, names) in zip(figure.subplots(1, len(panels), squeeze=False)[0],
                                  panels.items()):
    for name in names:
      axes.plot(*zip(*series[name]), label=name, marker="o" if len(series[name]) < 30 else None,
                markersize=3, linewidth=1.4)
    axes.set(title=title, xlabel="step")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if title == "loss" and min(value for name in names for _, value in series[name]) > 0:
      axes.set_yscale("log")  # a weighted likelihood has any sign
      axes.yaxis.set_major_formatter(Plain())
      axes.yaxis.set_minor_formatter(Plain())
    if "/" in names[-1]:
      axes.legend(fontsize=7)
  path, png = epath.Path(workdir) / "training.png", io.BytesIO()
  figure.savefig(png, format="png", dpi=130)
  files.write_atomic(path, png.getvalue())
  return path
