"""What metrics.json tells of a run, and the hash that tells checkpoints apart."""
import json
import re

import pytest

from big_vlm.checkpoints import manifest
from configs.transfers import okvqa
from evaluators import provenance


def test_all_that_a_repetition_needs(tmp_path):
  config = okvqa.get_config("res=448")
  (tmp_path / "a.npz").write_bytes(b"1")
  made = lambda c: provenance.gather(c, "configs/transfers/okvqa.py:res=448", {"seed": 3},
                                     str(tmp_path / "a.npz"))
  told = json.loads(json.dumps(made(config)))
  assert told["config"]["file"] == "configs/transfers/okvqa.py:res=448"
  assert told["config"]["changes"] == {"seed": "3"} and "jax" in told["versions"]
  assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*", told["date"]) and told["devices"].startswith("8 ")
  assert told["code"] is None or re.fullmatch(r"[0-9a-f]{40}", told["code"]["commit"])
  assert made(config)["config"]["sha256"] == told["config"]["sha256"]
  config.seed = 3
  assert made(config)["config"]["sha256"] != told["config"]["sha256"]


def test_fingerprints(tmp_path):
  folder = tmp_path / "model"
  (folder / "deep").mkdir(parents=True)
  big = bytearray(3 * provenance.ENDS)
  (folder / "deep" / "w.bin").write_bytes(big)
  seen = [provenance.fingerprint(str(folder))]
  assert provenance.fingerprint(str(folder)) == seen[0]

  def changed():
    seen.append(provenance.fingerprint(str(folder)))
    return seen[-1] not in seen[:-1]
  for place in (0, -1):  # at both ends of a file
    big[place] = 1
    (folder / "deep" / "w.bin").write_bytes(big)
    assert changed()
  (folder / "config.json").write_text("{}")
  assert changed()
  manifest.write(folder)
  assert changed()
  (folder / "config.json").write_text("[]")
  manifest.write(folder)
  assert changed()


@pytest.mark.parametrize("checkpoint", ["pt_224", "/nowhere/at/all"])
def test_no_file_no_fingerprint(checkpoint):
  assert provenance.fingerprint(checkpoint) is None


def test_no_commit_outside_a_checkout(monkeypatch, tmp_path):
  monkeypatch.setattr(provenance, "ROOT", tmp_path)
  assert provenance.commit() is None
  (tmp_path / ".git").mkdir()  # git finds no repository in it
  assert provenance.commit() is None
