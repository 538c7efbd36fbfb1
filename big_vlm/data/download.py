"""Files behind URLs (https://) and in object stores (gs://, s3://, hf://), each fetched once.

An image is taken to be the same for ever under its URL; of a JSONL the server is asked whether it
was changed. What is fetched is kept, see cache.py. http and https need no library, other schemes
are read by fsspec with the package of their store.
"""
import contextlib
import hashlib
import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from big_vlm.data import cache

TIMEOUT = 30  # seconds without a byte
WAITS = (1, 4)  # seconds before it is tried again
FINAL = (400, 401, 403, 404, 405, 410, 414, 451)  # answers that a second try does not change
CHUNK = 2**20
SAFE = "%/:=&?~#+!$,;'@()*[]"  # characters of a URL that quote() leaves
WEB = ("http", "https")
# scheme: (package that fsspec reads it with, command that installs it)
STORES = {"gs": ("gcsfs", "pip install 'big_vlm[gcs]'"),
          "s3": ("s3fs", "pip install 'big_vlm[s3]'"),
          "hf": ("huggingface_hub", "pip install huggingface_hub")}
KEEP_DATA = 7 * 86400  # seconds since their last use for which JSONL files stay: a run reads them


def scheme(name):
  """"https" of an address that can be read, None of a path; ValueError of another scheme."""
  found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", name)
  if not found:
    return None
  if (known := found[1].lower()) in WEB and "@" in re.match(
      r"[^/?#]*", name[found.end():])[0]:
    raise ValueError(f"{found[0]}...@...: a user name or password in a URL is not sent, and would "
                     "be printed in logs: leave it out.")
  if known in (*WEB, *STORES):
    return known
  raise ValueError(f"{name[:200]!r} begins with {found[0]!r}; what can be read begins with "
                   f"{', '.join(f'{s}://' for s in (*WEB, *STORES))}.")


def fetch(url, most):
  """Returns the bytes of the image or video at a URL or in an object store.

  It keeps them under the hash of the URL, and does not fetch them again. Raises OSError, and keeps
  nothing, if that fails in every try, if they are more than `most`, or end before the length that
  the server gave, or are a web page.
  """
  name = hashlib.sha256(url.encode(errors="backslashreplace")).hexdigest()
  path = cache.folder() / "downloads" / name
  if (data := cache.read(path)) is not None:
    return data
  data = _again(lambda: _image(url, most))
  with cache.writing(path) as part:  # another worker may download the same URL
    part.write_bytes(data)
  return data


def local(url, most):
  """The path of a copy of a file of data, such as a JSONL, that is as the server has it now.

  Its name is of the version that the server tells, or else of what is in it.
  """
  version = _again(lambda: _version(url))
  path = _of_version(url, version or uuid.uuid4().hex)
  if version and cache.touch(path):
    return path

  def copy():
    found = hashlib.sha256()
    with cache.writing(path, KEEP_DATA) as part, part.open("wb") as file:
      for data in _parts(url, most)[0]:
        file.write(data)
        found.update(data)
    return found.hexdigest()
  content = _again(copy)
  return path if version else path.replace(_of_version(url, content))


def _of_version(url, version):
  name = hashlib.sha256(json.dumps([url, version]).encode()).hexdigest()
  return cache.folder() / "files" / name


def is_copy(path):
  """Whether local() made the file."""
  return os.path.dirname(path) == str(cache.folder() / "files")


def store(url):
  """The fsspec file system of a URL in an object store; ValueError where its package is missing."""
  import fsspec  # here: few need it
  package, command = STORES[scheme(url)]
  try:
    return fsspec.filesystem(scheme(url))
  except ImportError as e:
    raise _Missing(f"To read {url} the package {package} is needed: {command} ({e}).") from e


def _again(read):
  """What read() returns, tried again after a failure that may pass; OSError."""
  for wait in (*WAITS, None):
    try:
      return read()
    except urllib.error.HTTPError as e:
      error, final = e, e.code in FINAL
    except (FileNotFoundError, PermissionError, IsADirectoryError) as e:
      error, final = OSError(f"there is no such object, or you may not read it: {e}"), True
    except _Missing:
      raise
    except (http.client.HTTPException, ValueError) as e:  # a body cut short, a URL that is none
      error, final = OSError(f"{type(e).__name__}: {e}"), isinstance(e, ValueError)
    except OSError as e:
      error, final = e, isinstance(e, _Wrong)
    except Exception as e:  # of aiohttp, botocore, ...
      error, final = OSError(f"{type(e).__name__}: {e}"), False
    if final or wait is None:
      raise error
    time.sleep(wait)


# Of the schemes in WEB alone: urlopen() would follow a redirect to ftp://.
_OPENER = urllib.request.OpenerDirector()
for _handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler,
                 urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler,
                 urllib.request.HTTPRedirectHandler, urllib.request.HTTPErrorProcessor,
                 urllib.request.UnknownHandler):
  _OPENER.add_handler(_handler())


class _Wrong(OSError):
  """An answer that is not what was asked for."""


class _Missing(ValueError):
  """A package is missing."""


def _image(url, most):
  parts, kind = _parts(url, most)
  data = b"".join(parts)
  if not data or data[:100].lstrip().startswith(b"<") or kind == "text/html":
    raise _Wrong(f"the server answers with {'a web page' if data else 'nothing'}, not an image")
  return data


def _parts(url, most):
  """(iterator over the bytes, MIME type or None); OSError where they are too many or too few."""
  if scheme(url) in WEB:
    answer = _OPENER.open(_quoted(url), timeout=TIMEOUT)
    kind, expected = answer.headers.get_content_type(), answer.length
  else:
    answer, kind = store(url).open(url, "rb", cache_type="readahead", block_size=CHUNK), None
    expected = answer.size

  def parts():
    size = 0
    with contextlib.closing(answer):
      while part := answer.read(CHUNK):
        size += len(part)
        if size > most:
          raise _Wrong(f"more than {most >> 20} MiB")
        yield part
      if expected is not None and size != expected:
        raise OSError(f"the connection ended after {size:,} of {expected:,} bytes")
  return parts(), kind


def _version(url):
  """What tells whether a file was changed, JSON; None where the server says nothing of it."""
  if scheme(url) in WEB:
    request = urllib.request.Request(_quoted(url), method="HEAD")
    try:
      with _OPENER.open(request, timeout=TIMEOUT) as answer:
        found = [answer.headers.get(k) for k in ("ETag", "Last-Modified", "Content-Length")]
      return found if any(found[:2]) else None
    except urllib.error.HTTPError as e:
      if e.code in (403, 405, 501):  # signed URLs allow GET alone
        return None
      raise
  about = store(url).info(url)
  return [str(about.get(k)) for k in ("etag", "ETag", "generation", "blob_id", "mtime",
                                      "LastModified", "size")]


def _quoted(url):
  """A URL as people write it, with spaces and letters of all languages, as HTTP takes it."""
  parts = urllib.parse.urlsplit(url)
  host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
  return urllib.parse.quote(parts._replace(netloc=host, fragment="").geturl(), safe=SAFE)


class Address(os.PathLike):
  """A URL of a file or a folder, with what the sources use of a path."""

  def __init__(self, url):
    scheme(url)
    self.url = url

  def __fspath__(self):
    return self.url

  __str__ = __fspath__

  @property
  def _plain(self):  # without the ?query of a URL of the web
    return self.url.partition("?")[0] if scheme(self.url) in WEB else self.url

  @property
  def parent(self):
    return Address(self._plain.rpartition("/")[0])

  @property
  def name(self):
    return self._plain.rpartition("/")[2]

  @property
  def suffix(self):
    return os.path.splitext(self.name)[1]

  def __truediv__(self, name):
    name = urllib.parse.quote(name) if scheme(self.url) in WEB else name
    return Address(f"{self.url.rstrip('/')}/{name}")
