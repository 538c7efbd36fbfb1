"""Downloads the files of URLs, each once."""
import hashlib
import http.client
import os
import pathlib
import urllib.parse
import urllib.request

from big_vlm import files

TIMEOUT = 30  # seconds without a byte
CHUNK = 2**20
SAFE = "%/:=&?~#+!$,;'@()*[]"  # characters of a URL that quote() leaves


def cache_folder():
  """~/.cache/big_vlm, or $BIG_VLM_CACHE."""
  return pathlib.Path(os.environ.get("BIG_VLM_CACHE") or "~/.cache/big_vlm").expanduser()


def fetch(url, most):
  """Returns the bytes of the image or video at an http(s) URL.

  It keeps them in ~/.cache/big_vlm/downloads ($BIG_VLM_CACHE/downloads) under the hash of the URL,
  and does not download them again. Raises OSError, and keeps nothing, if that fails in any way, if
  they are more than `most`, or end before the length that the server gave, or are a web page.
  """
  name = hashlib.sha256(url.encode(errors="backslashreplace")).hexdigest()
  path = cache_folder() / "downloads" / name
  if path.exists():
    return path.read_bytes()
  try:
    data = _download(_quoted(url), most)
  except (http.client.HTTPException, ValueError) as e:  # a body cut short, a URL that is none
    raise OSError(f"{type(e).__name__}: {e}") from e
  with files.replacing(path) as part:  # another worker may download the same URL
    part.write_bytes(data)
  return data


def _quoted(url):
  """A URL as people write it, with spaces and letters of all languages, as HTTP takes it."""
  parts = urllib.parse.urlsplit(url)
  host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
  return urllib.parse.quote(parts._replace(netloc=host, fragment="").geturl(), safe=SAFE)


def _download(url, most):
  parts, size = [], 0
  with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
    expected, kind = answer.length, answer.headers.get_content_type()
    while part := answer.read(CHUNK):
      parts.append(part)
      size += len(part)
      if size > most:
        raise OSError(f"more than {most >> 20} MiB")
  if expected is not None and size != expected:
    raise OSError(f"the connection ended after {size:,} of {expected:,} bytes")
  data = b"".join(parts)
  if not data or data[:100].lstrip().startswith(b"<") or kind == "text/html":
    raise OSError(f"the server answers with {'a web page' if data else 'nothing'}, not an image")
  return data
