"""From a config to all that a training needs, on the devices at hand or on those of a topology.

Trainable parameters are float32 whatever the checkpoint's dtype. Under LoRA only the adapters are
trainable, and the base stays in the compute dtype, or is quantized.
"""
import inspect
from typing import Any, NamedTuple

import jax

from big_vlm import config_fields, sharding, trees
from big_vlm.adapt import einsum_hook, lora, quantize
from big_vlm.checkpoints import load
from big_vlm.data import mixture
from big_vlm.families import paligemma
from big_vlm.training import objectives, optim, policy, schedules
from big_vlm.training import step as steps
from pp.names import BIG_VISION, check_names, near_field, new_name

# A TPU gathers weights before it multiplies, instead of multiplying the pieces as they arrive: with
# fsdp=16 those pieces are 128 wide, and adding up their matmuls takes two thirds of the step.
TPU_OPTIONS = {"xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000"}

# Groups whose readers do not check for other fields. One that is not read would be a silent error.
CLOSED = ("input", "init", "lora")


class TrainSetup(NamedTuple):
  model: paligemma.PaliGemma
  mesh: jax.sharding.Mesh
  horizon: schedules.TrainingHorizon
  optimizer: optim.Optimizer
  shapes: steps.TrainState  # of ShapeDtypeStruct
  shardings: steps.TrainState  # of NamedSharding
  step: Any  # jitted (state, batch) -> (state, metrics); the state is donated


def make(config, devices=None, note=print):
  """The TrainSetup of a config for these devices (None: all devices). Computes nothing.

  Call its step under jax.set_mesh(setup.mesh). note: called with a line for each large leaf that is
  replicated.
  """
  if old := [name for name in config if new_name(name, config)]:
    raise ValueError(f"config.{old[0]} is now config.{new_name(old[0], config)}.")
  if odd := sorted(BIG_VISION.keys() & config.keys()):
    raise ValueError(f"config.{odd[0]} is not read.{near_field(odd[0], config)}")
  config_fields.check(config)
  for group in CLOSED:
    check_names(config[group], config_fields.FIELDS[group], f"config.{group}")
  objectives.check(config)
  mesh, horizon = sharding.make_mesh(config.mesh.to_dict(), devices), horizon_of(config)
  if tune := policy.Settings.of(config):
    tune.check(config)
  parts, rows = sharding.batch_rows(mesh) * config.grad_accum_steps, policy.rows(config)
  if rows % parts:
    packed = rows < config.input.batch_size
    raise ValueError(f"A batch of {rows}{' packed rows' * packed}{' answers' * bool(tune)} does "
                     "not divide over the mesh's "
                     f"{sharding.batch_rows(mesh)} devices of data and fsdp times "
                     f"grad_accum_steps={config.grad_accum_steps}: give a multiple of {parts}"
                     + f", times input.row_examples={config.input.row_examples}" * packed + ".")
  model = paligemma.PaliGemma(paligemma.config(**model_args(config, mesh)))
  if tune:
    tune.check_lengths(model.config)
  if config.input.packing != "none" and not model.config.llm:
    raise ValueError(f"config.input.packing={config.input.packing!r} is for texts, and this model "
                     "has no decoder: take 'none'.")
  params = jax.eval_shape(lambda p: _adapted(config, model, p), _shapes(config, model))
  optimizer = optim.make(params, horizon, **_optimizer_args(config))
  shapes = jax.eval_shape(lambda p: steps.start(p, optimizer), params)
  shardings = sharding.state_sharding(
      mesh, shapes, sharding.tree_sharding(mesh, params, config.sharding, note=note))
  step = steps.make_train_step(
      model, optimizer, config.seed, grad_accum_steps=config.grad_accum_steps,
      **config.loss.to_dict())
  if tune:
    step = policy.make_step(step, model, optimizer, tune, config.loss.loss_normalization,
                            config.grad_accum_steps)
  options = TPU_OPTIONS if mesh.devices.flat[0].platform == "tpu" else None
  step = jax.jit(step, donate_argnums=0, out_shardings=(shardings, None), compiler_options=options)
  return TrainSetup(model, mesh, horizon, optimizer, shapes, shardings, step)


def horizon_of(config):
  """The config's TrainingHorizon; it asks the data for an epoch only where the config counts in
  epochs."""
  batch_size, settings = config.input.batch_size, config.to_dict()
  in_epochs = any(name.endswith("_epochs") and value is not None
                  for name, value in _flat(settings))
  epoch = mixture.epoch(config.input.mixture) if in_epochs else None
  total = schedules.TrainingHorizon(None, batch_size, epoch).steps("total", settings)
  if not total:
    raise ValueError("The config does not say how long to train: give total_steps, total_examples "
                     "or total_epochs.")
  return schedules.TrainingHorizon(total, batch_size, epoch)


def _flat(tree):
  """(key, value) of all dicts in a tree of dicts, lists and tuples."""
  for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
    yield str(key), value
    if isinstance(value, (dict, list, tuple)):
      yield from _flat(value)


def model_args(config, mesh):
  """config.model as paligemma.config takes it, with the dtype that "auto" is on the mesh."""
  args = config.model.to_dict()
  return args | {"dtype": sharding.dtype_on(mesh, args["dtype"])}


def _optimizer_args(config):
  args = config.optimizer.to_dict()
  check_names(args, list(inspect.signature(optim.make).parameters)[2:], "config.optimizer")
  if config.lora.rank:
    args["schedule"] = ((lora.TRAINABLE, _one_schedule(args["schedule"])), (".*", None))
  return args


def _one_schedule(rules):
  if len(rules) != 1 or not rules[0][1]:
    raise ValueError("With config.lora only the adapters are trainable: optimizer.schedule has one "
                     f"rule, ('.*', {{...}}), not {rules!r}.")
  return rules[0][1]


def _dtypes(config, model):
  """Of a leaf and its name, that in which it is stored: (name, x) -> dtype."""
  if not config.lora.rank:
    return lambda name, x: x.dtype
  compute = (model.config.llm or model.config.img).dtype
  return lambda name, x: load.dtype_of(name, compute)


def _shapes(config, model):
  """The parameters without adapters, as shapes."""
  dtype = _dtypes(config, model)
  return trees.nested({n: jax.ShapeDtypeStruct(x.shape, dtype(n, x))
                       for n, x in paligemma.param_shapes(model.config).items()})


def _random(config, model, seed):
  """Randomly initialized parameters, in the dtype in which they are stored."""
  dtype = _dtypes(config, model)
  return trees.map_with_names(lambda n, x: x.astype(dtype(n, x)),
                              paligemma.init_params(model, jax.random.key(seed)))


def lora_scale(config):
  """alpha / rank of the adapters; None: there are none."""
  return config.lora.rank and (config.lora.alpha or config.lora.rank) / config.lora.rank or None


def _adapted(config, model, params):
  if config.quantize:
    if not config.lora.rank:
      raise ValueError(f"config.quantize={config.quantize!r} leaves nothing trainable: give "
                       "config.lora.rank too.")
    params = quantize.quantize(model, params, config.quantize)
  if config.lora.rank:
    args = config.lora.to_dict() | {"targets": config.lora.targets or None}
    params = lora.add(model, params, **args, seed=config.seed)
  return params


def start(config, setup):
  """The TrainState before the first step, of parameters()."""
  begin = jax.jit(lambda p: steps.start(p, setup.optimizer), out_shardings=setup.shardings,
                  donate_argnums=0)
  return begin(parameters(config, setup))


def parameters(config, setup):
  """Those before the first step: from config.init, the rest from the seed, on the mesh."""
  shapes = _shapes(config, setup.model)
  where = jax.tree.map(_of_base, setup.shardings.params, is_leaf=einsum_hook.is_wrapper)
  wanted = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
                        shapes, where)
  loaded = load.start_from(config.init.to_dict(), wanted, setup.model.config)
  bare = {name for name, x in zip(trees.names(loaded), jax.tree.leaves(loaded))
          if isinstance(x, jax.ShapeDtypeStruct)}
  _check_random(config, setup.optimizer, bare)
  random = _random_leaves(config, setup.model, bare, where)
  params = trees.map_with_names(lambda name, x: random.get(name, x), loaded)
  return jax.device_put(_adapted(config, setup.model, params), setup.shardings.params)


def _check_random(config, optimizer, names):
  """Raises ValueError where a part comes from a checkpoint that lacks some of its leaves, `names`,
  which are then random, and these are frozen."""
  init = config.init
  taken = ("",) if init.model else tuple(f"{p}/" for p in ("img", "txt", "llm") if init[p])
  adapters = config.lora.rank
  stuck = sorted(n for n in names
                 if n.startswith(taken) and (adapters or not optimizer.groups[n].schedule))
  if stuck:
    group = "/".join(stuck[0].split("/")[:2])
    freezes, mend = ("config.lora", "Train without adapters") if adapters else (
        "optimizer.schedule",
        f"Let it train, by a rule ('{group}/.*', {{...}}) before the one that freezes")
    raise ValueError(
        f"{stuck[0]} and {len(stuck) - 1} more would stay random: the checkpoint "
        f"{init.model or init[stuck[0][:3]]} has no {group}, or init.dont_load names it, "
        f"and {freezes} freezes it. {mend}, or take another checkpoint.")


def _of_base(wrapper):
  base = getattr(wrapper, "base", wrapper)
  return getattr(base, "q", base)


def _random_leaves(config, model, names, where):
  """{name: array} of these leaves, made on their devices; no other leaf is computed."""
  pick = lambda tree: {n: x for n, x in zip(trees.names(tree), jax.tree.leaves(tree))
                       if n in names}
  make = lambda seed: pick(_random(config, model, seed))
  return jax.jit(make, out_shardings=pick(where))(config.seed) if names else {}
