"""Bad input gives one clear message (what, where, how to mend) and a non-zero exit."""
import json
import os

import pytest
from PIL import Image

from tests import commands


@pytest.fixture(scope="module")
def config(tmp_path_factory, data_dir):
  """A config file over digits/tiny in data_dir, whose training takes seconds."""
  path = tmp_path_factory.mktemp("configs") / "config.py"
  path.write_text(f"from configs import digits\ndigits.DATA_DIR = {data_dir!r}\n"
                  "def get_config(arg='tiny'):\n  return digits.get_config(arg)\n")
  return path


@pytest.fixture
def own_data(tmp_path, config):
  """(a JSONL of two good lines, the config that trains on it)."""
  Image.new("RGB", (40, 30), "red").save(tmp_path / "good.png")
  lines = [{"image": "good.png", "prefix": "caption en", "suffix": "red"}] * 2
  data = tmp_path / "train.jsonl"
  data.write_text("".join(json.dumps(line) + "\n" for line in lines))
  own = tmp_path / "own.py"
  own.write_text(
      config.read_text().replace("get_config(arg='tiny')", "get_config()").replace(
          "return digits.get_config(arg)", "c = digits.get_config('tiny')") +
      f"  data = dict(name='jsonl', path={str(data)!r})\n"
      "  c.input.mixture = [dict(data=data, pp='decode|resize|text_layout')]\n"
      "  c.evals = {}\n"
      "  c.total_steps = 2\n"
      "  return c\n")
  return data, own


@pytest.fixture
def fails(tmp_path, monkeypatch):
  """A function: what a person reads of a training that must fail."""
  def read(config, *flags, workdir=tmp_path / "w"):
    return commands.error_of(monkeypatch, *commands.train(workdir, *flags, config=config))
  return read


def test_it_ends_with_one_paragraph_and_status_1(tmp_path, config):
  done = commands.run(*commands.train(tmp_path / "w", "--config.optimizer.name=adamx",
                                      config=config))
  assert done.returncode == 1 and "Traceback" not in done.stderr
  assert "error: Unknown optimizer 'adamx'. Did you mean 'adamw'" in done.stderr


def test_good_own_data_trains_and_bad_may_be_skipped(tmp_path, own_data):
  data, config = own_data
  data.write_text(data.read_text() + '{"image": "bad.png", "prefix": "caption en", "suffix": "x"}')
  (data.parent / "bad.png").write_bytes(b"no image")
  done = commands.run(*commands.train(tmp_path / "w", "--config.input.on_error=skip",
                                      config=config))
  assert done.returncode == 0, done.stderr[-3000:]
  assert "train.jsonl:3" in done.stdout and "examples: train.jsonl:3" in done.stdout
  rows = [json.loads(line) for line in (tmp_path / "w/metrics.jsonl").read_text().splitlines()]
  assert rows[-1]["examples/train"] == 32 and sum(row["skipped"] for row in rows) > 5


def test_corrupt_image(own_data, fails):
  data, config = own_data
  whole = (data.parent / "good.png").read_bytes()
  (data.parent / "good.png").write_bytes(whole[:len(whole) // 2])
  error = fails(config)
  assert "`decode` failed on example train.jsonl:" in error
  assert "cannot decode image" in error.lower()


def test_line_that_is_not_json(own_data, fails):
  data, config = own_data
  data.write_text(data.read_text() + "{'image': 'good.png'}\n")
  error = fails(config)
  assert "train.jsonl, line 3 is not JSON" in error and "{'image'" in error


def test_missing_image_file(own_data, fails):
  data, config = own_data
  data.write_text(data.read_text().replace("good.png", "gone.png", 1))
  error = fails(config)
  assert "train.jsonl, line 1: there is no image file" in error and "relative to" in error


def test_unknown_op(own_data, fails):
  data, config = own_data
  config.write_text(config.read_text().replace("resize", "resise"))
  assert "Unknown pp op 'resise'. Did you mean 'resize'?" in fails(config)


@pytest.mark.parametrize("flag,message", [
    ("--config.totalsteps=3", "no field config.totalsteps. Did you mean 'total_steps'?"),
    ("--config.total_steps=many", "total_steps=many: the field is a number"),
])
def test_wrong_config_flag(config, flag, message, fails):
  assert message in fails(config, flag)


def test_config_file_that_is_not_there(fails):
  assert "nowhere.py" in fails("configs/nowhere.py")


def test_data_that_is_not_prepared(tmp_path, fails):
  bare = tmp_path / "bare.py"
  bare.write_text(f"from configs import digits\ndigits.DATA_DIR = {str(tmp_path)!r}\n"
                  "get_config = digits.get_config\n")
  error = fails(f"{bare}:tiny")
  assert f"python -m big_vlm.datasets.prepare digits/tiny --data_dir {tmp_path}" in error


def test_unwritable_workdir(tmp_path, config, fails):
  (tmp_path / "file").write_text("in the way")  # root may write anywhere but not below a file
  error = fails(config, workdir=tmp_path / "file" / "w")
  assert "Cannot write into the workdir" in error and "--workdir" in error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_workdir_without_permission(tmp_path, config, fails):
  tmp_path.chmod(0o500)
  assert "Cannot write into the workdir" in fails(config, workdir=tmp_path / "w")


@pytest.mark.parametrize("args,message", [
    (["evaluators.run", "--config", "{config}", "--init", "nowhere", "--workdir", "{tmp}/e"],
     "Unknown model 'nowhere'"),
    (["tools.predict", "nowhere", "--image", "{tmp}/x.png", "--prompt", "ocr"],
     "Cannot read the image"),
    (["tools.search", "{tmp}", "a cat"], "is no index: tools.index makes one"),
    (["tools.index", "{tmp}/none", "--model", "digits", "--out", "{tmp}/i"],
     "there is no such folder"),
])
def test_missing_checkpoint_or_image(tmp_path, config, args, message, monkeypatch):
  args = [a.format(config=config, tmp=tmp_path) for a in args]
  assert message in commands.error_of(monkeypatch, *args)
