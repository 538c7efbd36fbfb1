"""Whatever a server does, fetch() gives the whole file or an OSError, and keeps no half of one."""
import http.server
import threading
import urllib.parse

import pytest

from big_vlm.data import download

DATA = b"\x89PNG" + bytes(1000)
ANSWERS = {  # path: (headers, body), at the first request; DATA is what comes later
    "/cut": ({"Content-Length": len(DATA)}, DATA[:500]),
    "/chunked": ({"Transfer-Encoding": "chunked"}, b"%x\r\n" % len(DATA) + DATA[:100]),
    "/page": ({"Content-Length": 31}, b" <html>too many requests</html>"),
    "/kind": ({"Content-Length": 4, "Content-Type": "text/html"}, b"slow"),
    "/nothing": ({"Content-Length": 0}, b""),
    "/many": ({"Content-Length": 5000}, bytes(5000)),
    "/length": ({"Content-Length": "x"}, b"a"),
    "/gone": None}


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
