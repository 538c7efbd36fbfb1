"""Two trainings never write one work folder; what a dead one left behind is in nobody's way."""
import json
import pathlib

import pytest

from big_vlm import workdir_lock


def test_a_second_one_is_told_who_holds_it(tmp_path):
  with workdir_lock.lock(tmp_path):
    holder = json.loads((tmp_path / workdir_lock.NAME).read_text())
    with pytest.raises(ValueError, match=f"in use .*process {holder['pid']} on {holder['host']}"):
      with workdir_lock.lock(tmp_path):
        pass
  assert not list(tmp_path.iterdir())
  with workdir_lock.lock(tmp_path):
    pass


def test_a_lock_left_behind_is_taken_over(tmp_path, capsys):
  (tmp_path / workdir_lock.NAME).write_text('{"pid": 7, "host": "h", "start": "then"}')
  with workdir_lock.lock(tmp_path):
    said = capsys.readouterr().out
  assert "left by process 7 on h, since then, which is gone" in said and said.count("\n") == 1


@pytest.mark.parametrize("alive", [True, False])
def test_in_an_object_store_signs_of_life_count(tmp_path, monkeypatch, alive):
  monkeypatch.setattr(workdir_lock, "BEAT", 0.02)
  monkeypatch.setattr(workdir_lock.files, "is_local", lambda path: False)
  path = pathlib.Path(tmp_path / workdir_lock.NAME)
  path.write_text('{"pid": 7, "host": "h", "beat": 1}')
  if alive:
    monkeypatch.setattr(workdir_lock.time, "sleep", lambda s: path.write_text(
        '{"pid": 7, "host": "h", "beat": 2}'))
    with pytest.raises(ValueError, match="in use by another training .process 7 on h"):
      with workdir_lock.lock(tmp_path):
        pass
  else:
    with workdir_lock.lock(tmp_path):
      assert json.loads(path.read_text())["pid"] != 7
    assert not path.exists()
