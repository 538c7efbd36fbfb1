"""Compiles what a step of trainers.tune runs, answers and update, for devices elsewhere.

  python -m tools.planning.tuning RESULT.json < request     (child.run starts it)

The update is the training step of measure.py with `samples` rows for each prompt. The answers are
the two programs of decoding.py, with the parameters as the training holds them; rounds are counted
as if every answer used its max_new_tokens. Rewards, which the host computes, are not in it.
"""
import jax
import ml_collections

from big_vlm.decode import samplers
from big_vlm.training import policy, setup
from tools.planning import child, decoding, measure
from trainers.answers import SAMPLER


def measure_tuning(config, topology=None, device=None, count=1, save=None, **row):
  """measure.measure() of a config that tunes, as nested dicts, with "answers": {"prefill", "round"
  and "seconds": of all answers of a step, "memory": bytes per device}, None for DPO, whose answers
  are given. "fits" is of both, "step_seconds" of the update. row: see measure.measure."""
  where = dict(topology=topology, device=device, count=count)
  update = measure.measure(config, **where, **row, save=save)
  config = ml_collections.ConfigDict(config)
  settings = policy.Settings.of(config)
  if settings.algorithm == "dpo" or "failed" in update:
    return update | {"answers": None}
  chip, targets, compiler = measure.find_devices(**where)
  s = setup.make(config, targets, note=lambda line: None)
  place = lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)
  params = jax.tree.map(place, s.shapes.params, s.shardings.params)
  prompts = config.input.batch_size
  prefill, step, _ = decoding.programs(
      s.model, params, decoding.inputs_of(s.model.config, prompts, settings.prompt_len, s.mesh),
      decoding.request_of(prompts * settings.samples, s.mesh), samplers.build(SAMPLER), s.mesh,
      topology=topology, chip=chip, compiler=compiler, new=settings.max_new_tokens,
      cache=s.model.config.llm.dtype, repeat=settings.samples)
  seconds = prefill["seconds"] + settings.max_new_tokens * step["seconds"]
  # The optimizer's state lies there while answers are written, and what the update compares with.
  used = max(part["memory"]["total"] for part in (prefill, step)) + sum(
      update["static"].get(what, 0) for what in ("optimizer state", "parameters of the start"))
  return update | {
      "answers": {"prefill": prefill["seconds"], "round": step["seconds"], "seconds": seconds,
                  "memory": used},
      "fits": update["fits"] and used <= update["limit"]}


if __name__ == "__main__":
  child.answer(measure_tuning)
