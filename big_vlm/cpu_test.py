import os
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from big_vlm import cpu
from big_vlm.decode import token_selection
from big_vlm.nn import layers

CODE = """
import resource
import numpy as np
from big_vlm import cpu
from pp.ops_image import resize_image
changed = cpu.keep_freed_memory()
image = np.zeros((480, 640, 3), np.uint8)
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for n in range(60):
  if n == 10:
    before = faults()
  resize_image(image.copy(), (224, 224), antialias=True)
print((faults() - before) / 50, changed)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_an_image_takes_the_memory_of_the_one_before():
  def pages(**environment):
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True,
                          env={**os.environ, **environment}, check=True)
    count, changed = done.stdout.split()
    return float(count), changed
  count, changed = pages()
  assert count < 20 and changed == "True"  # of 4 kB; an image has 225, its parts many more
  assert pages(MALLOC_TRIM_THRESHOLD_="131072")[1] == "False"  # the user's own setting
  assert pages(BIG_VLM_CPU_TUNING="0")[1] == "False"


def program(monkeypatch, tuned):
  """The text of a decode step's head and choice, and of its options."""
  monkeypatch.setenv("BIG_VLM_CPU_TUNING", tuned)
  def step(x, table):
    logits = layers.tied_head(x, table)
    token = token_selection.argmax(logits)
    return token, token_selection.logprob(logits, token)
  return str(jax.make_jaxpr(step)(jnp.ones((2, 4)), jnp.ones((256, 4)))), cpu.lean_options()


def test_one_switch_for_all(monkeypatch):
  plain = program(monkeypatch, "0")
  tuned = program(monkeypatch, "1")
  assert plain[1] is None and plain[0] != tuned[0] and tuned[1]
  with monkeypatch.context() as m:  # for an accelerator the switch does nothing
    m.setattr(jax, "default_backend", lambda: "gpu")
    assert program(m, "1") == plain
