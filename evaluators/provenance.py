"""Provenance of an evaluation, to repeat it: config, checkpoint, code, versions, devices."""
import datetime
import hashlib
import importlib.metadata
import pathlib
import platform
import subprocess

import jax
from etils import epath

from big_vlm.checkpoints import manifest

PACKAGES = ("jax", "jaxlib", "flax", "numpy", "pillow", "sentencepiece", "tensorflow-datasets")
ROOT = pathlib.Path(__file__).parent.parent
ENDS = 2**16  # bytes read of each end of a file


def gather(config, config_file, changes, checkpoint):
  """{name: value} for metrics.json.

  config: the ConfigDict of the run; its SHA-256 is recorded. config_file: "path.py:arguments" or
  None. changes: {field: value} that the command line set in it. checkpoint: path of the parameters.
  """
  text = config.to_json_best_effort(sort_keys=True)
  devices = jax.devices()
  return {
      "checkpoint": checkpoint, "checkpoint_sha256": fingerprint(checkpoint),
      "config": {"file": config_file, "changes": {k: str(v) for k, v in changes.items()},
                 "sha256": hashlib.sha256(text.encode()).hexdigest()},
      "code": commit(), "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
      "versions": {"python": platform.python_version(), **versions()},
      "devices": f"{len(devices)} {devices[0].device_kind}", "processes": jax.process_count()}


def fingerprint(checkpoint):
  """SHA-256 that tells checkpoints apart without reading gigabytes; None where there is no file.

  For a training's step it hashes its manifest, which has the checksum of every file; otherwise all
  files' names, sizes and both ends.
  """
  path = epath.Path(checkpoint)
  if not path.exists():
    return None
  found = hashlib.sha256()
  if manifest.exists(path):
    found.update((path / manifest.NAME).read_bytes())
    return found.hexdigest()
  for name, file in sorted(_files(path, "")):
    size = file.stat().length
    found.update(f"{name} {size}\n".encode())
    with file.open("rb") as f:
      found.update(f.read(ENDS))
      f.seek(max(size - ENDS, 0))
      found.update(f.read())
  return found.hexdigest()


def _files(path, name):
  """Pairs (name in the folder, path) of its files, or of the file itself, named ""."""
  if not path.is_dir():
    yield name, path
    return
  for inner in path.iterdir():
    yield from _files(inner, f"{name}/{inner.name}")


def commit():
  """{"commit", "changed": whether files differ from it, or Python files are not in it} of the
  checkout; None outside of one."""
  def git(*args):
    return subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True,
                          check=True, timeout=20).stdout.strip()
  if not (ROOT / ".git").exists():  # a copy inside another project's checkout
    return None
  try:
    return {"commit": git("rev-parse", "HEAD"),
            "changed": bool(git("status", "--porcelain", "--untracked-files=no")
                            or git("ls-files", "--others", "--exclude-standard", "--", "*.py"))}
  except (OSError, subprocess.SubprocessError):
    return None


def versions():
  """{package: version} of those that results may depend on."""
  found = {}
  for name in PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      pass  # not every installation has all
  return found
