"""Runs the project's commands as a user does, in a process of their own."""
import importlib
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from big_vlm import cli, compilation

ROOT = pathlib.Path(__file__).parent.parent
# XLA_FLAGS for where JAX_DISABLE_MOST_OPTIMIZATIONS is on: conftest.py says what they save.
OLDER_EMITTERS = ("--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
                  if jax.__version_info__ < (0, 12) else "")


# Of a command that compiles much and runs little: a training of digits/tiny takes 42 s of the
# processor instead of 78.
COMPILED_QUICKLY = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
                    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {OLDER_EMITTERS}"}


def run(*args, cwd=ROOT, timeout=300, **env):
  """python -m ARGS -> CompletedProcess with text output; one CPU device."""
  return subprocess.run(**popen_args(args, cwd, env), capture_output=True, timeout=timeout)


def error_of(monkeypatch, *args):
  """What a person reads of the error in which python -m ARGS ends: in this process, where JAX is
  imported already. A process of its own has status 1 then, see bad_input_test.py."""
  module, *argv = map(str, args)
  monkeypatch.setattr(compilation, "cache", lambda: None)  # it would be on for all later tests
  monkeypatch.setattr(cli, "start", lambda args: None)  # it comes before JAX has its devices
  with pytest.raises((ValueError, OSError)) as caught:
    importlib.import_module(module).main(argv)
  return cli.sentence(caught.value)


def popen_args(args, cwd=ROOT, env=()):
  """Keyword arguments for subprocess.Popen or run of python -m ARGS."""
  path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
  return dict(args=[sys.executable, "-m", *map(str, args)], cwd=cwd, text=True,
              env={**os.environ, **COMPILED_QUICKLY, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path,
                   **dict(env)})


def train(workdir, *flags, config="configs/digits.py:tiny"):
  """Arguments of a training run that takes seconds."""
  return ["trainers.train", "--config", config, "--workdir", workdir, *flags]
