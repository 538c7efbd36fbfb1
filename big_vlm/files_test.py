import os
import pathlib
import time

import pytest

from big_vlm import files


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
  path = tmp_path / "new" / "report.html"
  files.write_atomic(path, "grün")
  assert path.read_bytes() == "grün".encode()

  def fails(self, data):
    pathlib.Path(os.fspath(self)).write_text(str(data)[:2])
    raise OSError(28, "No space left on device")
  with monkeypatch.context() as m:
    m.setattr(pathlib.Path, "write_bytes", fails)
    with pytest.raises(OSError):
      files.write_atomic(path, b"other")
  assert path.read_text() == "grün"
  files.write_atomic(path, b"other")
  assert [p.name for p in path.parent.iterdir()] == ["report.html"]
  assert path.read_text() == "other"


def test_lines_are_there_as_soon_as_they_are_written(tmp_path):
  file = files.Appender(tmp_path / "rows.jsonl", "head\n")
  for i in range(3):
    file.write(f"{i}\n")
    assert (tmp_path / "rows.jsonl").read_text() == "head\n" + "".join(
        f"{n}\n" for n in range(i + 1))
  file.close()


def test_an_object_is_rewritten_for_a_part_of_the_time(monkeypatch):
  now, stored = [0.0], []

  def write_bytes(self, data):
    now[0] += 1.0  # a rewrite takes a second
    stored.append((now[0], len(data)))
  monkeypatch.setattr(files.time, "monotonic", lambda: now[0])
  monkeypatch.setattr(type(files.epath.Path("x")), "write_bytes", write_bytes)
  monkeypatch.setattr(type(files.epath.Path("x")), "mkdir", lambda *args, **kw: None)
  file = files.Appender("gs://bucket/rows.jsonl")
  for _ in range(100):
    now[0] += 1.0
    file.write(b"x")
  assert len(stored) == 1 + 5 and stored[1][1] == 1  # the first at once, then every 21 seconds
  file.sync()
  file.sync()
  assert stored[-1][1] == 100 and len(stored) == 7
  file.write(b"y")
  file.close()
  assert stored[-1][1] == 101


def test_a_file_is_replaced_whole_and_what_killed_processes_left_goes(tmp_path):
  path = tmp_path / "a[1].bin"
  old, new = (tmp_path / f".a[1].bin.{pid}.part" for pid in (1, 2))
  for left, age in ((old, 2 * files.LEFT), (new, 0)):
    left.write_bytes(b"half")
    os.utime(left, (time.time() - age,) * 2)
  with files.replacing(path) as part:
    part.write_bytes(b"whole")
    assert not path.exists()
  with pytest.raises(OSError, match="cut"), files.replacing(path) as part:
    part.write_bytes(b"ha")
    raise OSError("cut")
  assert path.read_bytes() == b"whole" and sorted(tmp_path.iterdir()) == [new, path]


def test_a_name_stays_inside_its_folder(tmp_path):
  root = tmp_path / "root"
  (root / "sub").mkdir(parents=True)
  (root / "sub/a").write_text("x")
  (root / "link").symlink_to("sub/a")
  (tmp_path / "root2").write_text("x")
  for name in ("sub/a", "link", "sub/new"):
    assert files.inside(root, name) == root / name
  assert str(files.inside("gs://b/root", "x")) == "gs://b/root/x"
  (root / "out").symlink_to("../root2")
  (root / "circle").symlink_to("circle")
  (root / "null").symlink_to("/dev/null")
  (root / "up").symlink_to("..")
  os.mkfifo(root / "fifo")
  for name in ("../root2", "/dev/null", "sub/../link", "a\\..\\b", "a\0", "", ".", "sub", "out",
               "circle", "null", "up/root2", "up/new", "fifo", "x" * 9999, "\ud800", None, 3):
    with pytest.raises(ValueError, match="root: the file name .* and is refused") as e:
      files.inside(root, name)
    assert len(str(e.value)) < 500


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: p.symlink_to("/dev/zero"),
                                  lambda p: p.symlink_to("/etc"), lambda p: p.symlink_to("sub"),
                                  lambda p: p.symlink_to("../outside")],
                         ids=["fifo", "device", "folder outside", "folder", "file outside"])
def test_a_folder_for_a_library_holds_nothing_that_leads_elsewhere(make, tmp_path):
  root = tmp_path / "root"
  (root / "sub").mkdir(parents=True)
  (root / "sub/a").write_text("abc")
  (tmp_path / "outside").write_text("x")
  assert files.sizes_inside(root) == {"sub/a": 3}
  make(root / "odd")
  with pytest.raises(ValueError, match="root: the file name 'odd' .* and is refused"):
    files.sizes_inside(root)


def test_links_of_a_hugging_face_cache_stay(tmp_path):
  snapshot, blobs = tmp_path / "models--o--n/snapshots/1234", tmp_path / "models--o--n/blobs"
  snapshot.mkdir(parents=True), blobs.mkdir()
  (blobs / "sha").write_text("x")
  (snapshot / "config.json").symlink_to("../../blobs/sha")
  assert files.inside(snapshot, "config.json").read_text() == "x"
  (snapshot / "params").mkdir()
  (snapshot / "params/_METADATA").symlink_to("../../../blobs/sha")
  assert files.sizes_inside(snapshot / "params") == {"_METADATA": 1}
