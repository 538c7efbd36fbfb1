"""The mean of one metric over other evals at the same step, such as XM3600 over 35 languages."""
import math

from evaluators.metrics import groups


class Mean:
  """The mean over `parts`, Evaluators. It is due when all of them are, and has no data itself."""
  type = "mean"

  def __init__(self, name, parts, metric):
    if not parts:
      raise ValueError(f"The eval {name!r} is the mean of no evals: give evals=(...).")
    self.name, self.parts, self.metric = name, parts, metric
    self.steps = math.lcm(*(part.steps for part in parts))  # 0, at the end only, if one has 0
    self.at_start = all(part.at_start for part in parts)

  def score(self, values):
    """{"name/metric": mean} of {"eval/metric": value}, which may hold other values too.

    Raises ValueError where a part gives no such metric.
    """
    wanted = [f"{part.name}/{self.metric}" for part in self.parts]
    if lacking := [name for name in wanted if name not in values]:
      raise ValueError(f"The eval {self.name!r} is the mean of {self.metric!r}, but there is no "
                       f"{lacking[0]!r}; there are {', '.join(values)}.")
    parts = [values[name] for name in wanted]
    return {f"{self.name}/{self.metric}":
            math.nan if any(map(math.isnan, parts)) else groups.mean(parts)}

  def run(self, params, workdir, step):
    """{"name/metric": mean} on process 0; parts that did not run at this step do so now."""
    for part in self.parts:
      if part.last is None or part.last[0] != step:  # a killed training resumed here
        part.run(params, workdir, step)
    values = {name: value for part in self.parts for name, value in part.last[1].items()}
    metrics = self.score(values) if values else {}  # {}: not process 0
    if metrics:
      print(f"  step {step}" + "".join(f"  {k} {v:.4f}" for k, v in metrics.items()), flush=True)
    return {k: v for k, v in metrics.items() if math.isfinite(v)}

  def undefined(self, metric):
    """Why the mean is NaN."""
    return f"{metric} of one of its evals is"

  def in_percent(self, metric):
    return self.parts[0].in_percent(metric)
