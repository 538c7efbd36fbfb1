"""A whole run in gs://: trained, killed, resumed, evaluated, against a server on loopback."""
import json
import re
import signal
import subprocess
import time

import pytest

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
