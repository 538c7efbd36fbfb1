"""From the URI of a checkpoint somewhere else to its path on this machine.

  hf://org/name[@revision][/file.npz]                     Hugging Face, through huggingface_hub
  kaggle://owner/model/framework/variation[/version]      Kaggle, through kagglehub; [/file.npz]
  gs://bucket/path                                        Google Cloud Storage, through gcsfs
  npz://pt_3b_224                                         a file in the folder $BIG_VLM_CHECKPOINTS
  package://digits                                        a folder of this package
  W@best, gs://bucket/W@best                              the best checkpoint of a work folder

Fetched files are kept: in the cache of the library (HF_HOME, KAGGLEHUB_CACHE), and for gs:// in
~/.cache/big_vlm, or $BIG_VLM_CACHE. The libraries are imported only when they are needed.
"""
import contextlib
import errno
import importlib
import os
import pathlib
import re
import shutil
import sys

from big_vlm import files, presets
from big_vlm.checkpoints import manifest
from big_vlm.families import paligemma_presets
from big_vlm.formats.parts import split_part
from pp.printable import raw

INSTALL = {"huggingface_hub": "huggingface_hub==2.4.0", "kagglehub": "kagglehub==1.0.2",
           "gcsfs": "gcsfs==2026.10.1"}
# Configs, weights and tokenizers in the formats that are read here; no pickles, no other framework.
FILES = ("*.json", "*.safetensors", "*.npz", "*.weights.h5", "*.model", "*.spm", "*.txt")
WEIGHTS = (".safetensors", ".npz", ".weights.h5")
OPTIMIZER = re.compile(r"/checkpoints/\d+/train(/|$)")  # of a workdir: only a training reads it
HUGGING_FACE = re.compile(
    r"hf://([\w.-]+/[\w.-]+)(?:@(refs/(?:pr|convert)/[^/]+|[^/]+))?(?:/(.+))?")
BY_HAND = "Or download it by other means and give the local folder or file as the source."


class FetchError(OSError):
  """A source could not be fetched; the message says why and how to fix it."""


def fetch(uri, note=print):
  """The local path of a URI, fetched if need be; a path that exists is returned, ~ expanded.

  A Hugging Face or Kaggle folder whose only weights are one .npz gives the path of that file;
  "….npz:sub/tree" fetches the file and keeps the part. note: gets one line before a transfer.

  Raises:
    FetchError: no such URI, no access, no network, no room, or a library is missing.
  """
  uri = presets.located(uri)
  file, part = split_part(uri)
  if part:
    return f"{fetch(file, note)}:{part}"
  scheme, is_uri, _ = uri.partition("://")
  if is_uri and scheme not in _FETCHERS:
    raise FetchError(f"{uri}: {scheme}:// is not known; known are "
                     f"{', '.join(f'{s}://' for s in _FETCHERS)} and local paths.")
  if is_uri:
    with contextlib.redirect_stderr(raw(sys.stderr)):  # the libraries' progress bars
      return _FETCHERS[scheme](uri, note)
  path = os.path.expanduser(uri)
  if not os.path.exists(path):
    raise FetchError(f"There is no file or folder {path}.{presets.near_miss(uri)} "
                     f"{presets.HOW_TO_LIST}")
  return path


def _library(name, uri, *modules):
  """The package, with those modules of it loaded."""
  try:
    for module in modules:
      importlib.import_module(f"{name}.{module}")
    return importlib.import_module(name)
  except ImportError as e:
    raise FetchError(f"To fetch {uri} the package {name} is needed, which cannot be imported "
                     f"({e}): `pip install {INSTALL[name]}`. {BY_HAND}") from e


def _hugging_face(uri, note):
  found = HUGGING_FACE.fullmatch(uri)
  if not found:
    raise FetchError(f"{uri} is not of the form hf://org/name[@revision][/file.npz].")
  repo, revision, file = found.groups()
  hub = _library("huggingface_hub", uri, "constants", "errors")
  cache, page = hub.constants.HF_HUB_CACHE, f"https://huggingface.co/{repo}"
  note(f"Fetching {uri} into {cache}; what is there already is kept.")
  try:
    if file:
      return hub.hf_hub_download(repo, file, revision=revision)
    folder = hub.snapshot_download(repo, revision=revision, allow_patterns=FILES)
  except hub.errors.RevisionNotFoundError as e:
    raise FetchError(f"{repo} has no revision {revision!r}: {page}/refs shows its branches and "
                     "tags.") from e
  except hub.errors.RemoteEntryNotFoundError as e:
    raise FetchError(f"{repo} has no file {file!r} at revision {revision or 'main'}: see "
                     f"{page}/tree/main.") from e
  except hub.errors.HFValidationError as e:
    raise FetchError(f"{uri}: {e}") from e
  except Exception as e:
    status, reasons = _status(e), {
        403: f"Hugging Face does not open {uri} to you (HTTP {_status(e)}): its licence must be "
             f"accepted once. Do so at {page} with your account, then run `hf auth login` or set "
             "HF_TOKEN to a token of that account (one of fine-grained permissions must include "
             f"gated repositories). {BY_HAND}",
        404: f"Hugging Face has no repository {repo}, or it is private and not open to you: `hf "
             f"auth login` or HF_TOKEN says who you are.{_near(repo)} {presets.HOW_TO_LIST}",
        401: "Hugging Face refuses your token (HTTP 401): it is wrong or has expired. Run `hf auth "
             f"login`, or correct HF_TOKEN. {BY_HAND}",
        429: f"Hugging Face answers HTTP 429 to {uri}: try again in a while, or with a token (`hf "
             f"auth login`). {BY_HAND}"}
    if isinstance(e, hub.errors.GatedRepoError):
      status = 403
    elif isinstance(e, hub.errors.RepositoryNotFoundError):
      status = 404
    elif isinstance(e, hub.errors.LocalEntryNotFoundError) and status is None:
      reasons[None] = _not_in_cache(hub, uri, repo, e)
    raise _error(e, uri, "Hugging Face", cache, "HF_HOME", reasons, status) from e
  return _checkpoint_in(folder, uri, f"{page}/tree/{revision or 'main'}")


def _not_in_cache(hub, uri, repo, e):
  cache, cause = hub.constants.HF_HUB_CACHE, _causes(e)[-1]
  try:
    names = sorted(r.repo_id for r in hub.scan_cache_dir(cache).repos)
  except hub.errors.CacheNotFound:
    names = []
  held = f"has {', '.join(names)}" if names else "is empty"
  if repo in names:
    held += f" ({repo} is incomplete, or at another revision)"
  if hub.constants.is_offline_mode():
    return (f"HF_HUB_OFFLINE is set and {uri} is not in the cache {cache}, which {held}. Unset "
            f"HF_HUB_OFFLINE, or fill the cache where there is a network: `hf download {repo}`. "
            f"{BY_HAND}")
  return (f"{hub.constants.ENDPOINT} cannot be reached ({type(cause).__name__}: {cause}) and {uri} "
          f"is not in the cache {cache}, which {held}. Check the network and HTTPS_PROXY; with "
          f"HF_HUB_OFFLINE=1 only the cache is asked. {BY_HAND}")


def _kaggle(uri, note):
  parts = uri.removeprefix("kaggle://").split("/")
  if len(parts) < 4 or not all(parts) or (len(parts) > 4 and not parts[4].isdigit()):
    raise FetchError(f"{uri} is not of the form kaggle://owner/model/framework/variation"
                     "[/version][/file.npz], as kaggle://keras/paligemma/keras/"
                     "pali_gemma_3b_mix_224/4 is.")
  hub = _library("kagglehub", uri, "config")
  cache, page = hub.config.get_cache_folder(), "https://www.kaggle.com/models/"
  note(f"Fetching {uri} into {cache}; what is there already is kept.")
  file = "/".join(parts[5:]) or None
  try:
    path = hub.model_download("/".join(parts[:5]), path=file)
  except Exception as e:
    status, near, model = _status(e), _near(parts[3]), page + "/".join(parts[:2])
    reasons = {
        403: f"Kaggle does not open {uri} to you (HTTP {status}). Accept the licence once at "
             f"{model} with your account, then say who you are: KAGGLE_API_TOKEN, or "
             "KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json (all from "
             f"https://www.kaggle.com/settings).{near} {BY_HAND}",
        404: f"Kaggle has no {uri}: see {model}.{near} {presets.HOW_TO_LIST}"}
    if type(e).__name__ in ("ConnectionError", "ConnectTimeout", "SSLError", "ProxyError"):
      held = f"is not complete in the cache {cache}"
      if len(parts) == 4:
        held = f"has no version, so the newest would have to be asked for (the cache is {cache})"
      reasons[None] = (f"Kaggle cannot be reached ({e}) and {uri} {held}. Check the network and "
                       f"HTTPS_PROXY, then run again: it continues. {BY_HAND}")
    raise _error(e, uri, "Kaggle", cache, "KAGGLEHUB_CACHE", reasons,
                 403 if status == 401 else status) from e
  return path if file else _checkpoint_in(path, uri, page + "/".join(parts[:4]))


def _google_storage(uri, note):
  """Copies what is not in the cache yet, and removes from it what is no longer there."""
  root = os.environ.get("BIG_VLM_CACHE") or os.path.expanduser("~/.cache/big_vlm")
  bucket_path = uri.removeprefix("gs://").rstrip("/")
  target, versions = (pathlib.Path(root, name, bucket_path) for name in ("gs", "gs-versions"))
  try:
    import fsspec  # etils brings it
    fs = fsspec.filesystem("gcs")
    fs.invalidate_cache()
    there = {path.strip("/"): info for path, info in fs.find(bucket_path, detail=True).items()
             if not path.endswith("/") and not OPTIMIZER.search(path)}
    if not there:
      raise FetchError(f"Google Cloud Storage has no file or folder {uri}, or it is not open to "
                       "you: `gcloud auth application-default login` says who you are.")
    names = {path: path.removeprefix(bucket_path).strip("/") for path in there}
    try:
      for name in filter(None, names.values()):
        files.inside(target, name)
    except ValueError as e:
      raise FetchError(f"{uri} holds an object that would be written elsewhere: {e}") from e
    wanted = [path for path, info in there.items() if not (version := _version(info))
              or not (target / names[path]).is_file()
              or _recorded(versions / names[path]) != version]
    if wanted:
      note(f"Fetching {len(wanted)} files of {uri} into {target}.")
    for path in wanted:
      (versions / names[path]).unlink(missing_ok=True)
      _copy(fs, path, there[path], target / names[path])
      files.write_atomic(versions / names[path], _version(there[path]) or "")
    if target.is_dir():
      kept = {target / name for name in names.values()}
      for path in target.rglob("*"):
        if path.is_file() and path not in kept and path.suffix != ".part":
          path.unlink()
  except FetchError:
    raise
  except ImportError as e:
    raise FetchError(f"To fetch {uri} the package gcsfs is needed: `pip install "
                     f"{INSTALL['gcsfs']}`. Or copy it with `gcloud storage cp -r` and give the "
                     "local path as the source.") from e
  except Exception as e:
    refused = isinstance(e, PermissionError) or any(
        getattr(c, "code", None) in (401, 403) for c in _causes(e))
    held = f" An earlier copy, perhaps incomplete, is in {target}." if target.exists() else ""
    reasons = {403: f"Google Cloud Storage does not open {uri} to you ({e}): run `gcloud auth "
                    f"application-default login` with an account that may read it. {BY_HAND}",
               None: _broke_off(uri, e) + held}
    raise _error(e, uri, "Google Cloud Storage", root, "BIG_VLM_CACHE", reasons,
                 403 if refused else None) from e
  return str(target)


def _version(info):
  """What changes whenever an object is written, "" where the file system gives nothing such."""
  known = [key for key in ("generation", "etag", "md5Hash", "mtime") if info.get(key)]
  return f"{known[0]} {info[known[0]]}, {info['size']} bytes" if known else ""


def _recorded(path):
  return path.read_text() if path.is_file() else None


def _copy(fs, source, info, target):
  with files.replacing(target) as part:
    with fs.open(source, "rb") as read, part.open("wb") as write:
      shutil.copyfileobj(read, write, 16 << 20)
    if part.stat().st_size != info["size"]:
      raise OSError(f"gs://{source} has {info['size']:,} bytes, of which "
                    f"{part.stat().st_size:,} came")


def _npz_folder(uri, note):
  name, variable = uri.removeprefix("npz://"), "BIG_VLM_CHECKPOINTS"
  if not paligemma_presets.NPZ_NAME.fullmatch(name):
    raise FetchError(f"{uri} is not a name of big_vision's.{_near(name)} {presets.HOW_TO_LIST}")
  folder, names = os.environ.get(variable), paligemma_presets.npz_files(name)
  if not folder:
    raise FetchError(f"{name!r} stands for one of big_vision's .npz files, and {variable} does not "
                     f"say where they are: set it to the folder that has {names[0]} or "
                     f"{names[1]}, or give the path of the file as the source.")
  for file in names:
    path = os.path.join(os.path.expanduser(folder), file)
    if os.path.exists(path):
      return path
  raise FetchError(f"{name!r} is not in {folder}, the folder of {variable}: none of "
                   f"{', '.join(names)} is there.")


def _checkpoint_in(folder, uri, page):
  """The folder, or its only .npz if it has no other weights."""
  found = sorted(p for p in pathlib.Path(folder).rglob("*") if p.name.endswith(WEIGHTS))
  if not found:
    raise FetchError(f"{uri} has no weights that can be read here ({', '.join(WEIGHTS)}): see "
                     f"{page}. A repository of pickles (pytorch_model.bin) is converted once by "
                     "from_pretrained(...).save_pretrained(FOLDER) of transformers, with torch; a "
                     "big_vision file in parts (.npz.part00) is joined by cat.")
  if any(p.suffix != ".npz" for p in found):
    return folder
  if len(found) > 1:
    names = ", ".join(str(p.relative_to(folder)) for p in found)
    raise FetchError(f"{uri} has several checkpoints: add one of {names} to the URI, after a "
                     "slash (on Kaggle after the version).")
  return str(found[0])


def _near(name):
  """presets.near_miss of a name that is not a known one; else ""."""
  variations = {p.uri.split("/")[-2] for p in presets.PRESETS.values()}  # on Kaggle
  return "" if name in variations | set(presets.PRESETS) else presets.near_miss(name)


def _causes(e):
  causes = [e]
  while e := e.__cause__ or e.__context__:
    causes.append(e)
  return causes


def _status(e):
  """The HTTP status of the answer that an exception or one of its causes holds, or None."""
  answers = (getattr(c, "response", None) for c in _causes(e))
  return next((a.status_code for a in answers if a is not None), None)


def _error(e, uri, host, cache, variable, reasons, status):
  """The FetchError of any exception; reasons: {HTTP status, or None without one: message}."""
  if any(isinstance(c, OSError) and c.errno in (errno.ENOSPC, errno.EDQUOT) for c in _causes(e)):
    return FetchError(f"The disk of {cache} is full before all of {uri} is there. Make room, or "
                      f"set {variable} to a folder on a larger disk, and run again: complete files "
                      "are kept.")
  if status not in reasons and status is not None:
    return FetchError(f"{host} answers HTTP {status} to {uri}: try again in a while. {BY_HAND}")
  return FetchError(reasons.get(status) or _broke_off(uri, e))


def _broke_off(uri, e):
  return (f"The transfer of {uri} broke off ({type(e).__name__}: {e}). Run again: it continues, "
          f"and complete files are kept. {BY_HAND}")


def _package(uri, note):
  folder = pathlib.Path(__file__).parents[1] / uri.partition("://")[2]
  if damage := manifest.validation_error(folder):
    raise FetchError(f"{folder}: {damage}. Install the package again.")
  return str(folder)


_FETCHERS = {"hf": _hugging_face, "kaggle": _kaggle, "gs": _google_storage, "npz": _npz_folder,
             "package": _package}
