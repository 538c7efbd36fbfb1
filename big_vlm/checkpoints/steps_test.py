"""Saving, keeping, damaging and restoring the steps of a work folder."""
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from big_vlm import sharding
from big_vlm.checkpoints import native, steps
from big_vlm.checkpoints.steps import Checkpoints


def state(value):
  return {"params": {"w": jnp.full((8, 4), value)}, "train": {"step": jnp.int32(value)}}


def like(mesh=None):
  shapes = jax.eval_shape(lambda: state(0.))
  mesh = mesh or sharding.make_mesh(devices=jax.devices()[:1])
  return native.with_sharding(
      shapes, sharding.tree_sharding(mesh, shapes, min_bytes=0, note=lambda line: None))


def save(workdir, *values, **kw):
  with Checkpoints(workdir, **kw) as checkpoints:
    for step in values:
      checkpoints.save(step, state(step))


def there(workdir):
  return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())


def test_newest_step_comes_back(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.latest() is None and checkpoints.newest() is None
    for step in (1, 2, 3):
      checkpoints.save(step, state(step))
    assert checkpoints.newest() == 3
  with Checkpoints(tmp_path) as checkpoints:
    restored = checkpoints.restore(3, like())
  assert restored["params"]["w"].tolist() == state(3)["params"]["w"].tolist()
  assert restored["train"]["step"] == 3


@pytest.mark.parametrize("keep, every, left", [
    (1, 0, [7]), (2, 0, [6, 7]), (2, 3, [3, 6, 7]), (1, 2, [2, 4, 6, 7]), (9, 0, [*range(1, 8)])])
def test_which_steps_stay(tmp_path, keep, every, left):
  save(tmp_path, *range(1, 8), max_to_keep=keep, keep_period=every)
  assert there(tmp_path) == left


def test_saved_on_one_device_restored_on_eight(tmp_path):
  save(tmp_path, 5)
  with Checkpoints(tmp_path) as checkpoints:
    w = checkpoints.restore(5, like(sharding.make_mesh()))["params"]["w"]
  assert len(w.sharding.device_set) == 8 and w.addressable_shards[0].data.shape == (1, 4)
  np.testing.assert_array_equal(w, 5)


def test_a_half_written_step_is_not_there(tmp_path):
  save(tmp_path, 1, 2)
  folder = tmp_path / "checkpoints"
  (folder / "2").rename(folder / "2.orbax-checkpoint-tmp")  # as a kill inside of a save leaves it
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.newest() == 1
    checkpoints.save(2, state(7))  # and the name is free again
  assert there(tmp_path) == [1, 2]  # what was unfinished is gone
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.restore(2, like())["train"]["step"] == 7


def largest(folder):
  files = [p for p in folder.rglob("*") if p.is_file() and "/d/" in str(p)]  # arrays
  return max(files, key=lambda p: p.stat().st_size)


def truncate(folder):
  path = largest(folder)
  path.write_bytes(path.read_bytes()[:-5])


def flip(folder):
  path = largest(folder)
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 4
  path.write_bytes(data)


DAMAGES = {
    "truncated": (truncate, "has .* of .* bytes"),
    "a bit flipped": (flip, "corrupt: its checksum differs"),
    "empty": (lambda f: largest(f).write_bytes(b""), "has 0 of .* bytes"),
    "an array file lost": (lambda f: largest(f).unlink(), "is missing"),
    "metadata of the step lost": (lambda f: (f / "_CHECKPOINT_METADATA").unlink(),
                                  "_CHECKPOINT_METADATA is missing"),
    "metadata of the step empty": (lambda f: (f / "_CHECKPOINT_METADATA").write_text(""),
                                   "_CHECKPOINT_METADATA is corrupt"),
    "metadata of an item lost": (lambda f: (f / "train" / "_METADATA").unlink(),
                                 "train/_METADATA is missing"),
    "manifest damaged": (lambda f: (f / "manifest.json").write_text("{"), "manifest.json is"),
    "manifest and an item lost": (lambda f: [(f / "manifest.json").unlink(),
                                             (f / "params" / "_METADATA").unlink()], "params is"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_corrupt_newest_step_is_skipped_with_one_line(tmp_path, name, capsys):
  damage, words = DAMAGES[name]
  save(tmp_path, 1, 2)
  damage(tmp_path / "checkpoints" / "2")
  with Checkpoints(tmp_path) as checkpoints:
    capsys.readouterr()
    assert checkpoints.newest() == 1
    line, = capsys.readouterr().out.splitlines()
    assert line.startswith("skipping checkpoint 2: ")
    assert re.search(words, line)
    assert checkpoints.restore(1, like())["train"]["step"] == 1
    checkpoints.save(2, state(9))  # the run resumes and saves it again
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.newest() == 2
    assert checkpoints.restore(2, like())["train"]["step"] == 9


def test_a_run_does_not_start_again_because_all_its_steps_are_corrupt(tmp_path):
  save(tmp_path, 1, 2)
  for step in "12":
    flip(tmp_path / "checkpoints" / step)
  with Checkpoints(tmp_path) as checkpoints:
    with pytest.raises(ValueError, match="All checkpoints in .* are corrupt: step 2: .*step 1: "):
      checkpoints.newest()


@pytest.mark.parametrize("listed", [
    '{"files": {"/dev/zero": [0, 0]}}', '{"files": {"params/../../../x": [1, 2]}}',
    '{"files": {"params": [0, 0]}}', '{"files": {"params/a": 3}}', '{"files": ["a"]}', "[]",
    "[" * 10**5])
def test_a_manifest_that_names_devices_or_is_none_is_corrupt(tmp_path, listed):
  (tmp_path / "params").mkdir()
  (tmp_path / "params/a").write_text("x")
  (tmp_path / "manifest.json").write_text(listed)
  assert steps.validation_error(tmp_path).startswith("manifest.json is corrupt")
  (tmp_path / "manifest.json").unlink()
  (tmp_path / "manifest.json").symlink_to("/dev/zero")
  assert "is refused" in steps.validation_error(tmp_path)


def test_a_step_of_a_version_without_manifests_is_read(tmp_path, capsys):
  save(tmp_path, 3)
  (tmp_path / "checkpoints" / "3" / "manifest.json").unlink()
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.restore(checkpoints.newest(), like())["train"]["step"] == 3
  assert "checkpoint 3 has no manifest.json: damage" in capsys.readouterr().out


def test_of_the_parameters_alone_the_optimizer_is_not_checked(tmp_path):
  save(tmp_path, 1, 2)
  flip(tmp_path / "checkpoints" / "2" / "train")
  assert steps.newest(tmp_path / "checkpoints", only="params/") == 2


def test_another_optimizer_or_model_is_one_readable_error(tmp_path):
  def train_state(rule, width):
    params = {"llm": {"w": jnp.ones((4, width)), "b": jnp.ones(width)}}
    return {"params": params, "train": {"opt_state": rule.init(params)}}
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(10, train_state(optax.adam(1.), 3))
    other = jax.eval_shape(lambda: train_state(optax.sgd(1., momentum=0.9), 5))
    with pytest.raises(ValueError) as e:
      checkpoints.restore(10, other)
  assert "is of a run with another model or optimizer" in str(e.value)
  for line in ("params/llm/w is [4, 3], not [4, 5]", "train/opt_state/0/mu/llm/w [4, 3] is not in",
               "train/opt_state/0/trace/llm/b [5] is missing"):
    assert line in str(e.value)
  assert len(str(e.value).splitlines()) < 15


def test_a_path_that_cannot_be_written(tmp_path):
  (tmp_path / "checkpoints").write_text("a file in the way")
  with pytest.raises(OSError, match="Step 1 could not be saved in .*checkpoints.*There is no ear"):
    save(tmp_path, 1)


# A process that may write files of 1 MiB at most: how a disk fills in the middle of a save.
FULL = """
import resource, signal, sys
import jax.numpy as jnp
from big_vlm.checkpoints.steps import Checkpoints
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Checkpoints(sys.argv[1]) as checkpoints:
  checkpoints.save(1, {"params": {"w": jnp.arange(9.)}})
  checkpoints.check() or checkpoints._wait()
  resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
  try:
    import numpy as np
    big = np.random.default_rng(0).random((2**20,), np.float32)  # 4 MiB that do not compress
    checkpoints.save(2, {"params": {"w": jnp.asarray(big)}})
    checkpoints._wait()
  except OSError as e:
    print("said:", e)
  print("newest:", checkpoints.newest())
"""


def test_a_full_disk_leaves_the_last_step_complete(tmp_path):
  done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True,
                        text=True, timeout=120, cwd=pathlib.Path(__file__).parents[2])
  said = [line for line in done.stdout.splitlines() if line.startswith("said:")]
  assert len(said) == 1 and "Step 2 could not be saved" in said[0], done.stdout + done.stderr
  assert "Step 1 there is complete" in said[0]
  assert "newest: 1" in done.stdout and there(tmp_path) == [1]


def test_what_fails_in_the_background_is_told_by_the_next_call(tmp_path, monkeypatch):
  def fails(folder):
    raise OSError(28, "No space left on device")
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state(1))
    checkpoints.newest()  # waits
    monkeypatch.setattr(steps.manifest, "write", fails)
    checkpoints.save(2, state(2))
    with pytest.raises(OSError, match="Step 2 could not be saved.*No space left on device"):
      while True:
        checkpoints.check()
    assert checkpoints.newest() == 1
    checkpoints.check()  # told once


MEMORY = """
import sys
import jax.numpy as jnp
from big_vlm.checkpoints.steps import Checkpoints

def resident():
  return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

state, seen = {"params": {"w": jnp.ones((512, 1024))}, "train": {"m": jnp.ones((512, 1024))}}, []
with Checkpoints(sys.argv[1]) as checkpoints:
  for step in range(50):
    checkpoints.save(step, state)
    seen.append(resident())
print(*seen)
"""


def test_memory_does_not_grow_over_50_saves(tmp_path):
  done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True,
                        text=True, timeout=120, cwd=pathlib.Path(__file__).parents[2])
  seen = [float(x) for x in done.stdout.split()]
  assert len(seen) == 50, done.stderr
  # A state is 4 MiB: one that stays behind in every save would be 160 MiB over the last 40.
  assert max(seen[40:]) - max(seen[5:15]) < 20, seen
