"""Every command and code block of README.md and docs/ runs, in a size for tests."""
import contextlib
import inspect
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import big_vlm
from big_vlm.datasets import digits
from configs.common import train
from docs import draw_mask
from evaluators import common
from pp.builder import get_preprocess_fn
from pp.registry import OPS
from tests import commands

PAGES = [commands.ROOT / "README.md", *sorted((commands.ROOT / "docs").glob("*.md"))]


def blocks(page, kind):
  """The code blocks of a kind on README.md, or on docs/PAGE.md."""
  path = next(p for p in PAGES if p.stem == page)
  return [text for language, text in re.findall(r"```(\w*)\n(.*?)```", path.read_text(), re.DOTALL)
          if language == kind]


def small(command):
  """The command where the data sets are those for tests, and nothing is installed."""
  command = command.replace("configs/digits.py ", "configs/digits.py:tiny ")
  command = command.replace("digits/small", "digits/tiny").replace("digits/swedish", "digits/tiny")
  command = command.replace("configs/quickstart.py ", "configs/quickstart.py:tiny ")
  return command.replace("make ", "make -o .venv/installed DATA=tiny ")


def bash(command, folder, env=commands.COMPILED_QUICKLY):
  """Runs a block, in the size for tests."""
  done = subprocess.run(["bash", "-euc", small(command)], cwd=folder, text=True, timeout=400,
                        capture_output=True, env={**os.environ, "JAX_PLATFORMS": "cpu", **env})
  assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
  return done.stdout


TOGETHER = """
import importlib, json, runpy, sys
sys.path.insert(0, "")
from big_vlm import cli
cli.start = lambda args: None  # each would join the other processes, which is once a process
for name, *args in json.loads(sys.stdin.read()):
  if name.endswith(".py"):
    runpy.run_path(name)
  else:
    try:
      importlib.import_module(name).main(args)
    except SystemExit as e:
      if e.code:
        raise
"""


def together(command, folder):
  """bash() of commands of this project alone, in one process: each would import JAX for seconds."""
  said = small(command).replace(".venv/bin/python ", "said ")
  said = f"said() {{ printf '%s\\n' .venv/bin/python \"$@\"; }}\n{said}"
  lines = subprocess.run(["bash", "-euc", said], cwd=folder, check=True, text=True,
                         capture_output=True).stdout.split("\n")
  calls = []
  for line in lines[:-1]:
    if line == ".venv/bin/python":
      calls.append([])
    elif line != "-m" or calls[-1]:
      calls[-1].append(line)
  done = subprocess.run([sys.executable, "-c", TOGETHER], cwd=folder, text=True,
                        input=json.dumps(calls), capture_output=True, timeout=400, env={
                            **os.environ, "JAX_PLATFORMS": "cpu", **commands.COMPILED_QUICKLY})
  assert done.returncode == 0, f"{calls}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
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


def test_two_commands(project):
  """The quickstart of 4 steps, what it printed, and a question to its model."""
  make_quickstart, make_test = blocks("README", "bash")[0].splitlines()
  assert "pytest" in bash(make_test.replace("make", "make -n"), project)
  printed = bash(make_quickstart, project)
  assert re.search(r"^metric +before +after +examples$", printed, re.MULTILINE), printed
  assert re.search(r"^swedish/acc +[\d.]+% +[\d.]+% +64$", printed, re.MULTILINE), printed
  for path in ("after/report.html", "after/metrics.json", "training.png"):
    assert (project / "workdirs" / "quickstart" / path).exists()
    assert f"workdirs/quickstart/{path}" in printed
  assert "overlay: overlay.png" in bash(blocks("README", "bash")[1], project)
  assert Image.open(project / "overlay.png").width >= 512


def test_python(project):
  (project / "ten_lines.py").write_text(blocks("README", "python")[0] + "\nprint('--')")
  (project / "use.py").write_text("\n".join(blocks("use", "python")))
  ten_lines, use = together(".venv/bin/python ten_lines.py\n.venv/bin/python use.py",
                            project).split("\n--\n")
  assert re.search(r" (eos|length) ", ten_lines) and "Generation(text='a person'" in ten_lines
  assert "Generation(text=" in use


def test_many_images(project):
  pictures = len([*(commands.ROOT / "docs").glob("*.png")])
  assert f"{pictures} of {pictures} requests answered" in bash(*blocks("use", "bash"), project)
  shown, = map(json.loads, blocks("use", "json"))
  answers = (project / "workdirs/answers.jsonl").read_text().splitlines()
  answer = next(a for a in map(json.loads, answers) if a["id"] == shown["id"])
  assert list(answer) == list(shown) and list(answer["detections"][0]) == list(
      shown["detections"][0])
  assert (project / "workdirs/answers.html").exists()


def test_other_stacks(project):
  convert, conform = blocks("weights", "bash")
  (project / "there.py").write_text(*blocks("weights", "python"))
  printed = together(convert + ".venv/bin/python there.py", project)
  assert "all equal" in printed and "[1, 5, 1632]" in printed
  printed = bash(f"({conform.strip()}) 2>&1 || true", project)
  assert "all agree" in printed or "This installs it" in printed
  assert (project / "workdirs/digits-hf/model.safetensors").exists()


def test_siglip(project):
  """The quickstart of 4 steps; its model in the place of the released one."""
  quickstart, vlm, find, convert, train = blocks("siglip", "bash")
  planned = bash(quickstart.replace("make ", "make -n PAIRS=tiny_pairs "), project)
  steps = re.findall(r"^\.venv.*", planned.replace("\\\n", " "), re.MULTILINE)
  assert len(steps) == 3
  tiny = lambda text: text.replace("google/siglip2-base-patch16-256", "workdirs/siglip")
  (project / "embed.py").write_text(tiny(*blocks("siglip", "python")))
  (project / "pairs").mkdir()
  shutil.copy2(project / "docs" / "digits.png", project / "pairs")
  line = json.dumps({"image": "digits.png", "text": ["handwritten digits", "Nine"]})
  for name in ("train", "val"):
    (project / "pairs" / f"{name}.jsonl").write_text("\n".join([line] * 8))
  train = train.replace(",data=", ",steps=2,data=")
  vlm = vlm.replace("vlm.py", "vlm.py:size=tiny_pairs,steps=3")
  printed = together("\n".join([*steps, ".venv/bin/python embed.py",
                                tiny(vlm + find + convert + train)]), project)
  assert re.search(r"^pairs/txt2img_recall@10 ", printed, re.MULTILINE)
  assert re.search(r"^(digits|boxes|a cat) \[", printed, re.MULTILINE), printed
  assert printed.count("docs/digits.png") >= 3
  assert printed.count("all equal") == 2
  assert "trained to step 3" in printed and "swedish/acc" in printed
  assert "trained to step 2" in printed and "val/loss" in printed and "pairs.html" in printed


def test_own_images(project):
  """300 pictures and 100 others, with captions in a language that the model does not know."""
  (project / "my").mkdir()
  line, = blocks("own_data", "json")
  config = next(c for c in digits.Digits.BUILDER_CONFIGS if c.name == "swedish")
  for split, count in (("train", 300), ("val", 100)):
    lines = []
    for i, scene in enumerate(digits.scenes(config, split, count)):
      Image.fromarray(scene["image"]).save(project / "my" / f"{split}{i}.png")
      caption = dict(zip(scene["questions"], scene["answers"]))["caption sv"]
      lines.append(json.dumps({**json.loads(line), "image": f"{split}{i}.png",
                               "prefix": "caption sv", "suffix": caption}))
    (project / "my" / f"{split}.jsonl").write_text("\n".join(lines))
  shutil.copy2(project / "my" / "val0.png", project / "my" / json.loads(line)["image"])
  look, train, _ = blocks("own_data", "bash")
  assert "contact sheet: sheet.html" in bash(look, project)
  short = blocks("README", "bash")[2]
  assert train in short
  printed = bash(short, project, env={})
  assert "batch.html" in printed and "trained to step 300:" in printed and "overlay" in printed
  assert re.search(r"^config.text_len +32  24 are in my/train.jsonl, line 2, ", printed, re.M)
  assert float(re.findall(r"val/acc ([\d.]+)", printed)[-1]) >= 0.7, printed  # README: 0.76
  assert "as configured" in bash(*blocks("memory", "bash"), project)


def test_data_in_other_forms(project):
  """Small files of `datasets` and webdataset in the place of a user's."""
  golden = project / "big_vlm" / "data" / "golden"
  for name in ("hub", "tars"):
    shutil.copytree(golden / name, project / "my" / name)
  _, _, look = blocks("own_data", "bash")
  shown = together(look, project)
  assert "the batch of step 1: 8 examples" in shown and "train-00000-of-00002.parquet:" in shown
  (project / "mix.py").write_text(*blocks("own_data", "python"))
  shown = bash(look.replace("configs/forkme.py", "mix.py"), project)
  assert re.search(r"^train-00000[01].tar:a/000[0-4] of train#1 ", shown, re.M), shown


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
  prepare, train = blocks("papers", "bash")[0].split("\n", 1)
  assert "okvqa is ready in data/okvqa/1.0.0" in bash(prepare + " --allow_incomplete", project)
  model = f"{commands.ROOT}/tests/golden/tokenizers/gemma/tokenizer.model"
  printed = bash(f"export BIG_VLM_GEMMA_TOKENIZER={model}\n"
                 + train.replace("configs/transfers/okvqa.py", "configs/small.py"), project)
  assert "okvqa/val/accuracy 0.0" in printed and "trained to step 1: " in printed


def test_is_it_better(project):
  printed = together(blocks("compare", "bash")[0].replace("--limit 400", "--limit 20"), project)
  assert re.search(r"^difference +int4 - whole +95 % interval +p +test$", printed, re.MULTILINE)
  assert re.search(r"^swedish/acc .* McNemar$", printed, re.MULTILINE), printed
  assert "is of a sample, 20 of 64 examples" in printed
  assert (project / "workdirs/compare.html").exists()


@contextlib.contextmanager
def served(start, folder):
  """Starts a server as a user does, on a port that is free; gives what puts the port into a text.
  It ends with status 0."""
  with socket.create_server(("127.0.0.1", 0)) as free:
    port = str(free.getsockname()[1])
  there = lambda text: text.replace("8000", port)
  small = " --max_prompt_tokens 16 --slots 2"
  server = subprocess.Popen(["bash", "-euc", f"exec {there(start).strip()}{small}"], cwd=folder,
                            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env={**os.environ, "JAX_PLATFORMS": "cpu", **commands.COMPILED_QUICKLY})
  try:
    assert any(f":{port}/v1" in line for line in server.stdout)
    yield there
    server.terminate()
    assert server.wait(timeout=60) == 0
  finally:
    server.kill()


def test_serve(project):
  """The server and its two clients."""
  start, ask, conform = blocks("serve", "bash")
  with served(start, project) as there:
    (project / "client.py").write_text(there(*blocks("serve", "python")))
    assert "three digits: 3, 8 and 6" in bash(".venv/bin/python client.py", project)
    printed = bash(there(ask), project)
    assert "data: [DONE]" in printed and "\nok\n" in printed and "big_vlm_steps_total" in printed
    assert "all agree" in together(there(conform), project)


def test_journey(project):
  """16 pictures, 2 steps, and 4 examples of each evaluation."""
  pictures, client = blocks("journey", "python")
  look, train, better, hand_on = blocks("journey", "bash")
  (project / "pictures.py").write_text(pictures.replace("300", "16"))
  own = train.replace("=detect", "=detect,steps=2")
  few = better.replace("--config $OWN", "--config $OWN --limit 4")
  printed = together(look + own + few, project)
  assert "annotated upright; lines are of upright ones: 10" in printed and "sheet.html" in printed
  assert "batch.html" in printed and "trained to step 2:" in printed
  assert re.search(r"^val/AP +[+-].* permutation$", printed, re.M)
  convert, conform, start = hand_on.splitlines()
  assert "phone-hf written" in bash(convert, project)
  printed = bash(f"({conform}) 2>&1 || true", project)
  assert "all agree" in printed or "This installs it" in printed
  with served(start, project) as there:
    (project / "client.py").write_text(there(client).replace("0003", "0000"))
    assert bash(".venv/bin/python client.py", project)  # of two steps, so anything


def test_before_a_long_run_and_during_it(project):
  run, look = blocks("training", "bash")
  first, again = re.split("(?=step 20 of 20 is there: )", together(run + run, project))
  assert "trained to step 20:" in first
  assert again.startswith("step 20 of 20 is there: the training is finished") and "report" in again
  printed = together(look, project)
  assert re.search(r"jax +", printed) and "compiling 1 of at most" in printed


def test_tune(project):
  """The scenes for tests and two steps, with the function of the page beside the boxes."""
  (project / "my").mkdir(exist_ok=True)
  (project / "my" / "rewards.py").write_text(*blocks("tune", "python"))
  config = project / "configs" / "tune" / "detect.py"
  config.write_text(config.read_text().replace(
      'dict(name="detection")', 'dict(name="detection"), dict(name="my.rewards:brief", weight=.1)'))
  small = "detect.py:size=tiny,steps=2"
  printed = bash(blocks("tune", "bash")[0].replace("detect.py", small).strip()
                 + " --config.log_steps=1 --config.input.batch_size=4", project)
  assert re.search(r"^step 2/2 .* reward ", printed, re.M) and "val/AP " in printed
  rows = [json.loads(line) for line in (project / "workdirs/tuned/metrics.jsonl").open()]
  assert {"reward/brief", "reward_std/detection", "same_reward"} <= set(rows[-1]) | set(rows[1])
  assert (project / "workdirs/tuned/samples.html").exists()
  assert set(json.loads(*blocks("tune", "json"))) == {"image", "prefix", "chosen", "rejected"}


def test_batch(capsys):
  """From the root, as the path of the tokenizer in it says."""
  exec(*blocks("batch", "python"), {})
  assert "mask_ar [0 0" in capsys.readouterr().out
  assert (commands.ROOT / "docs/mask.svg").read_text() == draw_mask.draw()


def test_extend(project, monkeypatch):
  """The op and the metric of the page, and the lines of a config that name them."""
  op, naming, metric, an_eval = blocks("extend", "python")
  (project / "my").mkdir(exist_ok=True)
  (project / "my" / "ops.py").write_text(op)
  (project / "my" / "metrics.py").write_text(metric)
  monkeypatch.syspath_prepend(str(project))
  c = train(tokenizer=f"sp('{commands.ROOT}/big_vlm/digits/tokenizer.model')", text_len=16)
  c.model.img = dict(image_size=16)
  said = {"c": c}
  exec(naming + an_eval.replace("data=...", "data=dict(name='memory', examples=[{}])"), said)
  mine, = common.evaluators(c, None, c.tokenizer, None)
  answers = [{"prediction": "a cat", "suffix": "a dog"}, {"prediction": "", "suffix": "two"}]
  assert mine.score(answers) == {"mine/first_word": 0.5} and mine.in_percent("first_word")
  try:
    negative = get_preprocess_fn(said["pp"].replace("|text_layout", ""))
    image = negative({"image": np.zeros((4, 4, 3), np.uint8)})["image"]
    assert image.shape == (224, 224, 3) and (image == 255).all()
  finally:
    OPS.pop("my.invert")


def test_every_block_is_run_above():
  count = {(page.stem, kind): len(blocks(page.stem, kind)) for page in PAGES
           for kind in ("bash", "python", "json")}
  assert {key: n for key, n in count.items() if n} == {
      ("README", "bash"): 3, ("README", "python"): 1, ("use", "python"): 2,
      ("use", "bash"): 1, ("use", "json"): 1, ("compare", "bash"): 1,
      ("batch", "python"): 1, ("extend", "python"): 4, ("memory", "bash"): 1,
      ("serve", "bash"): 3, ("serve", "python"): 1,
      ("coming_from", "python"): 1,  # in coming_from_test.py
      ("journey", "bash"): 4, ("journey", "python"): 2,
      ("own_data", "bash"): 3, ("own_data", "python"): 1, ("own_data", "json"): 1,
      ("papers", "bash"): 1,
      ("tune", "bash"): 1, ("tune", "python"): 1, ("tune", "json"): 1,
      ("siglip", "bash"): 5, ("siglip", "python"): 1, ("training", "bash"): 2,
      ("weights", "bash"): 2, ("weights", "python"): 1}


def test_contributing_names_what_is_there():
  text = (commands.ROOT / "CONTRIBUTING.md").read_text()
  paths = set(re.findall(r"`((?:[\w.]+/)+[\w.]*)`", text)) - {"golden/make_NAME.py"}
  assert len(paths) > 10 and not [p for p in paths if not (commands.ROOT / p).exists()]
  one = re.search(r"pytest (\S+) -k (\w+)", text)
  assert f"def test_{one[2]}" in (commands.ROOT / one[1]).read_text()
  version = re.search("^version: (.*)$", (commands.ROOT / "CITATION.cff").read_text(), re.M)[1]
  assert version == big_vlm.__version__


def test_links_and_folders_are_there():
  for page in PAGES:
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
      assert (page.parent / link).exists(), f"{page.name}: {link}"
  folders = re.findall(r"^\| `([\w/.]+)` \|", (commands.ROOT / "docs/code.md").read_text(), re.M)
  assert folders and all((pathlib.Path(commands.ROOT) / name).exists() for name in folders)
  assert len(PAGES[0].read_text().splitlines()) <= 100


def test_every_page_is_in_the_book():
  """Its links and anchors are checked where it is built, by make docs."""
  listed = re.findall(r"([\w/]+\.md)$", (commands.ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
  assert sorted(listed) == sorted(page.name for page in PAGES[1:])
  shown = re.findall(r"^::: pp\.(\w+)$", (commands.ROOT / "docs/ops.md").read_text(), re.MULTILINE)
  assert set(shown) == {module.__name__.removeprefix("pp.") for module in map(
      inspect.getmodule, OPS.values()) if module.__name__.startswith("pp.")}


def test_flags_of_commands_in_sentences_are_there():
  """`--flag` of the tool that a sentence or a block names, as its --help has it."""
  there = {}
  for page in PAGES:
    text = page.read_text().replace("\\\n", " ")
    for module, rest in re.findall(
        r"python -m ((?:tools|trainers|evaluators)\.\w+)([^`\n]*)", text):
      source = commands.ROOT / f"{module.replace('.', '/')}.py"
      there[module] = there.get(module) or {
          name for path in (source, commands.ROOT / "big_vlm/cli.py",
                            *source.parent.glob(f"{source.stem}_*.py"))
          for name in re.findall(r'"(--[\w]+)"', path.read_text())}
      for flag in re.findall(r"(?<=\s)--\w+", rest):
        assert flag in there[module] | {"--config"}, f"{page.name}: {module} has no {flag}"
