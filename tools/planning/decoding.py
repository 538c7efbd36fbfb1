"""Compiles the two programs of generate() for TPU chips that need not be here: prefill and rounds.

It starts from shapes alone, and takes the programs of big_vlm/decode/generate.py as they are. The
time is the TPU compiler's own estimate of cycles. Copies that run beside the arithmetic have none:
their bytes count at the full bandwidth, as if nothing hid them. A round, one token more of each
request, is a part of a loop over all new tokens, with its part of what is done once before it.

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
from big_vlm.planning import devices, flops
from tools.planning import child, measure, program

LARGEST = 6  # instructions that a result names
ROUNDS = r"jit\(advance\)/while$"  # the loop over tokens


def measure_decoding(model, topology, batch, weights="bfloat16", text_len=16, new=64, mesh=None,
                     save=None):
  """Compiles greedy decoding of `batch` prompts with an image each; returns plain values.

  Args:
    model: the name of a released model, or {"img": ..., "llm": ...} as paligemma.config() takes it.
    topology: TPU chips, such as "v5e:1x1"; needs libtpu.
    weights: "bfloat16", or a row of quantize.KINDS. Activations and cache are bfloat16.
    text_len: text tokens of a prompt.
    new: room for new tokens.
    mesh: as sharding.make_mesh() takes it; None: the tensor axis takes all chips.
    save: prefix of the files for the texts of the compiled programs.

  Raises ValueError for a model, kind of weights or topology that there is not.
  """
  if isinstance(model, str):
    model = presets.resolve(model).config
  generation = topology.split(":")[0]
  chip, chips = devices.find(generation), measure.tpu_devices(topology)
  net = paligemma.PaliGemma(paligemma.config(**model, dtype="bfloat16"))
  mesh = sharding.make_mesh(mesh or {"fsdp": 1, "tensor": -1}, chips)
  params = _params(net, weights, mesh)
  inputs = _inputs(net.config, batch, text_len, mesh)
  like = lambda dtype, *shape: _array(shape, dtype, mesh)
  request = Request(like(jnp.uint32, batch), like(jnp.int32, batch), like(jnp.int32, 1))
  search = samplers.build("greedy")
  kernels = measure.kernel_cycles(net.config, text_len, 1, chip.flops, measure.CLOCK[generation])

  def result(name, lowered, rounds=1):
    began = time.process_time()
    compiled = lowered.compile()
    took, text = time.process_time() - began, compiled.as_text()
    if save:
      pathlib.Path(f"{save}_{name}.hlo").write_text(text)
    costs = program.costs(text, {ROUNDS: rounds}, kernels)
    seconds = lambda cycles: cycles / measure.CLOCK[generation] / rounds
    copied = sum(c.runs * program.copied_beside(c) for c in costs) / chip.bandwidth / rounds
    return compiled, {
        "seconds": seconds(program.total(costs)) + copied, "copies_seconds": copied,
        "compile_seconds": took,  # of processors: more than one may work
        "memory": program.memory(compiled),
        "largest": [(c.name, c.shape, c.source, seconds(c.cycles)) for c in costs[:LARGEST]]}

  with jax.set_mesh(mesh):
    lowered = generate.prefill().lower(net, params, inputs, request, search, new=new, repeat=1,
                                       cache_dtype="bfloat16")
    compiled, prefill = result("prefill", lowered)
    state, carry = jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where),
        lowered.out_info, compiled.output_shardings)
    lowered = generate.advance().lower(net, params, request, search, state, carry,
                                       like(bool, batch), like(jnp.int32))
    _, step = result("rounds", lowered, new)
  work = batch * flops.of_prefill(net.config, text_len)
  # Every weight of the decoder and the whole cache are read once.
  floor = (quantize.nbytes(params["llm"]) + quantize.nbytes(carry)) / len(chips) / chip.bandwidth
  return {
      "chips": len(chips), "compiler": child.compiler(),
      "limit": chip.memory * chip.usable,
      "prefill": prefill | {"mfu": work / len(chips) / prefill["seconds"] / chip.flops},
      "round": step | {"floor_seconds": floor, "bandwidth_share": floor / step["seconds"],
                       "tokens_per_second": batch / step["seconds"]}}


def _array(shape, dtype, mesh, spec=()):
  where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))
  return jax.ShapeDtypeStruct(shape, dtype, sharding=where)


def _params(net, weights, mesh):
  """The shapes of the parameters as from_preset(dtype="bfloat16") and quantize() place them."""
  shapes = jax.eval_shape(lambda: paligemma.init_params(net, jax.random.key(0)))
  params = trees.map_with_names(
      lambda name, x: jax.ShapeDtypeStruct(x.shape, load.dtype_of(name, "bfloat16")), shapes)
  if weights != "bfloat16":
    params = jax.eval_shape(lambda p: quantize.quantize(net, p, weights), params)
  where = sharding.tree_sharding(mesh, params)
  return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
                      params, where)


def _inputs(config, batch, text_len, mesh):
  """What GenerationSession hands to decode()."""
  side, text = config.img.image_size, (batch, text_len)
  where = [sharding.BATCH_AXES]
  return {**{key: _array(text, jnp.int32, mesh, where) for key in
             ("text", "mask_ar", "mask_input")},
          "image": _array((batch, side, side, 3), jnp.uint8, mesh, where),
          "image_index": _array((batch, 1), jnp.int32, mesh, where)}


if __name__ == "__main__":
  child.answer(measure_decoding)
