"""A whole run in gs://: trained, killed, resumed, evaluated, against a server on loopback."""
import io
import json
import re
import signal
import subprocess
import time

import pytest
from PIL import Image

from tests import commands, gcs_server
from tests.resume_test import write_config

pytest.importorskip("gcsfs")  # pip install gcsfs, as for any gs:// path

STEPS = 6
EVAL = ('evals = {"ocr": {**digits.get_config("tiny").evals.ocr.to_dict(), "steps": 0, '
        '"max_new_tokens": 2}}')


def start(workdir, config, env, *flags):
  return subprocess.Popen(
      **commands.popen_args(commands.train(workdir, *flags, config=config), env=env),
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process):
  said = process.communicate(timeout=300)[0]
  assert process.returncode == 0, said[-3000:]
  return said


def losses(data):
  """{step: loss} of the bytes of a metrics.jsonl, which has each step once."""
  rows = [row for row in map(json.loads, data.decode().splitlines()) if "loss" in row]
  assert len({row["step"] for row in rows}) == len(rows)
  return {row["step"]: row["loss"] for row in rows}


def test_a_workdir_in_an_object_store(tmp_path, data_dir):
  config = write_config(tmp_path, data_dir, f"total_steps = {STEPS}", "checkpoint_steps = 2", EVAL)
  finish(start(tmp_path / "local", config, {}))
  with gcs_server.serve() as server:
    there = lambda name: server.objects.get(("bucket", name), (0, None))[1]
    victim = start("gs://bucket/W", config, server.environment())
    deadline = time.monotonic() + 200
    while there("W/checkpoints/2/commit_success.txt") is None and time.monotonic() < deadline:
      assert victim.poll() is None, victim.communicate()[0][-3000:]
      time.sleep(0.005)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert "resuming from step" in finish(
        start("gs://bucket/W", config, server.environment(), "--profile_steps", "1"))
    finish(subprocess.Popen(**commands.popen_args(
        ["evaluators.run", "--config", config, "--init", "gs://bucket/W", "--workdir",
         "gs://bucket/E"], env={**server.environment(), "BIG_VLM_CACHE": str(tmp_path / "cache")}),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT))

    local = (tmp_path / "local" / "metrics.jsonl").read_bytes()
    assert losses(there("W/metrics.jsonl")) == losses(local) and len(losses(local)) == STEPS
    names = [name for _, name in server.objects]
    for pattern in ("W/config.json", "W/model.json", "W/tokenizer.model", "W/training.png",
                    "W/tensorboard/events.*", f"W/predictions/ocr-{STEPS}.jsonl",
                    f"W/checkpoints/{STEPS}/manifest.json", "W/profile/.*xplane.pb",
                    "E/metrics.json", "E/report.html", "E/predictions/ocr.jsonl"):
      assert any(re.fullmatch(pattern, name) for name in names), pattern
    assert there(f"W/predictions/ocr-{STEPS}.jsonl") == (
        tmp_path / f"local/predictions/ocr-{STEPS}.jsonl").read_bytes()
    kept = {name.split("/")[2] for name in names if name.startswith("W/checkpoints/")}
    assert kept == {"4", "6"}  # older and unfinished ones are gone
    assert not any("partial" in name or name.endswith(".tmp") for name in names)


def test_predictions_of_pictures_in_an_object_store(tmp_path):
  """A folder, a pattern and a JSONL there are what they are here, and so are the answers."""
  lines = "".join(json.dumps({"image": f"{i}.png", "prompt": "ocr"}) + "\n" for i in range(3))
  (tmp_path / "in").mkdir()
  with gcs_server.serve() as server:
    for i in range(3):
      Image.new("RGB", (40, 30), (80 * i, 0, 0)).save(picture := io.BytesIO(), "PNG")
      (tmp_path / "in" / f"{i}.png").write_bytes(picture.getvalue())
      server.objects["bucket", f"in/{i}.png"] = (i + 1, picture.getvalue())
    server.objects["bucket", "in/notes.txt"] = (8, b"mine")
    server.objects["bucket", "in/ask.jsonl"] = (9, lines.encode())
    (tmp_path / "in" / "ask.jsonl").write_text(lines)
    script = tmp_path / "ask.py"
    script.write_text("""
import sys
from big_vlm import cli
from tools import predict
cli.start = lambda args: None  # JAX can be started once in a process
for where in ("gs://bucket", sys.argv[1]):
  for i, (name, prompt) in enumerate((("", "ocr"), ("/*.png", "ocr"), ("/ask.jsonl", None))):
    predict.main(["digits", "--input", f"{where}/in{name}", "--out", f"{where}/{i}.jsonl",
                  *(("--prompt", prompt) if prompt else ())])
""")
    done = subprocess.run([commands.sys.executable, script, tmp_path], cwd=commands.ROOT,
                          env={**commands.popen_args([], env=server.environment())["env"],
                               "BIG_VLM_CACHE": str(tmp_path / "cache")},
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 files of gs://bucket/in are neither" in done.stdout
    names = sorted(name for _, name in server.objects if not name.startswith("in/"))
    assert names == ["0.jsonl", "1.jsonl", "2.jsonl"]
    for name in names:
      there = server.objects["bucket", name][1]
      assert there == (tmp_path / name).read_bytes() and there.count(b"\n") == 3
