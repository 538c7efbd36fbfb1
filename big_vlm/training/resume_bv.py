"""config.resume of a folder of big_vision: its parameters, Adam's moments and the step.

  opt/1/0/0            the count of updates      the numbers are those of a chain of optax
  opt/1/0/1/img/...    first moments             transformations, which depends on the config
  opt/1/0/2/img/...    second moments
  opt/3/0/0            the count of a schedule
"""
import re

import jax
import numpy as np

from big_vlm import trees
from big_vlm.checkpoints import bv
from big_vlm.formats import param_map
from big_vlm.training import setup

MOMENTS = {"1": "mu", "2": "nu"}


def start(config, s, path):
  """The TrainState of a TrainSetup, from the folder of a step that config.resume means.

  Raises ValueError for an optimizer that is not Adam on either side, and where other parameters
  train here than there: init.model takes the parameters alone.
  """
  arrays = bv.optimizer_arrays(path)
  there = {f"{MOMENTS[m[1]]}/{m[2]}": leaf for name, leaf in arrays.items()
           if (m := re.fullmatch(r"opt/\d+/\d+/([12])/(.+)", name))}
  if config.optimizer.name != "adamw" or not there:
    raise ValueError(f"config.resume={path}: a run of big_vision resumes where both optimizers are "
                     "Adam (optax_name='scale_by_adam' there, adamw here). config.init.model="
                     f"{path} starts from its parameters, with a fresh optimizer.")
  counts = {int(leaf.read(())) for leaf in arrays.values() if leaf.shape == ()}
  if len(counts) != 1:
    raise ValueError(f"config.resume={path}: its counts of updates are {sorted(counts)}, not one "
                     "number.")
  step, = counts
  config = config.copy_and_resolve_references()
  config.init.update(model=path, img="", llm="", txt="")
  state = setup.start(config, s)
  moment = lambda name: re.sub(r"^\d+/(?=(mu|nu)/)", "", name)  # ours, without the chain's number
  here = {moment(n): x.shape for n, x in zip(trees.names(state.opt_state),
                                             jax.tree.leaves(state.opt_state)) if moment(n) != n}
  param_map.compare(there, here, f"the optimizer state of {path}")

  def filled(name, x):
    value = there[moment(name)].read(()) if moment(name) in there else step
    return jax.device_put(np.asarray(value, x.dtype), x.sharding)
  print(f"resuming from step {step} of {path}")
  return state.replace(step=filled("step", state.step),
                       opt_state=trees.map_with_names(filled, state.opt_state))
