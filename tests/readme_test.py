"""Every command and code block of README.md runs; the quickstart in its size for tests."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from tests import commands

BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (commands.ROOT / "README.md").read_text(), re.DOTALL)
BASH, PYTHON, JSON = ([text for kind, text in BLOCKS if kind == language]
                      for language in ("bash", "python", "json"))


def bash(command, folder):
  """Runs a block where `quickstart.py` stands for its size for tests, and nothing is installed."""
  command = command.replace("configs/digits.py ", "configs/digits.py:tiny ")
  command = command.replace("make ", "make -o .venv/installed SIZE=tiny ")
  done = subprocess.run(["bash", "-euc", command], cwd=folder, text=True, capture_output=True,
                        env={**os.environ, "JAX_PLATFORMS": "cpu"}, timeout=400)
  assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
  return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
  """A copy of the files that git has or would add, and the packages of this Python as .venv."""
  folder = tmp_path_factory.mktemp("clone")
  files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=commands.ROOT,
                         check=True, text=True, capture_output=True).stdout.split()
  for name in files:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(commands.ROOT / name, folder / name)
  (folder / ".venv").symlink_to(sys.prefix)
  return folder


@pytest.fixture(scope="module")
def quickstart(project):
  """The project after `make quickstart`, and what that printed."""
  make_quickstart, make_test = BASH[0].splitlines()
  assert "pytest" in bash(make_test.replace("make", "make -n"), project)
  return project, bash(make_quickstart, project)


def test_quickstart_ends_with_figures_report_plot_and_checkpoint(quickstart):
  folder, printed = quickstart
  workdir = folder / "workdirs" / "quickstart"
  for metric in ("answer/acc", "ocr/acc", "caption_de/exact", "detect/AP50"):
    assert re.search(rf"^{metric} +[\d.]+% +[\d.]+% +64$", printed, re.MULTILINE), printed
  for path in ("test/report.html", "test/metrics.json", "training.png"):
    assert (workdir / path).exists() and f"workdirs/quickstart/{path}" in printed
  assert "checkpoint  workdirs/quickstart/checkpoints/20" in printed


def test_predict(quickstart):
  folder, _ = quickstart
  assert "overlay: overlay.png" in bash(BASH[1], folder)
  assert Image.open(folder / "overlay.png").width >= 512


def test_python(quickstart):
  (quickstart[0] / "ask.py").write_text("\n".join(PYTHON[:2]))
  printed = bash(".venv/bin/python ask.py", quickstart[0])
  assert re.search(r" (eos|length) ", printed) and "Generation(text=" in printed


def test_the_same_commands_again(quickstart):
  printed = bash(BASH[2], quickstart[0])
  assert "step 20 of 20 is there: the training is finished" in printed and "report" in printed


def test_other_stacks(quickstart):
  folder, _ = quickstart
  assert "all equal" in bash(BASH[6], folder)
  assert (folder / "workdirs/quickstart-hf/model.safetensors").exists()
  (folder / "there.py").write_text(PYTHON[2])
  assert "[1, 5, 1632]" in bash(".venv/bin/python there.py", folder)


def test_own_images(quickstart):
  folder, _ = quickstart
  (folder / "my").mkdir()
  Image.new("RGB", (40, 30), "gray").save(folder / "my" / json.loads(JSON[0])["image"])
  (folder / "my" / "train.jsonl").write_text(JSON[0])
  assert "contact sheet: sheet.html" in bash(BASH[3], folder)
  printed = bash(BASH[4].replace("steps=1000", "steps=2"), folder)
  assert "batch.html" in printed and "trained to step 2:" in printed


def test_a_task_of_the_papers(project):
  """The model in a size for tests, the release of 20 questions."""
  (project / "configs" / "small.py").write_text("""
from configs.transfers import okvqa
def get_config(arg):
  c = okvqa.get_config(arg)
  c.init.model, c.input.batch_size, c.total_epochs, c.total_steps = "", 2, None, 1
  c.model.img = dict(variant="So400m/14", image_size=448, patch=112, width=8, depth=1, heads=1)
  c.model.llm.update(width=8, depth=1, heads=1, kv_heads=1, head_dim=8, mlp=8)
  c.evals = {"okvqa/val": {**c.evals["okvqa/val"].to_dict(), "batch_size": 4, "max_new_tokens": 2}}
  return c
""")
  raw = project / "downloads" / "okvqa"
  for split in ("train", "val"):
    (raw / f"{split}2014").mkdir(parents=True)
    questions = [dict(question_id=i, image_id=i, question="what?") for i in range(20)]
    answers = [dict(answer="a cat", raw_answer="cat", answer_confidence="yes")]
    annotations = [dict(question_id=i, image_id=i, question_type="one", answer_type="other",
                        answers=answers) for i in range(20)]
    for i in range(20):
      Image.new("RGB", (9, 7)).save(raw / f"{split}2014" / f"COCO_{split}2014_{i:012d}.jpg")
    (raw / f"OpenEnded_mscoco_{split}2014_questions.json").write_text(
        json.dumps(dict(questions=questions)))
    (raw / f"mscoco_{split}2014_annotations.json").write_text(
        json.dumps(dict(annotations=annotations, question_types={"one": "Vehicles"})))
  prepare, train = BASH[5].split("\n", 1)
  assert "okvqa is ready in data/okvqa/1.0.0" in bash(prepare + " --allow_incomplete", project)
  model = f"{commands.ROOT}/tests/golden/tokenizers/gemma/tokenizer.model"
  printed = bash(f"export BIG_VLM_GEMMA_TOKENIZER={model}\n"
                 + train.replace("configs/transfers/okvqa.py", "configs/small.py"), project)
  assert "okvqa/val/accuracy 0.0" in printed and "trained to step 1: " in printed


def test_before_a_long_run(quickstart):
  printed = bash(BASH[7], quickstart[0])
  assert re.search(r"jax +", printed) and "compiling 1 of at most" in printed


def test_every_block_is_run_above():
  assert (len(BASH), len(PYTHON), len(JSON)) == (8, 3, 1)
  assert not re.findall(r"\]\((?!http)([^)#]+)\)", (commands.ROOT / "README.md").read_text())
  folders = re.findall(r"^\| `([\w/.]+)` \|", (commands.ROOT / "README.md").read_text(), re.M)
  assert folders and all((pathlib.Path(commands.ROOT) / name).exists() for name in folders)
