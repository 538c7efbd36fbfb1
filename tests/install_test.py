"""What `pip install` of the project installs, and that it works from any folder."""
import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement

import big_vlm
from tests.commands import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


@pytest.fixture(scope="module")
def target(tmp_path_factory):
  """A folder with what the wheel installs, without dependencies."""
  folder = tmp_path_factory.mktemp("site")
  subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
                  "--no-build-isolation", "--target", folder, ROOT], check=True)
  return folder


def test_only_what_other_code_imports_is_installed(target):
  assert {p.name for p in target.iterdir()} == {
      "big_vlm", "pp", "evaluators", f"big_vlm-{big_vlm.__version__}.dist-info"}
  assert (target / "big_vlm" / "py.typed").exists()
  assert not [p for p in target.rglob("*") if "test" in p.name or p.name == "conftest.py"]


def test_files_that_are_no_code_are_installed_too(target):
  data = [p.relative_to(ROOT) for package in ("big_vlm", "pp", "evaluators")
          for p in (ROOT / package).rglob("*")
          if p.is_file() and p.suffix in (".html", ".css", ".js", ".model", ".typed", ".gz",
                                            ".safetensors", ".json")
          and not {"golden", "testdata"} & set(p.parts)]
  assert data and not [p for p in data if not (target / p).exists()]


def test_it_is_imported_from_any_folder(target, tmp_path):
  code = ("from importlib import metadata\n"
          "import sys, big_vlm, pp.builder, evaluators.metrics.vqa as vqa\n"
          "assert metadata.version('big_vlm') == big_vlm.__version__\n"
          "print(big_vlm.__file__, pp.builder.__file__, vqa.__file__)\n"
          "vlm = big_vlm.from_preset('digits')\n"  # the model in the box
          "print(vlm.generate('ocr', sys.argv[1])[0].text)")
  done = subprocess.run([sys.executable, "-c", code, ROOT / "docs" / "digits.png"], cwd=tmp_path,
                        text=True, capture_output=True,
                        env={"PYTHONPATH": str(target), "JAX_PLATFORMS": "cpu"})
  assert done.returncode == 0, done.stderr
  assert done.stdout.count(str(target)) == 3
  assert done.stdout.split()[-1] == "386"  # what docs/digits.png shows


def requirements(*extras):
  """{name: Requirement} of the core and of extras, with those that the extras name."""
  found = {}
  for text in PROJECT["dependencies"] + [r for extra in extras for r in EXTRAS[extra]]:
    r = Requirement(text)
    found |= requirements(*r.extras) if r.name == "big_vlm" else {r.name.lower(): r}
  return found


def test_the_lock_has_all_and_lies_in_the_ranges():
  lock = [Requirement(line.partition("#")[0]) for line in (ROOT / "requirements.txt").read_text()
          .splitlines() if re.match(r"\w", line)]
  ranges = requirements("dev")
  assert {r.name.lower() for r in lock} - {"markupsafe"} == set(ranges)
  for r in lock:
    version, = (s.version for s in r.specifier)
    assert r.name == "markupsafe" or ranges[r.name.lower()].specifier.contains(version), r


def test_the_extras_are_there_and_tests_are_not_in_the_core():
  assert set(EXTRAS) == {"train", "eval", "video", "keras", "gcs", "s3", "serve", "demo",
                         "search", "trackers", "tpu", "cuda", "dev"}
  assert not {"pytest", "matplotlib", "tensorflow-datasets", "ruff"} & set(requirements())
