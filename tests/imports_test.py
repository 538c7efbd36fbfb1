"""Imports point one way, pp <- big_vlm <- evaluators <- trainers, in no circle, and load little."""
import ast
import graphlib
import json
import pathlib
import resource
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
    "configs": {"pp", "big_vlm", "configs"},
}
COMMANDS = ("trainers.train", "evaluators.run", "big_vlm.datasets.prepare", "big_vlm.presets", "pp",
            *(f"tools.{p.stem}" for p in sorted((ROOT / "tools").glob("*.py"))
              if "cli.run(main)" in p.read_text()))
# Libraries that few commands use, and that take long to import.
HEAVY = ("matplotlib", "tensorboardX", "tensorflow_datasets", "orbax.checkpoint", "grain", "h5py",
         "scipy", "sklearn", "streamlit", "av", "pyarrow")


def sources(package):
  """Files of a package; not its tests, nor the scripts in golden/, which import what they compare
  with."""
  return [p for p in sorted((ROOT / package).rglob("*.py")) if p.name != "conftest.py"
          and not p.name.endswith("_test.py") and "golden" not in p.parts]


def module(path):
  return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(p): p for package in MAY_IMPORT for p in sources(package)}


def imported(path, functions=True):
  """Names of the modules that a file imports; without functions, those that importing it loads."""
  nodes = [ast.parse(path.read_text())]
  while nodes:
    node = nodes.pop()
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      names = [f"{node.module}.{alias.name}" for alias in node.names]
      yield from (name if name in MODULES else node.module for name in names)
    elif functions or not isinstance(node, (ast.FunctionDef, ast.Lambda)):
      nodes += ast.iter_child_nodes(node)


def python(code, *args):
  """What Python code prints, in a process of its own."""
  done = subprocess.run([sys.executable, "-c", code, *args], cwd=ROOT, capture_output=True,
                        text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  return done.stdout


def loaded(code):
  """The modules that are there after some code."""
  return set(python(f"import sys\n{code}\nprint(*sys.modules)").splitlines()[-1].split())


def of(names, modules):
  return {name for name in names if any(m == name or m.startswith(f"{name}.") for m in modules)}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
  files = sources(package)
  assert files
  wrong = [f"{path.relative_to(ROOT)} imports {name}" for path in files for name in imported(path)
           if name.split(".")[0] in set(MAY_IMPORT) - MAY_IMPORT[package]]
  assert not wrong


# Imports within functions count too: they may not hide a circle.
@pytest.mark.parametrize("functions", [False, True])
def test_no_modules_import_each_other_in_a_circle(functions):
  graph = {name: {m for m in imported(path, functions) if m in MODULES and m != name}
           for name, path in MODULES.items()}
  try:
    graphlib.TopologicalSorter(graph).prepare()
  except graphlib.CycleError as e:
    pytest.fail(" is imported by ".join(e.args[1]))


@pytest.mark.parametrize("package", ["pp", "evaluators/metrics"])
def test_no_jax_in_the_numpy_parts(package):
  assert not [f"{p.name}: {name}" for p in sources(package) for name in imported(p)
              if name.split(".")[0] in ("jax", "flax", "optax")]


def test_everything_imports_without_tensorflow_and_torch():
  python("import importlib, sys\n"
         "class Block:\n"
         "  def find_spec(self, name, *_):\n"
         "    if name.split('.')[0] in ('tensorflow', 'torch', 'keras'):\n"
         "      raise ModuleNotFoundError(name)\n"
         "sys.meta_path.insert(0, Block())\n"
         f"for m in {sorted(MODULES)!r}: importlib.import_module(m)\n")


def test_using_a_model_loads_neither_training_nor_what_draws():
  modules = loaded("import big_vlm; big_vlm.VLM; big_vlm.from_preset")
  assert not of(("big_vlm.training", "big_vlm.reporting", "evaluators", *HEAVY), modules)


HELP = """
import contextlib, io, json, runpy, sys, time
for name in json.loads(sys.argv[1]):
  sys.argv, text, begin = [name, '--help'], io.StringIO(), time.process_time()
  with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
    runpy.run_module(name, run_name='__main__', alter_sys=True)
  print(json.dumps([name, text.getvalue(), time.process_time() - begin, list(sys.modules)]))
"""


def test_help_comes_at_once():
  """2 s on the cores where the figures of README.md are from; 4 s of CPU time allow for others. In
  one process: what all of them load is no heavy library, and the first waits for JAX."""
  for line in python(HELP, json.dumps(COMMANDS)).splitlines():
    name, text, seconds, modules = json.loads(line)
    assert text.startswith("usage: ") and "--help" in text, (name, text[:200])
    assert not of(HEAVY, modules) and seconds < 4, name


def test_importing_big_vlm_is_quick():
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert not of(("jax", "flax", *HEAVY), loaded("import big_vlm"))
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_a_file_holds_one_idea():
  long = {name: n for name, path in MODULES.items()
          if (n := len(path.read_text().splitlines())) > 500}
  assert not long
