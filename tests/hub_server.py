"""Hugging Face's and Kaggle's protocols on 127.0.0.1, as far as their download libraries use them.

  with hub_server.serve() as hub:
    hub.repos["org/name"] = {"config.json": b"{}"}      # Hugging Face; revisions main and COMMIT
    hub.kaggle["owner/model/keras/variation"] = {"config.json": b"{}"}               # version 3
    hub.refuse["org/name"] = (403, "GatedRepo")         # its files; the page about it stays open
    hub.cut["model.safetensors"] = 1                    # closes the connection halfway, once
    ... hub.url ...                                     # huggingface_hub may upload to it too
    hub.ranges["model.safetensors"]                     # the Range headers that were asked for

Requests are listed in hub.log as "GET /path".
"""
import base64
import collections
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
  def __init__(self):
    self.repos, self.kaggle, self.refuse, self.cut = {}, {}, {}, {}
    self.log, self.ranges, self.uploads = [], collections.defaultdict(list), {}
    self.url = None


@contextlib.contextmanager
def serve():
  hub = Hub()
  handler = type("Handler", (_Handler,), {"hub": hub})
  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
  server.handle_error = lambda *_: None  # a client that hangs up
  thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
  thread.start()
  hub.url = f"http://127.0.0.1:{server.server_port}"
  try:
    yield hub
  finally:
    server.shutdown()
    thread.join()
    server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
  hub: Hub

  def log_message(self, *_):
    pass

  def do_HEAD(self):
    self.do_GET()

  def do_GET(self):
    self.hub.log.append(f"{self.command} {self.path}")
    path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
    routes = [(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", self.repo),
              (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self.tree),
              (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.resolve),
              (r"/kaggle-files/([^/]+/[^/]+/[^/]+/[^/]+)/(.+)", self.kaggle_file)]
    for pattern, answer in reversed(routes):
      if found := re.fullmatch(pattern, path):
        return answer(*found.groups())
    return self.fail(404)

  def do_PUT(self):
    """A large file of an upload, under its sha256."""
    data = self.rfile.read(int(self.headers["Content-Length"]))
    self.hub.uploads[self.path.rpartition("/")[2]] = data
    self.send(200 if hashlib.sha256(data).hexdigest() in self.path else 400, {})

  def upload(self, path, body):
    """The steps of an upload, until commit() puts the files into hub.repos."""
    if path.endswith("/commit/main"):
      return self.commit(path.split("/")[3:5], list(map(json.loads, body.splitlines())))
    request = json.loads(body)
    if path == "/api/repos/create":
      name = f"{request['organization']}/{request['name']}"
      self.hub.repos.setdefault(name, {})
      return self.json({"url": f"{self.hub.url}/{name}", "name": name})
    if path == "/api/validate-yaml":  # of the model card
      card = request["content"]
      fine = card.startswith("---\n") and "\n---\n" in card
      return self.json({"errors": [] if fine else [{"message": "no metadata"}], "warnings": []})
    if path.endswith("/preupload/main"):
      large = lambda name: "lfs" if name.endswith((".safetensors", ".model")) else "regular"
      return self.json({"files": [{"path": f["path"], "uploadMode": large(f["path"]),
                                   "shouldIgnore": False} for f in request["files"]]})
    return self.json({"transfer": "basic", "objects": [
        {**x, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{x['oid']}"}}}
        for x in request["objects"]]})

  def commit(self, name, lines):
    files = {x["value"]["path"]: x["value"] for x in lines if x["key"] in ("file", "lfsFile")}
    self.hub.repos["/".join(name)] |= {
        path: self.hub.uploads[x["oid"]] if "oid" in x else base64.b64decode(x["content"])
        for path, x in files.items()}
    return self.json({"commitUrl": f"{self.hub.url}/{'/'.join(name)}/commit/{COMMIT}",
                      "commitOid": COMMIT, "hookOutput": ""})

  def do_POST(self):
    self.hub.log.append(f"{self.command} {self.path}")
    body = self.rfile.read(int(self.headers["Content-Length"]))
    if re.match(r"/api/(repos|models|validate-yaml)\b|.*/info/lfs/", self.path):
      return self.upload(self.path, body)
    request = json.loads(body)
    name = "/".join([request["ownerSlug"], request["modelSlug"],
                     request["framework"].removeprefix("MODEL_FRAMEWORK_").lower(),
                     request["instanceSlug"]])
    method = self.path.rpartition("/")[2]
    if name in self.hub.refuse:
      return self.fail(*self.hub.refuse[name])
    if name not in self.hub.kaggle or request.get("versionNumber", 3) != 3:
      return self.fail(404)
    if method == "GetModelInstance":
      return self.json({"versionNumber": 3})
    if method == "ListModelInstanceVersionFiles":
      return self.json({"files": [{"name": n} for n in self.hub.kaggle[name]], "nextPageToken": ""})
    return self.send(302, {"Location": f"{self.hub.url}/kaggle-files/{name}/{request['path']}"})

  def repo(self, repo, revision):
    if repo not in self.hub.repos:
      return self.fail(401, "RepoNotFound")
    if revision not in (None, "main", COMMIT):
      return self.fail(404, "RevisionNotFound")
    files = [{"rfilename": name} for name in self.hub.repos[repo]]
    return self.json({"id": repo, "sha": COMMIT, "siblings": files})

  def tree(self, repo, _):
    return self.json([{"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
                      for name, data in self.hub.repos[repo].items()])

  def resolve(self, repo, revision, file):
    if repo not in self.hub.repos:
      return self.fail(401, "RepoNotFound")
    if repo in self.hub.refuse:
      return self.fail(*self.hub.refuse[repo])
    if revision not in ("main", COMMIT):
      return self.fail(404, "RevisionNotFound")
    if file not in self.hub.repos[repo]:
      return self.fail(404, "EntryNotFound")
    return self.file(file, self.hub.repos[repo][file], {"X-Repo-Commit": COMMIT})

  def kaggle_file(self, name, file):
    return self.file(file, self.hub.kaggle[name][file], {})

  def file(self, name, data, headers):
    status, begin = 200, 0
    if asked := self.headers["Range"]:
      self.hub.ranges[name].append(asked)
      status, begin = 206, int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
      headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
    rest = data[begin:]
    headers |= {"ETag": f'"{_etag(data)}"', "Accept-Ranges": "bytes"}
    if self.command == "GET" and self.hub.cut.get(name, 0):
      self.hub.cut[name] -= 1
      return self.send(status, headers, rest[:len(rest) // 2], length=len(rest))
    return self.send(status, headers, rest)

  def fail(self, status, code=""):
    self.send(status, {"X-Error-Code": code} if code else {})

  def json(self, value):
    self.send(200, {"Content-Type": "application/json"}, json.dumps(value).encode())

  def send(self, status, headers, body=b"", length=None):
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name, value)
    self.send_header("Content-Length", str(len(body) if length is None else length))
    self.end_headers()
    if self.command != "HEAD":
      self.wfile.write(body)


def _etag(data):
  return hashlib.sha1(data).hexdigest()
