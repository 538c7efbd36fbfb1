import os

import pytest

import big_vlm
from tests import commands
from tools import doctor

PINS = 'jax==0.10.2; python_version < "3.12"\njax==0.12.0.1; python_version >= "3.12"\n' \
       "flax==0.12.8\n# a comment\nscikit-learn==1.9.1  # images\n"
GOOD = {"jax": "0.10.2", "jaxlib": "0.10.2", "flax": "0.12.8", "scikit_learn": "1.9.1"}


def statuses(lines):
  return [(line.what, line.status) for line in lines]


def test_what_is_pinned_for_which_python():
  assert doctor.pinned(PINS, "3.11") == {
      "jax": "0.10.2", "flax": "0.12.8", "scikit-learn": "1.9.1"}
  assert doctor.pinned(PINS, "3.12")["jax"] == "0.12.0.1"


@pytest.mark.parametrize("changes, python, want, words", [
    ({}, (3, 11), [("python", "ok"), ("packages", "ok")], "jax 0.10.2, flax 0.12.8"),
    ({}, (3, 10), [("python", "problem"), ("packages", "ok")], "3.11 or later"),
    ({"flax": "0.11.0"}, (3, 11), [("python", "ok"), ("packages", "warning")],
     "flax 0.11.0, not 0.12.8"),
    ({"flax": None}, (3, 11), [("python", "ok"), ("packages", "problem")], "missing: flax"),
    ({"jaxlib": "0.9.0"}, (3, 11),
     [("python", "ok"), ("packages", "ok"), ("jaxlib", "problem")], "jaxlib 0.9.0 beside jax 0.10"),
    ({"jax-cuda12-plugin": "0.10.1"}, (3, 11),
     [("python", "ok"), ("packages", "ok"), ("jaxlib", "problem")], "jax-cuda12-plugin 0.10.1"),
])
def test_packages(changes, python, want, words):
  installed = {n: v for n, v in {**GOOD, **changes}.items() if v}
  lines = list(doctor.packages(PINS, installed, python))
  assert statuses(lines) == want and words in " ".join(line.text for line in lines)
  assert all(bool(line.mend) == (line.status != "ok") for line in lines)


V5E = ["v5e"] * 4


@pytest.mark.parametrize("case, status, words", [
    (dict(chips=[], gpus=0, backend="cpu"), "ok", "none on this machine"),
    (dict(chips=V5E, gpus=0, backend="tpu"), "ok", "4 TPU v5e chips"),
    (dict(chips=[], gpus=2, backend="gpu"), "ok", "2 NVIDIA GPUs"),
    (dict(chips=V5E, gpus=0, backend="cpu"), "problem", 'pip install "jax[tpu]==0.10.2"'),
    (dict(chips=[], gpus=1, backend="cpu"), "problem", 'pip install "jax[cuda13]==0.10.2"'),
    (dict(chips=[], gpus=1, backend="cpu", forced="cpu"), "warning", "unset JAX_PLATFORMS"),
    (dict(chips=[], gpus=1, backend="", forced="cuda", error="no cuDNN",
          installed={**GOOD, "jax-cuda13-plugin": "0.10.2"}), "problem", "no cuDNN"),
    (dict(chips=V5E, gpus=0, backend="", users=[(4711, "python -m x")]), "problem", "kill 4711"),
    (dict(chips=[], gpus=0, backend="", forced="tpu", error="Unable to initialize backend"),
     "problem", "Unable to initialize"),
])
def test_accelerators(case, status, words):
  line, = doctor.accelerator(**{"forced": "", "installed": GOOD, **case})
  assert line.status == status and words in f"{line.text} -> {line.mend}"


@pytest.mark.parametrize("version, cuda, path, want, words", [
    ("", "12", "", [], ""),
    ("535.104.05", "12", "", [("driver", "ok")], "CUDA 12"),
    ("535.104.05", "13", "", [("driver", "problem")], 'jax[cuda12]==0.10.2'),
    ("470.57.02", "12", "", [("driver", "problem")], "install an NVIDIA driver"),
    ("580.65.06", "13", "/usr/local/cuda/lib64", [("driver", "ok"), ("CUDA", "warning")],
     "unset LD_LIBRARY_PATH"),
])
def test_drivers(version, cuda, path, want, words):
  installed = {**GOOD, f"jax-cuda{cuda}-plugin": "0.10.2", f"nvidia-cudnn-cu{cuda}": "9.1"}
  lines = list(doctor.driver(version, installed, path))
  assert statuses(lines) == want
  assert words in " ".join(f"{line.text} {line.mend}" for line in lines)


@pytest.mark.parametrize("free, writable, status", [
    (200, True, "ok"), (20, True, "warning"), (0.5, True, "problem"), (200, False, "problem")])
def test_disk(free, writable, status):
  assert doctor.disk("/w", free * 2**30, writable).status == status


def test_limits():
  assert statuses(doctor.limits(256, 1000)) == [("open files", "warning"),
                                                ("memory maps", "warning")]
  assert {s for _, s in statuses(doctor.limits(2**20, 262144))} == {"ok"}


@pytest.mark.parametrize("kind, flops, right, status", [
    ("cpu", 1e10, True, "ok"), ("NVIDIA H100 80GB HBM3", 700e12, True, "ok"),
    ("NVIDIA H100 80GB HBM3", 100e12, True, "warning"), ("cpu", 1e10, False, "problem")])
def test_speed(kind, flops, right, status):
  assert doctor.speed(kind, flops, right).status == status


def test_who_holds_a_tpu(tmp_path):
  for pid, target in (("12", "/dev/accel0"), ("13", "/dev/null"), ("14", "/dev/vfio/1"),
                      (str(os.getpid()), "/dev/accel0")):
    (tmp_path / pid / "fd").mkdir(parents=True)
    (tmp_path / pid / "fd" / "3").symlink_to(target)
    (tmp_path / pid / "cmdline").write_bytes(b"python\0-m\0trainers.train\0")
  assert sorted(doctor.holders(tmp_path)) == [
      (12, "python -m trainers.train"), (14, "python -m trainers.train")]


def test_a_folder_that_is_yet_to_be_made(tmp_path):
  assert str(tmp_path) in doctor.free_at(tmp_path / "a" / "b").text


def test_the_devices_here_multiply_and_sum():
  assert doctor.product(size=64).status == "ok"
  line = doctor.collective()
  assert line.status == "ok" and "8 devices" in line.text


def test_the_command_as_a_bug_report(tmp_path):
  (tmp_path / "config.json").write_text('{"seed": 5}')
  done = commands.run("tools.doctor", "--workdir", tmp_path, "--report")
  lines = done.stdout.splitlines()
  assert done.returncode == ("problem" in {line.split(" ")[0] for line in lines}), done.stderr
  for what in ("python", "packages", "accelerator", "memory", "matrix product", "collective",
               "disk", "open files", "memory maps"):
    assert any(f" {what}: " in line for line in lines), what
  assert lines[0] == "## What was run" and '{"seed": 5}' in lines
  assert f"big_vlm {big_vlm.__version__}, " in done.stdout and "Last metrics" not in done.stdout
