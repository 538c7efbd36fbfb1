import errno
import io
import os
import pathlib
import shutil
import subprocess
import sys

import huggingface_hub
import jax
import numpy as np
import pytest
from etils.epath import backend
from fsspec.implementations import memory
from huggingface_hub import constants, file_download
from kagglesdk import kaggle_env

import big_vlm
from big_vlm.checkpoints import uris
from tests import hub_server

BIG = np.random.default_rng(0).bytes(3_000_000)
FILES = {"config.json": b"{}", "model.safetensors": BIG, "tokenizer.model": b"spm",
         "pytorch_model.bin": b"pickle", "model.gguf": b"gguf"}


@pytest.fixture
def hub(monkeypatch, tmp_path):
  """A server in the place of Hugging Face and Kaggle, empty caches, nobody logged in."""
  for name in ("HF_TOKEN", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv("NO_PROXY", "127.0.0.1")
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
  with hub_server.serve() as hub:
    for name, value in {
        "ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "hf"), "HF_HUB_OFFLINE": False,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_TOKEN_PATH": str(tmp_path / "token"), "DOWNLOAD_CHUNK_SIZE": 1 << 16}.items():
      monkeypatch.setattr(constants, name, value)
    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, hub.url)
    yield hub


def fetch(uri):
  return uris.fetch(uri, note=lambda line: None)


def error(uri):
  with pytest.raises(uris.FetchError) as caught:
    fetch(uri)
  return str(caught.value)


def content(folder):
  return {str(p.relative_to(folder)): p.read_bytes()
          for p in sorted(pathlib.Path(folder).rglob("*")) if p.is_file()}


def test_a_local_path_is_itself(monkeypatch, tmp_path):
  monkeypatch.setenv("HOME", str(tmp_path))
  (tmp_path / "model.npz").touch()
  assert fetch(str(tmp_path)) == str(tmp_path)
  assert fetch("~/model.npz") == f"{tmp_path}/model.npz"
  assert fetch("~/model.npz:img") == f"{tmp_path}/model.npz:img"
  assert "There is no file or folder /not/there." in error("/not/there")
  assert "s3:// is not known; known are hf://, kaggle://, gs://" in error("s3://bucket/x")


def test_hugging_face_folder_without_pickles(hub):
  hub.repos["org/name"] = FILES
  lines = []
  folder = uris.fetch("hf://org/name", note=lines.append)
  assert content(folder) == {k: v for k, v in FILES.items() if k not in
                             ("pytorch_model.bin", "model.gguf")}
  assert len(lines) == 1 and "hf://org/name" in lines[0]
  assert fetch(f"hf://org/name@{hub_server.COMMIT}") == folder


def test_an_export_is_uploaded_by_huggingface_hub_and_read_back(hub, tmp_path, monkeypatch, mesh1):
  monkeypatch.setenv("HF_TOKEN", "a token")
  monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the server has Git LFS
  vlm = big_vlm.from_preset("digits", mesh=mesh1)
  folder = vlm.export(tmp_path / "export", probes=0)
  api = huggingface_hub.HfApi(endpoint=hub.url)
  api.create_repo("me/digits")
  api.upload_folder(repo_id="me/digits", folder_path=folder)
  assert b"pipeline_tag: image-text-to-text" in hub.repos["me/digits"]["README.md"]
  again = big_vlm.from_preset("hf://me/digits", mesh=mesh1)
  assert again.tokenize("caption en")["text"].tolist() == vlm.tokenize("caption en")[
      "text"].tolist()
  jax.tree.map(np.testing.assert_array_equal, again.params, vlm.params)


def test_hugging_face_npz(hub):
  hub.repos["org/one-jax"] = {"README.md": b"", "a.b16.npz": b"1"}
  hub.repos["org/two-jax"] = {"a.npz": b"1", "b.npz": b"2"}
  assert fetch("hf://org/one-jax").endswith("/a.b16.npz")
  assert open(fetch("hf://org/two-jax/b.npz"), "rb").read() == b"2"
  assert fetch("hf://org/two-jax/b.npz:img").endswith("/b.npz:img")
  assert "has several checkpoints: add one of a.npz, b.npz" in error("hf://org/two-jax")


HUGGING_FACE_ERRORS = [
    ("hf://google/gemma-2-9", "no repository google/gemma-2-9, or it is private and not open to "
     "you: `hf auth login` or HF_TOKEN says who you are. Did you mean 'google/gemma-2-9b'?"),
    ("hf://org/name@v2", "org/name has no revision 'v2': https://huggingface.co/org/name/refs"),
    ("hf://org/name/x.npz", "org/name has no file 'x.npz' at revision main"),
    ("hf://org/pickles", "has no weights that can be read here (.safetensors, .npz, .weights.h5)"),
    ("hf://org", "hf://org is not of the form hf://org/name[@revision][/file.npz]"),
    ("hf://org/..", "Repo id must use alphanumeric chars"),
]


@pytest.mark.parametrize("uri,message", HUGGING_FACE_ERRORS)
def test_hugging_face_has_no_such(hub, uri, message):
  hub.repos["org/name"] = FILES
  hub.repos["org/pickles"] = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
  assert message in error(uri)


REFUSALS = [  # status, X-Error-Code, what the message says
    (401, "GatedRepo", ["(HTTP 401)", "licence", "https://huggingface.co/google/gemma-2b with your",
                        "hf auth login", "HF_TOKEN", "give the local folder"]),
    (403, "GatedRepo", ["(HTTP 403)", "licence"]),
    (403, "", ["(HTTP 403)", "fine-grained"]),
    (401, "RepoNotFound", ["no repository google/gemma-2b"]),
    (500, "", ["HTTP 500", "try again in a while"]),
]


@pytest.mark.parametrize("uri", ["hf://google/gemma-2b", "hf://google/gemma-2b/a.npz"])
@pytest.mark.parametrize("status,code,words", REFUSALS)
def test_hugging_face_refuses(hub, monkeypatch, uri, status, code, words):
  monkeypatch.setattr("time.sleep", lambda seconds: None)  # between tries after a 500
  hub.repos["google/gemma-2b"] = {"a.npz": b"1"}
  hub.refuse["google/gemma-2b"] = (status, code)
  message = error(uri)
  assert [w for w in words if w not in message] == []
  assert "Did you mean" not in message  # the name is right


def test_an_interrupted_transfer_continues(hub, monkeypatch):
  monkeypatch.setattr("time.sleep", lambda seconds: None)
  hub.repos["org/name"] = FILES
  hub.cut["model.safetensors"] = 1
  assert content(fetch("hf://org/name"))["model.safetensors"] == BIG
  (asked,) = hub.ranges["model.safetensors"]
  assert 0 < int(asked.removeprefix("bytes=").removesuffix("-")) <= len(BIG) / 2


def test_a_transfer_that_keeps_breaking_leaves_nothing_half_done(hub, monkeypatch):
  monkeypatch.setattr("time.sleep", lambda seconds: None)
  hub.repos["org/name"] = FILES
  hub.cut["model.safetensors"] = 100
  message = error("hf://org/name")
  assert "The transfer of hf://org/name broke off" in message and "Run again" in message
  hub.cut.clear()
  assert content(fetch("hf://org/name"))["model.safetensors"] == BIG


def test_disk_full(hub, monkeypatch):
  def no_room(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")
  hub.repos["org/name"] = FILES
  monkeypatch.setattr(file_download, "http_get", no_room)
  message = error("hf://org/name")
  assert f"The disk of {constants.HF_HUB_CACHE} is full" in message and "HF_HOME" in message


@pytest.mark.parametrize("how", ["HF_HUB_OFFLINE is set", "cannot be reached"])
def test_without_network_the_cache_serves(hub, monkeypatch, how):
  hub.repos["org/name"] = FILES
  assert "is empty" in error_offline(hub, monkeypatch, how, "hf://org/name")
  online = fetch("hf://org/name")
  with monkeypatch.context() as without:
    offline(hub, without, how)
    assert fetch("hf://org/name") == online
    message = error("hf://org/other")
  assert how in message and "hf://org/other is not in the cache" in message
  assert "which has org/name" in message
  assert "HF_HUB_OFFLINE" in message


def offline(hub, monkeypatch, how):
  if how == "HF_HUB_OFFLINE is set":
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
  else:  # a port where nobody listens
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")


def error_offline(hub, monkeypatch, how, uri):
  with monkeypatch.context() as without:
    offline(hub, without, how)
    return error(uri)


def test_the_environment_variables_of_hugging_face_count(tmp_path):
  """In a new process, as a user sets them."""
  with hub_server.serve() as hub:
    hub.repos["org/name"] = {"a.npz": b"1"}
    code = "from big_vlm.checkpoints import uris; print(uris.fetch('hf://org/name'))"
    env = dict(os.environ, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path), NO_PROXY="127.0.0.1")
    env.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  note, path = done.stdout.split("\n")[:2]
  assert note.startswith(f"Fetching hf://org/name into {tmp_path}")
  assert open(path).read() == "1"


KAGGLE = "keras/paligemma/keras/pali_gemma_3b_224"


def test_kaggle(hub):
  hub.kaggle[KAGGLE] = {"config.json": b"{}", "model.weights.h5": BIG, "assets/t/v.spm": b"spm"}
  folder = fetch(f"kaggle://{KAGGLE}/3")
  assert open(f"{folder}/model.weights.h5", "rb").read() == BIG
  assert open(f"{folder}/assets/t/v.spm", "rb").read() == b"spm"
  assert fetch(f"kaggle://{KAGGLE}") == folder  # the newest version
  hub.kaggle["google/paligemma-2/jax/p"] = {"p.b16.npz": b"1"}
  path = fetch("kaggle://google/paligemma-2/jax/p/3")
  assert path.endswith("/p.b16.npz") and fetch("kaggle://google/paligemma-2/jax/p/3/p.b16.npz")


def test_kaggle_continues_an_interrupted_transfer_when_run_again(hub):
  hub.kaggle[KAGGLE] = {"config.json": b"{}", "model.weights.h5": BIG}
  hub.cut["model.weights.h5"] = 1
  assert "Run again: it continues" in error(f"kaggle://{KAGGLE}/3")
  folder = fetch(f"kaggle://{KAGGLE}/3")
  assert content(folder)["model.weights.h5"] == BIG
  assert hub.ranges["model.weights.h5"] == [f"bytes={1 << 20}-"]


def test_kaggle_without_network(hub, monkeypatch):
  hub.kaggle[KAGGLE] = {"config.json": b"{}", "model.weights.h5": b"1"}
  folder = fetch(f"kaggle://{KAGGLE}/3")
  monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, "http://127.0.0.1:9")
  assert fetch(f"kaggle://{KAGGLE}/3") == folder
  assert f"kaggle://{KAGGLE}/4 is not complete in the cache" in error(f"kaggle://{KAGGLE}/4")
  assert "Kaggle cannot be reached" in error(f"kaggle://{KAGGLE}")


KAGGLE_ERRORS = [  # uri, status, what the message says
    (f"kaggle://{KAGGLE}/3", 403, ["HTTP 403", "https://www.kaggle.com/models/keras/paligemma with",
                                   "KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "~/.kaggle/kaggle.json",
                                   "give the local folder"]),
    (f"kaggle://{KAGGLE}", 401, ["HTTP 401", "licence"]),
    (f"kaggle://{KAGGLE}5/3", 404, ["Kaggle has no", "Did you mean 'pali_gemma_3b_224'?"]),
    (f"kaggle://{KAGGLE}/3", 503, ["HTTP 503", "try again"]),
    ("kaggle://keras/paligemma", 200, ["is not of the form kaggle://owner/model/framework/"]),
    (f"kaggle://{KAGGLE}/main", 200, ["is not of the form"]),
]


@pytest.mark.parametrize("uri,status,words", KAGGLE_ERRORS)
def test_kaggle_refuses(hub, uri, status, words):
  hub.refuse["keras/paligemma2/keras/pali_gemma2_28b_mix_224"] = (403, "")
  assert "Did you mean" not in error("kaggle://keras/paligemma2/keras/pali_gemma2_28b_mix_224/3")
  hub.refuse[KAGGLE] = (status, "")
  message = error(uri)
  assert [w for w in words if w not in message] == []


class Bucket(memory.MemoryFileSystem):
  """A bucket of Google Cloud Storage in memory."""
  protocol = ("gcs", "gs")
  store, pseudo_dirs, cachable = {}, [""], False

  @classmethod
  def _strip_protocol(cls, path):
    return super()._strip_protocol("memory://" + path.split("://")[-1])

  def find(self, path, **kwargs):
    return {name: {**info, "generation": info["created"]}
            for name, info in super().find(path, **kwargs).items()}


@pytest.fixture
def bucket(monkeypatch, tmp_path):
  """Bucket in the place of gcsfs, and an empty cache in tmp_path."""
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path))
  monkeypatch.setattr(Bucket, "store", {})
  monkeypatch.setattr(Bucket, "pseudo_dirs", [""])
  monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gcs", Bucket)
  backend.fsspec_backend._get_filesystem.cache_clear()
  yield Bucket(finalize_on_close=True)
  backend.fsspec_backend._get_filesystem.cache_clear()


def test_google_storage(bucket, tmp_path):
  bucket.pipe({"/big/m/model.json": b"{}", "/big/m/1/params": b"12345", "/big/a.npz": b"npz"})
  folder = fetch("gs://big/m/")
  assert folder == f"{tmp_path}/gs/big/m"
  assert open(f"{folder}/1/params", "rb").read() == b"12345"
  path = fetch("gs://big/a.npz:img")
  assert path == f"{tmp_path}/gs/big/a.npz:img"
  assert open(path.removesuffix(":img"), "rb").read() == b"npz"


@pytest.mark.parametrize("name", ["../../../x", "a/../../../../x", "a\\..\\b"])
def test_an_object_is_never_written_outside_of_the_cache(bucket, tmp_path, name):
  bucket.pipe({"/big/m/a/model.json": b"{}", f"/big/m/{name}": b"x"})
  assert "would be written elsewhere" in error("gs://big/m")
  assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_google_storage_copies_only_what_changed(bucket, monkeypatch):
  bucket.pipe({"/big/m/a": b"a", "/big/m/b": b"b"})
  fetch("gs://big/m")
  bucket.pipe("/big/m/b", b"longer")
  lines = []
  folder = uris.fetch("gs://big/m", note=lines.append)
  assert content(folder) == {"a": b"a", "b": b"longer"}
  bucket.pipe("/big/m/a", b"A")  # as long as before
  bucket.rm("/big/m/b")
  assert content(uris.fetch("gs://big/m", note=lines.append)) == {"a": b"A"}
  uris.fetch("gs://big/m", note=lines.append)
  assert lines == [f"Fetching 1 files of gs://big/m into {folder}."] * 2


def test_a_bucket_that_gives_no_version_is_fetched_again(bucket, monkeypatch):
  monkeypatch.setattr(Bucket, "find", lambda self, path, **kw: {
      name: {"size": info["size"]} for name, info in
      memory.MemoryFileSystem.find(self, path, **kw).items()})
  for data in (b"a", b"b"):
    bucket.pipe("/big/m/a", data)
    assert content(fetch("gs://big/m")) == {"a": data}


def test_the_optimizer_state_of_a_workdir_is_not_fetched(bucket):
  bucket.pipe({f"/big/W/{name}": b"x" for name in (
      "model.json", "checkpoints/20/params/d/1", "checkpoints/20/train/d/1",
      "checkpoints/20/manifest.json")})
  assert set(content(fetch("gs://big/W"))) == {
      "model.json", "checkpoints/20/params/d/1", "checkpoints/20/manifest.json"}


def test_an_object_whose_name_leaves_the_cache_is_refused(bucket, monkeypatch):
  bucket.pipe("/big/m/a", b"a")
  monkeypatch.setattr(Bucket, "find", lambda *_, **__: {"big/m/../../../x": {"size": 1}})
  assert "'../../../x' is absolute or has '..'" in error("gs://big/m")


def test_a_half_copied_file_is_never_taken_as_whole(bucket, monkeypatch, tmp_path):
  class Breaks(io.BytesIO):
    def read(self, size=-1):
      if self.tell():
        raise ConnectionResetError("reset by peer")
      return super().read(2)

  bucket.pipe("/big/a.npz", b"whole")
  with monkeypatch.context() as broken:
    broken.setattr(Bucket, "open", lambda *_, **__: Breaks(b"whole"))
    assert "broke off (ConnectionResetError: reset by peer)" in error("gs://big/a.npz")
    broken.setattr(Bucket, "open", lambda *_, **__: io.BytesIO(b"who"))
    assert "has 5 bytes, of which 3 came" in error("gs://big/a.npz")
  assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
  assert open(fetch("gs://big/a.npz"), "rb").read() == b"whole"


def test_google_storage_errors(bucket, monkeypatch):
  assert "no file or folder gs://big/none" in error("gs://big/none")
  def refuse(*_, **__):
    raise PermissionError("403 Forbidden")
  monkeypatch.setattr(Bucket, "find", refuse)
  assert "gcloud auth application-default login" in error("gs://big/a")


@pytest.mark.parametrize("uri,module,line", [
    ("hf://org/name", "huggingface_hub", "pip install huggingface_hub=="),
    (f"kaggle://{KAGGLE}/3", "kagglehub", "pip install kagglehub=="),
    ("gs://big/a", "gcsfs", "pip install gcsfs==")])
def test_a_missing_library(monkeypatch, uri, module, line):
  for name in [m for m in sys.modules if m.split(".")[0] == module]:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.setitem(sys.modules, module, None)
  backend.fsspec_backend._get_filesystem.cache_clear()
  assert line in error(uri)


def test_npz_folder(monkeypatch, tmp_path):
  monkeypatch.delenv("BIG_VLM_CHECKPOINTS", raising=False)
  assert "set it to the folder that has pt_224.npz or paligemma-3b-pt-224.npz" in error(
      "npz://pt_224")
  monkeypatch.setenv("BIG_VLM_CHECKPOINTS", str(tmp_path))
  message = error("npz://pt_224.f16")
  assert f"not in {tmp_path}" in message
  assert "none of pt_224.f16.npz, paligemma-3b-pt-224.f16.npz is there" in message
  (tmp_path / "paligemma2-3b-pt-224.b16.npz").touch()
  assert fetch("npz://pt_3b_224") == f"{tmp_path}/paligemma2-3b-pt-224.b16.npz"
  (tmp_path / "pt_3b_224.bf16.npz").touch()  # big_vision's own name comes first
  assert fetch("npz://pt_3b_224") == f"{tmp_path}/pt_3b_224.bf16.npz"
  assert "Did you mean 'pt_3b_224'?" in error("npz://pt_3b_22")


def test_the_model_in_the_package_is_whole(tmp_path, monkeypatch):
  folder = shutil.copytree(uris.fetch("package://digits"), tmp_path / "digits")
  monkeypatch.setattr(uris, "__file__", str(tmp_path / "checkpoints" / "uris.py"))
  assert uris.fetch("package://digits") == str(folder)
  data = bytearray((folder / "model.safetensors").read_bytes())
  data[10**6] ^= 1
  (folder / "model.safetensors").write_bytes(data)
  with pytest.raises(uris.FetchError, match="digits: model.safetensors is corrupt: .* Install the"):
    uris.fetch("package://digits")
