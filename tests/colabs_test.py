"""The notebooks of colabs/ run from the first cell to the last, on a few examples.

Each runs in a new process. As in a notebook, a cell shows the value of its last expression.
"""
import ast
import json
import pathlib
import re
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from pp.locations import parse_objects
from tests import commands

COLABS = commands.ROOT / "colabs"
PARAMETERS = {  # notebook: the values that replace those of its parameter cell
    "decode": dict(IMAGE=str(commands.ROOT / "docs" / "digits.png")),
    "finetune": dict(SIZE="tiny", EXAMPLES=64, STEPS=8),
    "data": dict(SIZE="tiny"),
    "siglip": dict(SIZE="tiny_pairs", MODEL="workdirs/siglip_tiny")}


def cells(name):
  notebook = json.loads((COLABS / f"{name}.ipynb").read_text())
  return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(name):
  """(variables, pictures uint8 [H, W, C]) after all code cells of a notebook."""
  variables, pictures, unset = {"__name__": "__main__"}, [], dict(PARAMETERS[name])

  def show():
    plt.gcf().canvas.draw()
    pictures.append(np.asarray(plt.gcf().canvas.buffer_rgba())[..., :3])
    plt.close("all")
  plt.show = show
  for number, cell in enumerate(cells(name)):
    source = "".join(cell["source"])
    for key in re.findall(r"^(\w+) = .* # @param", source, re.MULTILINE):
      if key in unset:
        source = re.sub(rf"^{key} = .*", f"{key} = {unset.pop(key)!r}", source, flags=re.MULTILINE)
    tree = ast.parse(source, f"{name}.ipynb, code cell {number}")
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"{name}.ipynb, code cell {number}", "exec"), variables)
    if last:
      value = eval(compile(ast.Expression(last.value), f"{name}.ipynb", "eval"), variables)
      if isinstance(value, Image.Image):
        pictures.append(np.asarray(value.convert("RGB")))
  assert not unset, f"{name}.ipynb has no parameters {unset}"
  assert not plt.get_fignums(), "a figure is not shown"
  return variables, pictures


def check_decode(v):
  assert [a.text for a in v["asked"]][1] == v["streamed"]
  assert {a.finish_reason for a in v["asked"]} <= {"eos", "length"}
  assert len({a.text for sampler, a in v["drawn"] if "temperature" in sampler}) > 1
  for scene, answer in zip(v["scenes"], v["pointed"]):
    said = parse_objects(answer.text)
    assert len(said) == (answer.text.count(";") + 1 if answer.text else 0)
    assert {o.label for o in said} <= set(scene["ocr"])
  assert v["best"] == v["candidates"][np.argmax(v["totals"])]
  np.testing.assert_allclose(v["heat"].sum((1, 2)), 1, rtol=1e-4)
  assert v["sizes"][1] < 0.3 * v["sizes"][0]


def check_finetune(v):
  import jax
  assert v["history"]["step"] == list(range(1, 9))
  assert np.mean(v["history"]["loss"][-2:]) < np.mean(v["history"]["loss"][:2])
  assert len(v["before"]) == len(v["after"]) == len(v["test"]) == 64
  for a, b in ((v["loaded"], v["tuned"].params), (v["handed"].params, v["merged"].params)):
    assert jax.tree.all(jax.tree.map(np.array_equal, a, b))
  for file in ("adapters.safetensors", "peft/adapter_config.json", "hf/config.json"):
    assert (pathlib.Path("workdirs/backwards") / file).exists()


def check_data(v):
  assert v["equal"] == {"from the beginning": True, "another seed": False}
  assert v["weights"].sum() == pytest.approx(11) and len(v["batch"]["text"]) == 8
  last = np.flatnonzero(v["row"]["mask_loss"])[-1] + 4  # the eos, behind 4 image tokens
  assert v["sees"][last, :last + 1].all() and not v["sees"][last - 1, last]
  assert not v["sees"][-1].any()
  want = [np.multiply(box, v["side"]) for box in v["boxed"]["objects/bbox"]]
  np.testing.assert_allclose([o.box for o in v["objects"]], want, atol=v["side"] / 1023)


def check_siglip(v):
  assert v["found"].label == v["choice"][np.argmax(v["found"].logits)]
  scale, bias = (np.asarray(v["vlm"].params[name]) for name in "tb")
  np.testing.assert_allclose(
      v["logits"], v["of_images"] @ v["of_texts"].T * np.exp(scale) + bias, rtol=1e-4)
  assert v["ranks"].keys() == {"a picture's text", "a text's picture"}
  assert v["nearest"][0, 0] == 2 and v["cosines"][0, 0] == pytest.approx(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data_dir):
  """The folder in which notebooks run: it has the prepared data set, and gets their workdirs."""
  folder = tmp_path_factory.mktemp("colabs")
  (folder / "data").symlink_to(data_dir)
  return folder


@pytest.mark.parametrize("name", PARAMETERS)
def test_notebook(name, folder):
  done = commands.run("tests.colabs_test", name, cwd=folder, MPLBACKEND="agg")
  assert done.returncode == 0, f"{done.stdout[-1000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("name", PARAMETERS)
def test_committed_outputs(name):
  """The outputs are for readers on a web page: small, complete, without warnings or local paths."""
  path, pictures = COLABS / f"{name}.ipynb", 0
  assert path.stat().st_size < 300_000
  for cell in cells(name):
    for output in cell["outputs"]:
      assert output["output_type"] != "error" and output.get("name") != "stderr"
      pictures += "image/png" in output.get("data", {})
      text = "".join(output.get("text", [])) + "".join(output.get("data", {}).get("text/plain", []))
      assert not re.search(r"/(home|root|tmp|work|Users|usr)/|Warning|WARNING", text), text
  assert pictures >= 7
  assert [c["execution_count"] for c in cells(name)] == list(range(1, len(cells(name)) + 1))


def test_all_notebooks_are_here():
  assert {path.stem for path in COLABS.glob("*.ipynb")} == set(PARAMETERS)


if __name__ == "__main__":
  found, shown = run(sys.argv[1])
  assert len(shown) >= 7 and all(np.std(picture) > 1 for picture in shown)
  globals()[f"check_{sys.argv[1]}"](found)
