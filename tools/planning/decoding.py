"""Compiles the two programs of generate() for devices that need not be here: prefill and rounds.

It starts from shapes alone, and takes the programs of big_vlm/decode/generate.py as they are. A
round, one token more of each request, is a part of a loop over all new tokens, with its part of
what is done once before it. On a TPU the time is the TPU compiler's own estimate of cycles; copies
that run beside the arithmetic have none: their bytes count at the full bandwidth, as if nothing hid
them. On others it is a roofline (roofline.py) over the program of the GPU's compiler, or over one
for a CPU.

  python -m tools.planning.decoding RESULT.json < request     (child.run starts it)
"""
import pathlib
import time

import jax
import jax.numpy as jnp

from big_vlm import presets, sharding, trees
from big_vlm.adapt import quantize
from big_vlm.checkpoints import load
from big_vlm.decode import generate, samplers
from big_vlm.decode.search import Request
from big_vlm.families import paligemma
from big_vlm.planning import flops
from tools.planning import child, measure, program, roofline

LARGEST = 6  # instructions that a result names
ROUNDS = r"jit\(advance\)/while$"  # the loop over tokens
COPIED = 2**20  # bytes of a copy or conversion that a result names


def measure_decoding(model, batch, topology=None, device=None, count=1, dtype="bfloat16",
                     weights=None, cache=None, text_len=16, new=64, image_size=None, mesh=None,
                     save=None):
  """Compiles greedy decoding of `batch` prompts with an image each; returns plain values.

  Args:
    model: the name of a released model, or {"img": ..., "llm": ...} as paligemma.config() takes it.
    topology, device, count: as measure.measure() takes them.
    dtype: of activations, and of weights that are not quantized.
    weights: a row of quantize.KINDS; None: of `dtype`.
    cache: dtype of keys and values; None: that of activations.
    text_len: text tokens of a prompt.
    new: room for new tokens.
    image_size: another than the model's.
    mesh: as sharding.make_mesh() takes it; None: the tensor axis takes all chips.
    save: prefix of the files for the texts of the compiled programs.

  Raises ValueError for a model, kind of weights, device or topology that there is not.
  """
  chip, chips, compiler = measure.find_devices(topology, device, count)
  net = paligemma.PaliGemma(paligemma.config(**_model(model, image_size), dtype=dtype))
  if (img := net.config.img) and img.image_size < img.patch:
    raise ValueError(f"An image of {img.image_size} pixels has no patch of {img.patch}.")
  mesh = sharding.make_mesh(mesh or {"fsdp": 1, "tensor": -1}, chips)
  params = _params(net, dtype, weights, mesh)
  inputs = inputs_of(net.config, batch, text_len, mesh)
  request = request_of(batch, mesh)
  prefill, step, carry = programs(
      net, params, inputs, request, samplers.build("greedy"), mesh,
      topology=topology, chip=chip, compiler=compiler, new=new, cache=cache or dtype, save=save)
  work = batch * flops.of_prefill(net.config, text_len)
  # Every weight of the decoder and the whole cache are read once.
  floor = (quantize.nbytes(params["llm"]) + quantize.nbytes(carry)) / len(chips)
  used = max(part["memory"]["total"] for part in (prefill, step))
  return {
      "chips": len(chips), "compiler": compiler, "limit": chip.memory * chip.usable,
      "total": used, "fits": used <= chip.memory * chip.usable,
      "weights": quantize.nbytes(params) / len(chips), "carry": quantize.nbytes(carry) / len(chips),
      "prefill": prefill | {"mfu": work / len(chips) / prefill["seconds"] / chip.flops},
      "round": step | {"floor_bytes": floor, "floor_seconds": floor / chip.bandwidth,
                       "bandwidth_share": floor / chip.bandwidth / step["seconds"],
                       "tokens_per_second": batch / step["seconds"]}}


def programs(net, params, inputs, request, search, mesh, *, topology, chip, compiler, new, cache,
             repeat=1, save=None):
  """(costs of prefill, of a round, the carry): the programs of generate.decode(), compiled.

  params, inputs, request: shapes with shardings. topology, chip, compiler: of measure.find_devices.
  Costs have "seconds", "memory" and what _tpu_cost or _roofline_cost adds.
  """
  text_len = inputs["text"].shape[1]

  def result(name, lowered, rounds=1):
    began = time.process_time()
    compiled = lowered.compile()
    took, text = time.process_time() - began, compiled.as_text()
    if save:
      pathlib.Path(f"{save}_{name}.hlo").write_text(text)
    if topology:
      cost = _tpu_cost(text, net.config, text_len, topology.split(":")[0], chip, rounds)
    else:
      cost = _roofline_cost(text, chip, rounds, chip.tf32 if compiler else 1)
    return compiled, cost | {
        "compile_seconds": took,  # of processors: more than one may work
        "memory": program.memory(compiled)}

  with jax.set_mesh(mesh):
    lowered = generate.prefill().lower(net, params, inputs, request, search, new=new, repeat=repeat,
                                       cache_dtype=cache)
    compiled, prefill = result("prefill", lowered)
    state, carry = jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
        lowered.out_info, compiled.output_shardings)
    like = lambda dtype, *shape: _array(shape, dtype, mesh)
    lowered = generate.advance().lower(net, params, request, search, state, carry,
                                       like(bool, len(request.limit)), like(jnp.int32))
    _, step = result("rounds", lowered, new)
  return prefill, step, carry


def _tpu_cost(text, config, text_len, generation, chip, rounds):
  clock = measure.CLOCK[generation]
  kernels = measure.kernel_cycles(config, text_len, 1, chip.flops, clock)
  costs = program.costs(text, {ROUNDS: rounds}, kernels)
  seconds = lambda cycles: cycles / clock / rounds
  copied = sum(c.runs * program.copied_beside(c) for c in costs) / chip.bandwidth / rounds
  return {"seconds": seconds(program.total(costs)) + copied, "copies_seconds": copied,
          "largest": [(c.name, c.shape, c.source, seconds(c.cycles)) for c in costs[:LARGEST]]}


def _roofline_cost(text, chip, rounds, tf32):
  """The instructions that move most, and the copies and conversions of more than COPIED bytes."""
  costs = program.costs(text, {ROUNDS: rounds})
  work = sorted(roofline.work(text, costs, tf32), key=lambda item: -item[2])
  seconds = roofline.seconds(text, costs, chip, tf32)
  row = lambda cost, moved: (cost.name, cost.shape, cost.source, moved / rounds)
  copies = roofline.copies(text)
  return {"seconds": sum(seconds.values()) / rounds,
          "bytes": sum(moved for _, _, moved in work) / rounds,
          "largest": [row(cost, moved) for cost, _, moved in work[:LARGEST]],
          "copies": [(*row(cost, moved), cost.runs / rounds) for cost, _, moved in work
                     if cost.name in copies and cost.bytes > COPIED]}


def _model(model, image_size):
  """What paligemma.config() takes, of a name or of itself."""
  if isinstance(model, str):
    preset = presets.resolve(model)
    if preset is None:
      raise ValueError(f"{model!r} is not the name of a released model. {presets.HOW_TO_LIST}")
    model = preset.config
  if not (model.get("img") and model.get("llm")):
    raise ValueError("A plan of generate() is of a model with an image tower and a decoder.")
  return model | {"img": model["img"] | ({"image_size": image_size} if image_size else {})}


def _array(shape, dtype, mesh, spec=()):
  where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))
  return jax.ShapeDtypeStruct(shape, dtype, sharding=where)


def _params(net, dtype, weights, mesh):
  """The shapes of the parameters as from_preset(dtype=dtype) and quantize() place them."""
  shapes = jax.eval_shape(lambda: paligemma.init_params(net, jax.random.key(0)))
  params = trees.map_with_names(
      lambda name, x: jax.ShapeDtypeStruct(x.shape, load.dtype_of(name, dtype)), shapes)
  if weights:
    params = jax.eval_shape(lambda p: quantize.quantize(net, p, weights), params)
  where = sharding.tree_sharding(mesh, params)
  return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
                      params, where)


def inputs_of(config, batch, text_len, mesh):
  """What GenerationSession hands to decode()."""
  text, where = (batch, text_len), [sharding.BATCH_AXES]
  found = {key: _array(text, jnp.int32, mesh, where) for key in ("text", "mask_ar", "mask_input")}
  if not config.img:
    return found
  side = config.img.image_size
  return found | {"image": _array((batch, side, side, 3), jnp.uint8, mesh, where),
                  "image_index": _array((batch, 1), jnp.int32, mesh, where)}


def request_of(batch, mesh):
  """Of so many answers, with one stop token."""
  like = lambda dtype, *shape: _array(shape, dtype, mesh)
  return Request(like(jnp.uint32, batch), like(jnp.int32, batch), like(jnp.int32, 1))


if __name__ == "__main__":
  child.answer(measure_decoding)
