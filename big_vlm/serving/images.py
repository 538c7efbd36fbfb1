"""The images of a request: bytes from the URL that names them, within limits."""
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request

from big_vlm import files
from big_vlm.serving import protocol
from big_vlm.serving.protocol import ApiError
from pp import decode

SCHEMES = ("http", "https", "file")  # beside data, which needs no permission
PARAM = "image_url"


def read(url, allowed, max_bytes, max_pixels, timeout):
  """The encoded bytes of an image, of which the header is sound and the size allowed.

  allowed: of SCHEMES. timeout: seconds, of silence and of the whole. Raises ApiError.
  """
  scheme = url[:10].partition(":")[0].lower()
  if scheme in SCHEMES:
    if scheme not in allowed:
      raise ApiError(f"URLs of images are not fetched here ({scheme}): send the image itself as "
                     "data:image/png;base64,...", PARAM, "image_url_refused")
    data = _fetch(url, scheme, allowed, max_bytes, timeout)
  else:
    data = protocol.data_url(url, PARAM)
  check(data, max_pixels)
  return data


def check(data, max_pixels):
  """Raises ApiError unless the bytes begin as an image of at most so many pixels."""
  try:
    with decode.open_image(data) as image:
      width, height = image.size
  except Exception as e:  # Pillow's readers raise many kinds
    raise ApiError(f"The image of {len(data)} bytes cannot be read: it begins with {data[:8]!r}. "
                   "PNG, JPEG, GIF, BMP and WebP are.", PARAM, "invalid_image") from e
  if width * height > max_pixels:
    raise ApiError(f"The image has {width} x {height} pixels, at most {max_pixels:,} are taken: "
                   "make it smaller, the model sees little of it anyway.", PARAM,
                   "image_too_large", 413)


class _Redirects(urllib.request.HTTPRedirectHandler):
  """Follows to allowed schemes alone."""

  def __init__(self, allowed):
    self._allowed = allowed

  def redirect_request(self, req, fp, code, msg, headers, newurl):
    if urllib.parse.urlsplit(newurl).scheme not in set(self._allowed) - {"file"}:
      raise urllib.error.URLError(f"it redirects to {newurl[:80]!r}, which is not allowed")
    return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url, scheme, allowed, max_bytes, timeout):
  try:
    if scheme == "file":
      path = urllib.request.url2pathname(urllib.parse.urlsplit(url).path)
      with files.open_regular(path) as file:
        data = file.read(max_bytes + 1)
    else:
      opener = urllib.request.build_opener(_Redirects(allowed))
      end, data = time.monotonic() + timeout, b""
      with opener.open(url, timeout=timeout) as answer:
        while len(data) <= max_bytes and (part := answer.read1(1 << 16)):
          data += part
          if time.monotonic() > end:  # the socket's own limit is one of silence
            raise TimeoutError(f"it took more than {timeout:g} s")
  except (OSError, ValueError, http.client.HTTPException) as e:  # the latter two: not a URL
    why = os.strerror(e.errno) if getattr(e, "errno", None) else str(getattr(e, "reason", e))
    raise ApiError(f"The image {url[:80]!r} cannot be fetched: {why[:200]}.", PARAM,
                   "image_url_failed") from None
  if len(data) > max_bytes:
    raise ApiError(f"The image {url[:80]!r} has more than {max_bytes:,} bytes.", PARAM,
                   "image_too_large", 413)
  return data
