import subprocess
import sys

import jax
import jax.numpy as jnp

from big_vlm import compilation

PROGRAM = """
import jax
from big_vlm import compilation
compilation.cache()
compilation.cache()  # twice is once
jax.jit(lambda x: x @ x)(jax.numpy.ones((4, 4))).block_until_ready()
print(compilation.cache_stats())
"""


def test_a_second_start_reads_what_the_first_compiled(tmp_path):
  def told():
    env = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PLATFORMS": "cpu", "HOME": "/none",
           "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, text=True, check=True,
                          capture_output=True)
    return done.stdout
  first, second = told(), told()
  assert first.startswith("0 cache hits, ") and " 0 misses" not in first
  assert first.endswith(f", in {tmp_path}\n")
  assert " 0 misses" in second and not second.startswith("0 cache hits")


def test_what_was_compiled_ahead_is_not_compiled_again():
  program = jax.jit(lambda x: x + 1)
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
      lambda event, _, **kw: compiled.append(event) if "backend_compile" in event else None)
  x = jnp.ones(3)
  compilation.compile_ahead(program, x)
  before = len(compiled)
  assert before
  program(x)
  assert len(compiled) == before
