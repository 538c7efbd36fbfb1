"""Strict JAX on 8 fake CPU devices, and small fixtures that many tests share."""
import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest

from tests import commands

# Where bytecode is not kept, each of some 200 commands compiles the project: 0.3 s.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
# Tests compile much and run little: XLA's optimizations would take longer than they save. Without
# them its new emitters are slow: the programs of two files take 61 s of the processor, 25 s with
# those that JAX 0.12 no longer has.
jax.config.update("jax_disable_most_optimizations", True)
FLAGS = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = f"{FLAGS} {commands.OLDER_EMITTERS}"
jax.devices()  # XLA reads the flags now, and never again
os.environ["XLA_FLAGS"] = FLAGS


@pytest.fixture(scope="module", autouse=True)
def forget_compiled():
  """A compiled program holds memory maps; where a process has 65,530, XLA crashes."""
  yield
  jax.clear_caches()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
  """A folder with digits/tiny prepared in it."""
  from big_vlm.datasets import prepare
  folder = tmp_path_factory.mktemp("data")
  prepare.prepare("digits/tiny", str(folder))
  return str(folder)


@pytest.fixture(scope="session")
def tokenizer(data_dir):
  """The tokenizer string of digits/tiny, with loc and seg pieces."""
  return f"sp(model='{data_dir}/digits/tiny/1.0.0/tokenizer.model', tokensets=('loc', 'seg'))"


@pytest.fixture(scope="session")
def mesh1():
  """A mesh of one device."""
  from big_vlm import sharding
  return sharding.make_mesh(devices=jax.devices()[:1])


@pytest.fixture
def rng():
  return np.random.default_rng(0)
