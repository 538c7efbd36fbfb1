"""From the handle of a checkpoint somewhere else to its path on this machine.

  hf://org/name[@revision][/file.npz]                     Hugging Face, through huggingface_hub
  kaggle://owner/model/framework/variation[/version]      Kaggle, through kagglehub; [/file.npz]
  gs://bucket/path                                        Google Cloud Storage, through gcsfs
  npz://pt_3b_224                                         a file in the folder $BIG_VLM_CHECKPOINTS

What was fetched once is kept: in the cache of the library (HF_HOME, KAGGLEHUB_CACHE), and for gs://
in ~/.cache/big_vlm, or $BIG_VLM_CACHE. The libraries are imported only when they are needed.
"""
import errno
import importlib
import os
import pathlib
import re
import shutil

from etils import epath

from big_vlm import presets

INSTALL = {"huggingface_hub": "huggingface_hub==2.4.0", "kagglehub": "kagglehub==1.0.2",
           "gcsfs": "gcsfs"}
# Configs, weights and tokenizers in the formats that are read here; no pickles, no other framework.
FILES = ("*.json", "*.safetensors", "*.npz", "*.weights.h5", "*.model", "*.spm", "*.txt")
WEIGHTS = (".safetensors", ".npz", ".weights.h5")
HUGGING_FACE = re.compile(
    r"hf://([\w.-]+/[\w.-]+)(?:@(refs/(?:pr|convert)/[^/]+|[^/]+))?(?:/(.+))?")
BY_HAND = "Or download it by other means and give the local folder or file as the source."


class FetchError(OSError):
  """A source could not be fetched; the message says why and how to mend it."""


def fetch(handle, note=print):
  """The local path of a handle, fetched if need be; a path that exists is returned, ~ expanded.

  A Hugging Face or Kaggle folder whose only weights are one .npz gives the path of that file;
  "….npz:sub/tree" fetches the file and keeps the part. note: gets one line before a transfer.

  Raises:
    FetchError: no such handle, no access, no network, no room, or a library is missing.
  """
  handle = os.fspath(handle)
  file, is_part, part = handle.partition(".npz:")
  if is_part:
    return f"{fetch(file + '.npz', note)}:{part}"
  scheme, is_handle, _ = handle.partition("://")
  if is_handle and scheme not in _FETCHERS:
    raise FetchError(f"{handle}: {scheme}:// is not known; known are "
                     f"{', '.join(f'{s}://' for s in _FETCHERS)} and local paths.")
  if is_handle:
    return _FETCHERS[scheme](handle, note)
  path = os.path.expanduser(handle)
  if not os.path.exists(path):
    raise FetchError(f"There is no file or folder {path}.{presets.near_miss(handle)} "
                     f"{presets.HOW_TO_LIST}")
  return path


def _library(name, handle, *modules):
  """The package, with those modules of it loaded."""
  try:
    for module in modules:
      importlib.import_module(f"{name}.{module}")
    return importlib.import_module(name)
  except ImportError as e:
    raise FetchError(f"To fetch {handle} the package {name} is needed, which cannot be imported "
                     f"({e}): `pip install {INSTALL[name]}`. {BY_HAND}") from e


def _hugging_face(handle, note):
  found = HUGGING_FACE.fullmatch(handle)
  if not found:
    raise FetchError(f"{handle} is not of the form hf://org/name[@revision][/file.npz].")
  repo, revision, file = found.groups()
  hub = _library("huggingface_hub", handle, "constants", "errors")
  note(f"Fetching {handle} into {hub.constants.HF_HUB_CACHE}; what is there already is kept.")
  try:
    if file:
      return hub.hf_hub_download(repo, file, revision=revision)
    folder = hub.snapshot_download(repo, revision=revision, allow_patterns=FILES)
  except Exception as e:
    raise FetchError(_why_not_hugging_face(e, hub, handle, repo, revision, file)) from e
  return _checkpoint_in(folder, handle, f"https://huggingface.co/{repo}/tree/{revision or 'main'}")


def _why_not_hugging_face(e, hub, handle, repo, revision, file):
  errors, page = hub.errors, f"https://huggingface.co/{repo}"
  causes = [e, *_causes(e)]
  response = next((c.response for c in causes if isinstance(c, errors.HfHubHTTPError)), None)
  status = response.status_code if response is not None else None
  if _disk_full(causes):
    return _no_room(handle, hub.constants.HF_HUB_CACHE, "HF_HOME")
  if isinstance(e, errors.GatedRepoError) or status == 403:
    return (f"Hugging Face does not open {handle} to you (HTTP {status}): its licence must be "
            f"accepted once. Do so at {page} with your account, then run `hf auth login` or set "
            "HF_TOKEN to a token of that account (one of fine-grained permissions must include "
            f"gated repositories). {BY_HAND}")
  if isinstance(e, errors.RepositoryNotFoundError):
    return (f"Hugging Face has no repository {repo}, or it is private and not open to you: `hf "
            f"auth login` or HF_TOKEN says who you are.{_near(repo)} {presets.HOW_TO_LIST}")
  if isinstance(e, errors.RevisionNotFoundError):
    return f"{repo} has no revision {revision!r}: {page}/refs shows its branches and tags."
  if isinstance(e, errors.RemoteEntryNotFoundError):
    return f"{repo} has no file {file!r} at revision {revision or 'main'}: see {page}/tree/main."
  if status == 401:
    return ("Hugging Face refuses your token (HTTP 401): it is wrong or has expired. Run `hf auth "
            f"login`, or correct HF_TOKEN. {BY_HAND}")
  if isinstance(e, errors.LocalEntryNotFoundError) and status is None:
    return _not_in_cache(hub, handle, repo, causes)
  if isinstance(e, errors.HFValidationError):
    return f"{handle}: {e}"
  if status is not None:
    return (f"Hugging Face answers HTTP {status} to {handle}: try again in a while"
            f"{', or with a token (`hf auth login`)' if status == 429 else ''}. {BY_HAND}")
  return _broke_off(handle, e)


def _not_in_cache(hub, handle, repo, causes):
  cache = hub.constants.HF_HUB_CACHE
  try:
    names = sorted(r.repo_id for r in hub.scan_cache_dir(cache).repos)
  except hub.errors.CacheNotFound:
    names = []
  held = f"has {', '.join(names)}" if names else "is empty"
  if repo in names:
    held += f" ({repo} not whole, or at another revision)"
  if hub.constants.is_offline_mode():
    return (f"HF_HUB_OFFLINE is set and {handle} is not in the cache {cache}, which {held}. Unset "
            f"HF_HUB_OFFLINE, or fill the cache where there is a network: `hf download {repo}`. "
            f"{BY_HAND}")
  return (f"{hub.constants.ENDPOINT} cannot be reached ({type(causes[-1]).__name__}: {causes[-1]}) "
          f"and {handle} is not in the cache {cache}, which {held}. Check the network and "
          "HTTPS_PROXY; with HF_HUB_OFFLINE=1 only the cache is asked. " + BY_HAND)


def _kaggle(handle, note):
  parts = handle.removeprefix("kaggle://").split("/")
  if len(parts) < 4 or not all(parts) or (len(parts) > 4 and not parts[4].isdigit()):
    raise FetchError(f"{handle} is not of the form kaggle://owner/model/framework/variation"
                     "[/version][/file.npz], as kaggle://keras/paligemma/keras/"
                     "pali_gemma_3b_mix_224/4 is.")
  hub = _library("kagglehub", handle, "config")
  cache = hub.config.get_cache_folder()
  note(f"Fetching {handle} into {cache}; what is there already is kept.")
  file = "/".join(parts[5:]) or None
  try:
    path = hub.model_download("/".join(parts[:5]), path=file)
  except Exception as e:
    raise FetchError(_why_not_kaggle(e, handle, parts, cache)) from e
  page = f"https://www.kaggle.com/models/{'/'.join(parts[:4])}"
  return path if file else _checkpoint_in(path, handle, page)


def _why_not_kaggle(e, handle, parts, cache):
  page = f"https://www.kaggle.com/models/{'/'.join(parts[:2])}"
  causes = [e, *_causes(e)]
  status = next((c.response.status_code for c in causes
                 if getattr(c, "response", None) is not None), None)
  if _disk_full(causes):
    return _no_room(handle, cache, "KAGGLEHUB_CACHE")
  if status in (401, 403):
    return (f"Kaggle does not open {handle} to you (HTTP {status}). Accept the licence once at "
            f"{page} with your account, then say who you are: KAGGLE_API_TOKEN, or KAGGLE_USERNAME "
            "and KAGGLE_KEY, or ~/.kaggle/kaggle.json (all from https://www.kaggle.com/settings)."
            f"{_near(parts[3])} {BY_HAND}")
  if status == 404:
    return f"Kaggle has no {handle}: see {page}.{_near(parts[3])} {presets.HOW_TO_LIST}"
  if status is not None:
    return f"Kaggle answers HTTP {status} to {handle}: try again in a while. {BY_HAND}"
  if type(e).__name__ in ("ConnectionError", "ConnectTimeout", "SSLError", "ProxyError"):
    held = f"is not whole in the cache {cache}"
    if len(parts) == 4:
      held = f"has no version, so the newest would have to be asked for (the cache is {cache})"
    return (f"Kaggle cannot be reached ({e}) and {handle} {held}. Check the network and "
            f"HTTPS_PROXY, then run again: it continues. {BY_HAND}")
  return _broke_off(handle, e)


def _google_storage(handle, note):
  """Copies what is not in the cache yet, each file under a temporary name until it is whole."""
  root = os.environ.get("BIG_VLM_CACHE") or os.path.expanduser("~/.cache/big_vlm")
  target = pathlib.Path(root, "gs", handle.removeprefix("gs://").rstrip("/"))
  source = epath.Path(handle)
  try:
    if not source.exists():
      raise FetchError(f"Google Cloud Storage has no file or folder {handle}, or it is not open to "
                       "you: `gcloud auth application-default login` says who you are.")
    wanted = [(file, path) for file, path in _files(source, target) if not _is_current(file, path)]
    if wanted:
      note(f"Fetching {len(wanted)} files of {handle} into {target}.")
    for file, path in wanted:
      _copy(file, path)
  except FetchError:
    raise
  except ImportError as e:
    raise FetchError(f"To fetch {handle} the package gcsfs is needed: `pip install "
                     f"{INSTALL['gcsfs']}`. Or copy it with `gcloud storage cp -r` and give the "
                     "local path as the source.") from e
  except Exception as e:
    raise FetchError(_why_not_google_storage(e, handle, root, target)) from e
  return str(target)


def _why_not_google_storage(e, handle, root, target):
  causes = [e, *_causes(e)]
  if _disk_full(causes):
    return _no_room(handle, root, "BIG_VLM_CACHE")
  if isinstance(e, PermissionError) or any(getattr(c, "code", None) in (401, 403) for c in causes):
    return (f"Google Cloud Storage does not open {handle} to you ({e}): run `gcloud auth "
            f"application-default login` with an account that may read it. {BY_HAND}")
  held = f" An earlier copy, perhaps not of all files, is in {target}." if target.exists() else ""
  return _broke_off(handle, e) + held


def _files(source, target):
  if not source.is_dir():
    return [(source, target)]
  return [pair for child in source.iterdir() for pair in _files(child, target / child.name)]


def _is_current(source, target):
  if not target.is_file():
    return False
  here, there = target.stat(), source.stat()
  return here.st_size == there.length and here.st_mtime >= (there.mtime or 0)


def _copy(source, target):
  target.parent.mkdir(parents=True, exist_ok=True)
  part = target.with_name(f".{target.name}.{os.getpid()}.part")
  try:
    with source.open("rb") as read, part.open("wb") as write:
      shutil.copyfileobj(read, write, 16 << 20)
    if part.stat().st_size != source.stat().length:
      raise OSError(f"{source} has {source.stat().length:,} bytes, of which "
                    f"{part.stat().st_size:,} came")
    part.replace(target)
  finally:
    part.unlink(missing_ok=True)


def _npz_folder(handle, note):
  name, variable = handle.removeprefix("npz://"), "BIG_VLM_CHECKPOINTS"
  if not presets.NPZ_NAME.fullmatch(name):
    raise FetchError(f"{handle} is no name of big_vision's.{_near(name)} {presets.HOW_TO_LIST}")
  folder, files = os.environ.get(variable), presets.npz_files(name)
  if not folder:
    raise FetchError(f"{name!r} stands for one of big_vision's .npz files, and {variable} does not "
                     f"say where they are: set it to the folder that has {files[0]} or "
                     f"{files[1]}, or give the path of the file as the source.")
  for file in files:
    path = os.path.join(os.path.expanduser(folder), file)
    if os.path.exists(path):
      return path
  raise FetchError(f"{name!r} is not in {folder}, the folder of {variable}: none of "
                   f"{', '.join(files)} is there.")


def _checkpoint_in(folder, handle, page):
  """The folder, or its only .npz if it has no other weights."""
  files = sorted(p for p in pathlib.Path(folder).rglob("*") if p.name.endswith(WEIGHTS))
  if not files:
    raise FetchError(f"{handle} has no weights that can be read here ({', '.join(WEIGHTS)}): see "
                     f"{page}. A repository of pickles (pytorch_model.bin) is converted once by "
                     "from_pretrained(...).save_pretrained(FOLDER) of transformers, with torch; a "
                     "big_vision file in parts (.npz.part00) is joined by cat.")
  if any(p.suffix != ".npz" for p in files):
    return folder
  if len(files) > 1:
    names = ", ".join(str(p.relative_to(folder)) for p in files)
    raise FetchError(f"{handle} has several checkpoints: add one of {names} to the handle, after a "
                     "slash (on Kaggle after the version).")
  return str(files[0])


def _near(name):
  """presets.near_miss of a name that is not a known one; else ""."""
  variations = {p.handle.split("/")[-2] for p in presets.PRESETS.values()}  # on Kaggle
  return "" if name in variations | set(presets.PRESETS) else presets.near_miss(name)


def _causes(e):
  while e := e.__cause__ or e.__context__:
    yield e


def _disk_full(causes):
  return any(isinstance(c, OSError) and c.errno in (errno.ENOSPC, errno.EDQUOT) for c in causes)


def _no_room(handle, folder, variable):
  return (f"The disk of {folder} is full before all of {handle} is there. Make room, or set "
          f"{variable} to a folder on a larger disk, and run again: whole files are kept.")


def _broke_off(handle, e):
  return (f"The transfer of {handle} broke off ({type(e).__name__}: {e}). Run again: it continues, "
          f"and files that are whole are kept. {BY_HAND}")


_FETCHERS = {"hf": _hugging_face, "kaggle": _kaggle, "gs": _google_storage, "npz": _npz_folder}
