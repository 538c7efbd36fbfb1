"""Which metrics the evals of a config give, as far as it is known before they are run."""
from big_vlm import distributed
from big_vlm.data import loader, source
from evaluators import decoding
from evaluators.predictions import MissingKey
from pp.names import near_miss

FIRST = 64  # examples that are looked at


def check(metric, evaluators):
  """Raises ValueError, on all processes, where no evaluator gives the metric "eval/metric".

  A metric of a group ("accuracy/simple") is known by its first part: which groups there are, the
  first examples do not tell. An evaluator that cannot score so few is known by its name alone.
  """
  distributed.broadcast_from_primary(lambda: _check(metric, evaluators))


def _check(metric, evaluators):
  found = {}
  for evaluator in evaluators:
    found[evaluator.name] = of(evaluator)
    part = metric.removeprefix(f"{evaluator.name}/")
    if part != metric and (found[evaluator.name] is None
                           or part.partition("/")[0] in {n.partition("/")[0]
                                                         for n in found[evaluator.name]}):
      return
  known = [f"{name}/{part}" for name, parts in found.items() for part in parts or ["..."]]
  raise ValueError(f"config.best.metric: no eval of this config gives {metric!r}."
                   f"{near_miss(metric, known)} There are {', '.join(known) or 'no evals'}.")


def of(evaluator):
  """[metric] that an evaluator gives, or None where the first examples do not tell.

  Raises MissingKey, a ValueError, where they lack what it scores by.
  """
  if evaluator.type == "mean":
    return [evaluator.metric]
  try:
    return [name.removeprefix(f"{evaluator.name}/")
            for name in evaluator.score(empty_predictions(evaluator))]
  except MissingKey:
    raise
  except Exception:  # such as a metric that is undefined where all answers are empty
    return None


def empty_predictions(evaluator):
  """The first examples of an evaluator with empty answers, for which no model is needed."""
  examples = source.get(**evaluator.data)
  batch = loader.collate([evaluator.preprocess(examples[i])
                          for i in range(min(FIRST, len(examples)))])
  device, host = loader.split_batch(batch)
  answer = {"prediction": "", "tokens": [], "logprobs": [], "finish_reason": "eos"}
  return [{**decoding.known_of(device, host, j), **answer, **evaluator.empty(device, j)}
          for j in range(len(device["text"]))]
