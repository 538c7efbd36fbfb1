"""Google Cloud Storage on loopback, in memory: the part of its JSON API that clients here use.

gcsfs and google-cloud-storage find it by STORAGE_EMULATOR_HOST, tensorstore by
TENSORSTORE_GCS_HTTP_URL. See environment().
"""
import base64
import contextlib
import hashlib
import http.server
import itertools
import json
import re
import sys
import threading
import urllib.parse

TIME = "2026-01-01T00:00:00.000Z"


class Server(http.server.ThreadingHTTPServer):
  """Objects as {(bucket, name): (generation, bytes)}; every bucket exists."""
  daemon_threads = True

  def __init__(self):
    super().__init__(("127.0.0.1", 0), Handler)
    self.objects, self.lock = {}, threading.Lock()
    self.uploads, self.numbers = {}, itertools.count(1)

  def handle_error(self, request, client_address):
    """A client that was killed, or that no longer needs an answer, is not an error."""
    if not isinstance(sys.exc_info()[1], ConnectionError):
      super().handle_error(request, client_address)

  @property
  def url(self):
    return f"http://127.0.0.1:{self.server_port}"

  def environment(self):
    return {"STORAGE_EMULATOR_HOST": self.url, "TENSORSTORE_GCS_HTTP_URL": self.url,
            "EPATH_USE_TF": "0", "no_proxy": "127.0.0.1", "GOOGLE_CLOUD_PROJECT": "test",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


@contextlib.contextmanager
def serve():
  server = Server()
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield server
  finally:
    server.shutdown()
    server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"

  def log_message(self, *args):
    pass

  def _answer(self, status, body=b"", **headers):
    if not isinstance(body, bytes):
      body = json.dumps(body).encode()
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name.replace("_", "-"), str(value))
    self.send_header("Content-Length", str(len(body)))
    self.end_headers()
    if self.command != "HEAD":
      self.wfile.write(body)

  def _handle(self):
    url = urllib.parse.urlsplit(self.path)
    query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
    if self.headers.get("Transfer-Encoding") == "chunked":
      body = b"".join(iter(self._chunk, b""))
    found = re.fullmatch(r"(?:/upload|/download)?/storage/v1/b/([^/]+)(?:/o(?:/(.+))?)?", url.path)
    if not found:
      return self._answer(404, {"error": {"code": 404, "message": self.path}})
    bucket, name = found[1], found[2] and urllib.parse.unquote(found[2])
    if url.path.startswith("/upload/"):
      return self._upload(bucket, query, body)
    if name:
      return self._object(bucket, name, query)
    if url.path.rstrip("/").endswith("/o"):
      return self._list(bucket, query)
    return self._answer(200, {"kind": "storage#bucket", "id": bucket, "name": bucket,
                              "timeCreated": TIME, "updated": TIME, "location": "US"})

  do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _handle

  def _chunk(self):
    size = int(self.rfile.readline(), 16)
    data = self.rfile.read(size)
    self.rfile.readline()
    return data

  def _refused(self, key, query):
    """The status for a condition on the generation that does not hold."""
    generation = self.server.objects.get(key, (0,))[0]
    if (want := query.get("ifGenerationMatch")) is not None and int(want) != generation:
      return 412
    if (want := query.get("ifGenerationNotMatch")) is not None and int(want) == generation:
      return 304 if self.command == "GET" else 412
    return None

  def _object(self, bucket, name, query):
    key = bucket, name
    with self.server.lock:
      if key not in self.server.objects:
        return self._answer(404, {"error": {"code": 404, "message": f"No such object: {name}"}})
      if status := self._refused(key, query):
        return self._answer(status)
      generation, data = self.server.objects[key]
      if self.command == "DELETE":
        del self.server.objects[key]
        return self._answer(204)
    headers = {"X_Goog_Generation": generation, "ETag": f'"{generation}"'}
    if query.get("alt") != "media":
      return self._answer(200, resource(bucket, name, generation, data), **headers)
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
    if not wanted:
      return self._answer(200, data, **headers)
    begin, end = int(wanted[1]), int(wanted[2] or len(data) - 1) + 1
    if begin >= len(data):
      return self._answer(416, **headers)
    part = data[begin:end]
    return self._answer(206, part, Content_Range=(
        f"bytes {begin}-{begin + len(part) - 1}/{len(data)}"), **headers)

  def _list(self, bucket, query):
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
    items, prefixes = [], set()
    with self.server.lock:
      objects = sorted((name, *x) for (b, name), x in self.server.objects.items() if b == bucket)
    for name, generation, data in objects:
      if not name.startswith(prefix) or name < query.get("startOffset", "") or (
          query.get("endOffset") and name >= query["endOffset"]):
        continue
      head, found, _ = name[len(prefix):].partition(delimiter) if delimiter else (name, "", "")
      if found:
        prefixes.add(prefix + head + delimiter)
      else:
        items.append(resource(bucket, name, generation, data))
    self._answer(200, {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)})

  def _upload(self, bucket, query, body):
    if "upload_id" in query:  # a part of a resumable upload
      name, query, parts = self.server.uploads[query["upload_id"]]
      parts.append(body)
      if self.headers.get("Content-Range", "").endswith("/*"):  # not the last
        return self._answer(308, Range=f"bytes=0-{sum(map(len, parts)) - 1}")
      return self._store(bucket, name, query, b"".join(parts))
    name = query.get("name")
    if query["uploadType"] == "resumable":
      key = str(next(self.server.numbers))
      self.server.uploads[key] = name or json.loads(body)["name"], query, []
      return self._answer(200, Location=(
          f"{self.server.url}/upload/storage/v1/b/{bucket}/o?upload_id={key}"))
    if query["uploadType"] == "multipart":  # a description, then the content
      boundary = re.search("boundary=[\"']?([^\"';]+)", self.headers["Content-Type"])[1].encode()
      _, described, content = body.split(b"--" + boundary)[:3]
      name = json.loads(described.split(b"\n\n")[-1].split(b"\r\n\r\n")[-1])["name"]
      head = re.match(rb"\r?\n(.*\r?\n)*?\r?\n", content).end()
      body = content[head:].removesuffix(b"\n").removesuffix(b"\r")
    return self._store(bucket, name, query, body)

  def _store(self, bucket, name, query, data):
    with self.server.lock:
      if status := self._refused((bucket, name), query):
        return self._answer(status)
      generation = next(self.server.numbers)
      self.server.objects[bucket, name] = generation, data
    return self._answer(200, resource(bucket, name, generation, data),
                        X_Goog_Generation=generation)


def resource(bucket, name, generation, data):
  return {"kind": "storage#object", "bucket": bucket, "name": name, "id": f"{bucket}/{name}",
          "generation": str(generation), "metageneration": "1", "size": str(len(data)),
          "timeCreated": TIME, "updated": TIME, "storageClass": "STANDARD",
          "contentType": "application/octet-stream", "etag": str(generation),
          "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode()}
