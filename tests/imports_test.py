"""Imports point one way, pp <- big_vlm <- evaluators <- trainers; no TensorFlow, no torch."""
import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
MAY_IMPORT = {  # package: our packages that its files may import
    "pp": {"pp"},
    "big_vlm": {"pp", "big_vlm"},
    "evaluators": {"pp", "big_vlm", "evaluators"},
    "trainers": {"pp", "big_vlm", "evaluators", "trainers"},
    "tools": {"pp", "big_vlm", "evaluators", "trainers", "tools"},
    "configs": {"pp", "configs"},
}


def sources(package):
  """Files of a package; not its tests, nor the scripts in golden/, which import what they compare
  with."""
  return [p for p in sorted((ROOT / package).rglob("*.py"))
          if not p.name.endswith("_test.py") and "golden" not in p.parts]


def imported(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
  files = sources(package)
  assert files
  wrong = [f"{path.relative_to(ROOT)} imports {name}" for path in files for name in imported(path)
           if name.split(".")[0] in set(MAY_IMPORT) - MAY_IMPORT[package]]
  assert not wrong


@pytest.mark.parametrize("package", ["pp", "evaluators/metrics"])
def test_no_jax_in_the_numpy_parts(package):
  assert not [f"{p.name}: {name}" for p in sources(package) for name in imported(p)
              if name.split(".")[0] in ("jax", "flax", "optax")]


def test_everything_imports_without_tensorflow_and_torch():
  modules = [".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
             for package in MAY_IMPORT for p in sources(package)]
  code = ("import importlib, sys\n"
          "class Block:\n"
          "  def find_spec(self, name, *_):\n"
          "    if name.split('.')[0] in ('tensorflow', 'torch', 'keras'):\n"
          "      raise ModuleNotFoundError(name)\n"
          "sys.meta_path.insert(0, Block())\n"
          f"for m in {modules!r}: importlib.import_module(m)\n")
  done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]


def test_a_file_holds_one_idea():
  long = {str(p.relative_to(ROOT)): n for package in MAY_IMPORT for p in sources(package)
          if (n := len(p.read_text().splitlines())) > 500}
  assert not long
