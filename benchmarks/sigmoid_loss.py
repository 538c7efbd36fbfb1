"""Memory of the sigmoid loss by batch, for TPU chips that need not be here, by their own compiler.

  python -m benchmarks.sigmoid_loss [--batches 8192 32768 131072] [--topology v5e:16x16]

The loss and its gradient of vectors of 1,152 (So400m): MiB per chip beside those vectors, of
big_vlm/training/sigmoid.py and of the plain loss, whose logits of all pairs the compiler shards as
it sees fit; and the seconds that the compiler estimates. Needs the TPU compiler, as tpu_compile.py.
"""
import argparse
import os

from tools.planning import child

WIDTH = 1152


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--batches", nargs="+", type=int, default=[8192, 32_768, 131_072])
  parser.add_argument("--topology", default="v5e:16x16")
  args = parser.parse_args()
  os.environ |= {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_COMPILATION_CACHE": "0",
                 "TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
  if child.LIBRARY.exists():
    os.environ["TPU_LIBRARY_PATH"] = str(child.LIBRARY)
  print(f"{'batch':>8} {'loss':<8} {'MiB':>8} {'seconds':>8}")
  for batch in args.batches:
    for name in ("ring", "plain"):
      print(f"{batch:8} {name:<8} {'{:8.1f} {:8.4f}'.format(*measure(name, batch, args.topology))}",
            flush=True)


def measure(name, batch, topology):
  """(MiB of temporaries, estimated seconds) per chip."""
  import jax
  import jax.numpy as jnp

  from big_vlm import sharding
  from big_vlm.training import sigmoid
  from tools.planning import program
  from tools.planning.measure import CLOCK, tpu_devices

  def plain(zi, zt, t, b):
    logits = jnp.einsum("ID,TD->IT", zi, zt, precision="highest") * jnp.exp(t)[None] + b[None]
    return -jnp.mean(jnp.sum(jax.nn.log_sigmoid((2 * jnp.eye(batch) - 1) * logits), axis=1))
  loss = {"ring": lambda *args: sigmoid.loss(*args)[0], "plain": plain}[name]
  mesh = sharding.make_mesh(devices=tpu_devices(topology))
  rows, one = sharding.batch_sharding(mesh), jax.ShapeDtypeStruct((1,), jnp.float32)
  vectors = jax.ShapeDtypeStruct((batch, WIDTH), jnp.float32, sharding=rows)
  with jax.set_mesh(mesh):
    step = jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3)),
                   out_shardings=(None, (rows, rows, None, None)))
    compiled = step.lower(vectors, vectors, one, one).compile()
  cycles = sum(cost.cycles for cost in program.costs(compiled.as_text(), {}))
  return (compiled.memory_analysis().temp_size_in_bytes / 2**20,
          cycles / CLOCK[topology.split(":")[0]])


if __name__ == "__main__":
  main()
