"""Downloads the files of URLs, each once."""
import hashlib
import os
import pathlib
import urllib.request

TIMEOUT = 30  # seconds without a byte
CHUNK = 2**20


def fetch(url, most):
  """Returns the bytes of an http(s) URL; OSError if that fails or they are more than `most`.

  It keeps them in ~/.cache/big_vlm/downloads ($BIG_VLM_CACHE/downloads) under the hash of the URL,
  and does not download them again.
  """
  cache = pathlib.Path(os.environ.get("BIG_VLM_CACHE") or "~/.cache/big_vlm").expanduser()
  path = cache / "downloads" / hashlib.sha256(url.encode()).hexdigest()
  if path.exists():
    return path.read_bytes()
  parts, size = [], 0
  with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
    while part := answer.read(CHUNK):
      parts.append(part)
      size += len(part)
      if size > most:
        raise OSError(f"more than {most >> 20} MiB")
  data = b"".join(parts)
  path.parent.mkdir(parents=True, exist_ok=True)
  unfinished = path.with_suffix(f".{os.getpid()}")  # another worker may download the same URL
  unfinished.write_bytes(data)
  os.replace(unfinished, path)
  return data
