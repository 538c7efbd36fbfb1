"""Whatever a server does, fetch() gives the whole file or an OSError, and keeps no half of one."""
import gzip
import http.server
import io
import json
import os
import pathlib
import pickle
import subprocess
import sys
import threading
import urllib.parse

import fsspec
import pytest
from PIL import Image

from big_vlm.data import cache, download, source
from big_vlm.data.jsonl import Jsonl

DATA = b"\x89PNG" + bytes(1000)
ANSWERS = {  # path: (headers, body), at the first request; DATA is what comes later
    "/cut": ({"Content-Length": len(DATA)}, DATA[:500]),
    "/chunked": ({"Transfer-Encoding": "chunked"}, b"%x\r\n" % len(DATA) + DATA[:100]),
    "/page": ({"Content-Length": 31}, b" <html>too many requests</html>"),
    "/kind": ({"Content-Length": 4, "Content-Type": "text/html"}, b"slow"),
    "/nothing": ({"Content-Length": 0}, b""),
    "/many": ({"Content-Length": 5000}, bytes(5000)),
    "/length": ({"Content-Length": "x"}, b"a"),
    "/gone": None,
    "/ftp": "ftp://127.0.0.1:1/x", "/file": "file:///etc/passwd", "/data": "data:,x",
    "/busy": 503, "/absent": 404}


class _Handler(http.server.BaseHTTPRequestHandler):
  seen = set()

  def do_GET(self):
    path = urllib.parse.unquote(self.path)
    first = path not in self.seen
    self.seen.add(path)
    answer = ANSWERS.get(path, ({}, DATA)) if first else ({}, DATA)
    if answer is None:
      self.connection.close()
      return
    if isinstance(answer, int):
      return self.send_error(answer)
    if isinstance(answer, str):
      self.send_response(302)
      self.send_header("Location", answer)
      return self.end_headers()
    self.send_response(200)
    for name, value in answer[0].items():
      self.send_header(name, value)
    self.end_headers()
    self.wfile.write(answer[1])

  def log_message(self, *args):
    pass


@pytest.fixture(scope="module")
def url():
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def kept(tmp_path, monkeypatch):
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path))
  monkeypatch.setattr(download, "WAITS", ())
  return tmp_path / "downloads"


@pytest.mark.parametrize("path", [p for p in ANSWERS if p != "/length"])
def test_a_bad_answer_is_an_error_and_the_next_try_gives_the_file(url, kept, path):
  with pytest.raises(OSError):
    download.fetch(url + path, 2000)
  assert not kept.exists()
  assert download.fetch(url + path, 2000) == DATA == next(kept.iterdir()).read_bytes()


@pytest.mark.parametrize("path", ["/a b.png", "/größe/猫.png", "/a%20b.png?x=ü&y=1#z", "/length"])
def test_urls_as_people_write_them(url, kept, path):
  assert download.fetch(url + path, 2000) in (DATA, b"a")


@pytest.mark.parametrize("bad", [
    "http://", "http://127.0.0.1:1/a.png", "http://127.0.0.1:x/", "http://[::1/a", "http://a\x1b/",
    "http://" + "ü" * 99 + "/", "http://\ud83d/"])
def test_urls_that_lead_nowhere(kept, bad):
  with pytest.raises(OSError):
    download.fetch(bad, 2000)


def test_passwords_in_urls_are_refused_and_not_shown(kept):
  for url in ("http://me:secret@127.0.0.1:1/a.png", "HTTPS://secret@host", "http://secret@a#/"):
    with pytest.raises((OSError, ValueError), match="a user name or password") as e:
      download.fetch(url, 2000)
    assert "secret" not in str(e.value)
  assert download.scheme("http://host/a@b.png") == "http"


@pytest.mark.parametrize("path", ["/busy", "/cut", "/gone"])
def test_what_may_pass_is_tried_again(url, kept, path, monkeypatch):
  monkeypatch.setattr(download, "WAITS", (0, 0))
  _Handler.seen.discard(path)
  assert download.fetch(url + path, 2000) == DATA


def test_what_does_not_pass_is_not(url, kept, monkeypatch):
  monkeypatch.setattr(download, "WAITS", (0, 0))
  for path, complaint in (("/absent", "404"), ("/page", "a web page"), ("/many", "more than 0")):
    _Handler.seen.discard(path)
    with pytest.raises(OSError, match=complaint):
      download.fetch(url + path, 2000)


def test_the_cache_is_bounded_and_keeps_what_was_used_last(tmp_path, monkeypatch):
  monkeypatch.setenv("BIG_VLM_CACHE_GB", "0.000001")  # 1000 bytes
  def put(name, used, size=300):
    with cache.writing(tmp_path / name) as part:
      part.write_bytes(bytes(size))
    if (tmp_path / name).exists():
      os.utime(tmp_path / name, (used, used))
  for i in range(3):
    put(str(i), 100 + i)
  cache.read(tmp_path / "0")  # used now
  put("3", 200)
  assert {p.name for p in tmp_path.iterdir()} == {"0", "2", "3"}
  put("large", 300, 5000)
  assert {p.name for p in tmp_path.iterdir()} == {"large"}
  put("x", 300)
  assert (tmp_path / "x").exists() and not (tmp_path / "large").exists()
  assert cache.read(tmp_path / "large") is None
  for bad in ("many", "-1", "0", "nan"):
    monkeypatch.setenv("BIG_VLM_CACHE_GB", bad)
    with pytest.raises(ValueError, match="BIG_VLM_CACHE_GB="):
      cache.limit()


def test_several_processes_share_a_cache_that_is_too_small(url, tmp_path):
  """Each gets whole files, whatever the others remove meanwhile."""
  script = f"""
from big_vlm.data import download
for n in range(150):
  data = download.fetch(f"{url}/shared/{{n % 30}}", 2000)
  assert data == {DATA!r}, len(data)
"""
  env = {**os.environ, "BIG_VLM_CACHE": str(tmp_path), "BIG_VLM_CACHE_GB": "0.00001"}
  running = [subprocess.Popen([sys.executable, "-c", script], env=env) for _ in range(3)]
  assert [p.wait(timeout=100) for p in running] == [0, 0, 0]
  sizes = [p.stat().st_size for p in (tmp_path / "downloads").iterdir()]
  assert set(sizes) == {len(DATA)} and sum(sizes) <= 2e4


@pytest.fixture
def site(tmp_path, monkeypatch):
  """(URL, folder) of a server of files with data/train.jsonl and its image, and no cache yet."""
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(download, "WAITS", ())
  folder = tmp_path / "www"
  (folder / "data").mkdir(parents=True)
  Image.new("RGB", (9, 7)).save(image := io.BytesIO(), "PNG")
  (folder / "data" / "a b.png").write_bytes(image.getvalue())
  (folder / "data" / "train.jsonl").write_text(
      json.dumps({"image": "a b.png", "n": 1}) + "\n" + json.dumps({"image": "no.png", "n": 2}))
  class Quiet(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *args):
      super().__init__(*args, directory=folder)

    def log_message(self, *args):
      pass
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()


def test_a_jsonl_behind_a_url(site, tmp_path):
  """Its images lie beside it; a copy of it is kept until it is changed there."""
  url, folder = site
  data = Jsonl(f"{url}/data/train.jsonl")
  image = (folder / "data/a b.png").read_bytes()
  assert data[0] == {"image": image, "n": 1, "_id": "train.jsonl:1"}
  with pytest.raises(OSError, match=f"{url}/data/train.jsonl, line 2: cannot read {url}/data/no.png"
                                    ": .*404"):
    data[1]
  before = data.fingerprint()
  copies = lambda: len(list((tmp_path / "cache" / "files").iterdir()))
  assert Jsonl(f"{url}/data/train.jsonl?token=x")[0]["n"] == 1 and copies() == 2
  assert Jsonl(f"{url}/data/train.jsonl").fingerprint() == before and copies() == 2
  (folder / "data/train.jsonl").write_text('{"image": "a b.png", "n": 3}')
  os.utime(folder / "data/train.jsonl", (1, 1))
  assert Jsonl(f"{url}/data/train.jsonl").fingerprint() != before and copies() == 3
  (folder / "x.jsonl.gz").write_bytes(gzip.compress(b'{"n": 4}'))
  assert Jsonl(f"{url}/x.jsonl.gz")[0]["n"] == 4
  for name, complaint in (("no.jsonl", "Cannot read the JSONL file .*no.jsonl: .*404"),):
    with pytest.raises(FileNotFoundError, match=complaint):
      Jsonl(f"{url}/{name}")
  for image in ("../x.png", "/etc/passwd", "a\\b"):
    (folder / "bad.jsonl").write_text(json.dumps({"image": image}))
    with pytest.raises(ValueError, match="bad.jsonl, line 1: .* is refused"):
      Jsonl(f"{url}/bad.jsonl")


def test_a_file_of_which_the_server_tells_no_version(site, tmp_path, monkeypatch):
  """Its copy has another name when its content is another, whatever its size."""
  url, folder = site
  monkeypatch.setattr(download, "_version", lambda url: None)
  texts = "one", "one", "two"
  paths = []
  for text in texts:
    (folder / "x.jsonl").write_text(text)
    paths.append(download.local(f"{url}/x.jsonl", 9))
    assert paths[-1].read_text() == text and download.is_copy(str(paths[-1]))
  assert paths[0] == paths[1] != paths[2]
  assert set((tmp_path / "cache/files").iterdir()) == set(paths)


def test_a_store_is_read_by_fsspec(tmp_path, monkeypatch):
  """fsspec's store in memory stands for one that needs a network."""
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(download, "WAITS", ())
  memory = fsspec.filesystem("memory")
  monkeypatch.setitem(download.STORES, "memory", ("none", "pip install none"))
  memory.pipe({"/b/x.jsonl": b'{"image": "a.png"}\n{"image": "c.png"}', "/b/a.png": b"A"})
  data = Jsonl("memory://b/x.jsonl")
  assert data[0]["image"] == b"A"
  memory.rm("/b/a.png")
  assert data[0]["image"] == b"A"  # it is kept
  with pytest.raises(OSError, match="line 2: cannot read memory://b/c.png: there is no such ob"):
    data[1]
  local = pathlib.Path(tmp_path / "y.jsonl")
  local.write_text('{"image": "memory://b/x.jsonl"}')
  with pytest.raises(ValueError, match="line 1: 'memory://b/x.jsonl' is a URL"):
    Jsonl(local)
  assert Jsonl(local, allow=["urls"])[0]["image"].startswith(b"{")
  local.write_text('{"image": "file:///etc/passwd"}')
  with pytest.raises(ValueError, match="begins with 'file://'; what can be read begins with http"):
    Jsonl(local, allow=["urls"])


def test_parquet_and_tars_of_a_store(tmp_path, monkeypatch, capsys):
  """They are read from copies; a new version at the same address is seen by the next start."""
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path / "cache"))
  monkeypatch.setattr(download, "WAITS", ())
  monkeypatch.setitem(download.STORES, "memory", ("none", "pip install none"))
  memory, golden = fsspec.filesystem("memory"), pathlib.Path(__file__).parent / "golden"
  tars, hub = golden / "tars", golden / "hub/data"
  memory.pipe({f"/d/{path.name}": path.read_bytes() for path in (*tars.iterdir(), *hub.iterdir())})
  for name, here, there in (
      ("webdataset", tars, "memory://d/train-{000000..000001}.tar"),
      ("parquet", [str(p) for p in sorted(hub.glob("train*"))],
       [f"memory://d/train-0000{i}-of-00002.parquet" for i in (0, 1)])):
    wanted, found = source.get(name, path=here), source.get(name, path=there)
    assert len(found) == len(wanted) and found.fingerprint() == wanted.fingerprint()
    assert [x["_id"] for x in found] == [x["_id"] for x in wanted]
    assert pickle.loads(pickle.dumps(found))[1].keys() == wanted[1].keys()
    assert found.where(0).startswith("memory://d/train-0000")
    with pytest.raises(ValueError, match="folders and splits are looked up on a disk alone"):
      source.get(name, path="memory://d", split="train")
  memory.pipe({"/d/train-000000.tar": (tars / "train-000001.tar").read_bytes(),
               "/d/train-000001.tar": b"no tar"})
  assert len(source.get("webdataset", path="memory://d/train-000000.tar")) == 2
  with pytest.raises(ValueError, match="memory://d/train-000001.tar is not a tar"):
    source.get("webdataset", path="memory://d/train-000001.tar")
  with pytest.raises(FileNotFoundError, match="Cannot read memory://d/no.parquet: there is no su"):
    source.get("parquet", path="memory://d/no.parquet")


def test_a_package_that_is_missing_is_named(monkeypatch):
  monkeypatch.setattr(fsspec, "filesystem", lambda name: (_ for _ in ()).throw(ImportError("x")))
  with pytest.raises(ValueError, match=r"the package s3fs is needed: pip install 'big_vlm\[s3\]'"):
    download.fetch("s3://b/nowhere-at-all.png", 9)
