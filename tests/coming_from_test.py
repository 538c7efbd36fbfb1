"""docs/coming_from.md: what stands on the right of its tables is right."""
import contextlib
import functools
import importlib
import io
import re
import zipfile

import pytest

import big_vlm
from big_vlm import presets
from tests import commands

PAGE = (commands.ROOT / "docs" / "coming_from.md").read_text()
BAR = "\0"  # for the | in code, which tables write as \|
ROWS = [line.replace(r"\|", BAR).strip("|").split("|")[1].replace(BAR, "|")
        for line in PAGE.splitlines() if re.match(r"\| (?!.*\| here \|)", line)]
CODE = [code for row in ROWS for code in re.findall("`([^`]+)`", row)]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
  """What the page defines in front of its tables, and STEP, a checkpoint of openpi."""
  folder = tmp_path_factory.mktemp("openpi")
  zipfile.ZipFile(commands.ROOT / "tests" / "golden" / "openpi" / "pi05.zip").extractall(folder)
  found = {"STEP": folder}
  exec(re.search("```python\n(.*?)```", PAGE, re.DOTALL)[1], found)
  return found


@functools.cache
def help_of(module):
  shown = io.StringIO()
  with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
    importlib.import_module(module).main(["--help"])
  return shown.getvalue()


def test_there_are_rows_of_each_kind():
  assert len(ROWS) > 40 and len([c for c in CODE if "(" in c]) > 30


RELEASED = [c for c in CODE if re.match(r'big_vlm.from_preset\("(?!digits)', c)]
PYTHON = [c for c in CODE if c.startswith(("vlm", "big_vlm.", "get_", "list(")) and "(" in c
          and c not in RELEASED]


@pytest.mark.parametrize("code", PYTHON)
def test_python(code, names, monkeypatch, tmp_path):
  (tmp_path / "docs").symlink_to(commands.ROOT / "docs")
  monkeypatch.chdir(tmp_path)
  here = dict(names)
  if " = " in code:  # what has a new vlm marks the old one
    here["vlm"] = big_vlm.from_preset("digits")
  exec(code if " = " in code else f"found = {code}", here)
  assert here.get("found", "assigned") is not None


@pytest.mark.parametrize("code", RELEASED)
def test_released_models_have_these_names(code):
  assert presets.resolve(re.search('"(.*)"', code)[1])


@pytest.mark.parametrize("code", [c for c in CODE if c.startswith("python -m")])
def test_commands_have_these_flags(code):
  module, *flags = re.findall(r"^python -m (\S+)| (--\w+)", code)
  assert all(flag in help_of(module[0]) for _, flag in flags), help_of(module[0])
