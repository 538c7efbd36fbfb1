"""Where the members of a tar lie: found once by tarfile, and kept.

The index of a tar is a file of the cache, ~/.cache/big_vlm/tar_index ($BIG_VLM_CACHE/tar_index),
with the size and the time of the tar it is of: one of a tar that was changed is made anew.
"""
import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import tarfile
import zipfile
from typing import NamedTuple

import numpy as np

from big_vlm import files
from big_vlm.data import cache
from big_vlm.data.table import state
from pp.foreign import reading

VERSION = 1
NAME = re.compile(r"((?:.*/|)[^./]+)[.]([^/]*)")  # key, extension: as webdataset splits a name
META = re.compile(r"__[^/]*__($|/)")  # names that webdataset leaves out
MOST_KEY = 1024  # bytes of a key
MOST_HEADER = 1 << 20  # bytes
BLOCK = 512


class TarIndex(NamedTuple):
  """The samples of a tar in the order of their first members."""
  keys: np.ndarray  # bytes [N]: UTF-8
  extensions: list  # of str, all that there are
  members: np.ndarray  # int64 [M, 4]: sample, extension, first byte, size; sorted by sample
  digest: str  # SHA-256 of the members' names, places, sizes and times
  state: tuple  # of the file
  others: int  # files whose names have no key and extension, such as README


def open_index(path, name):
  """The TarIndex of a tar, from the cache or made now. name: that it has in messages.

  Raises ValueError for what is no tar, is cut off or compressed, holds links, or has a member
  twice.
  """
  kept = cache.folder() / "tar_index" / (
      hashlib.sha256(os.path.abspath(path).encode(errors="surrogateescape")).hexdigest() + ".npz")
  now = state(path)
  found = _load(kept)
  if found and found.state == now:
    return found
  if found:
    print(f"{name} was changed since it was read last: its index is made anew.", flush=True)
  with reading(name), _Headers(path) as file:
    found = _read(file, path, now, name)
  with contextlib.suppress(OSError):  # a folder that cannot be written costs time alone
    _store(kept, found)
  return found


class _Headers(io.FileIO):
  """A tar of which a header can be read, but not one of megabytes, as long names and pax may be."""

  def read(self, size=-1):
    if size > MOST_HEADER:
      raise ValueError(f"it has a header of {size:,} bytes; at most {MOST_HEADER:,} are read")
    return super().read(size)


def _read(file, path, now, name):
  keys, extensions, seen, rows, others, last = {}, {}, set(), [], 0, -1
  digest = hashlib.sha256()
  try:
    tar = tarfile.open(fileobj=file, mode="r:")
  except tarfile.ReadError:
    file.seek(0)
    packed = file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
    raise ValueError(f"{name} is " + ("compressed, so that its members cannot be read one by one: "
                     "unpack it, e.g. with gunzip" if packed else "not a tar") + ".") from None
  with tar:
    for member in tar:
      if tar.offset <= last:
        raise ValueError(f"{name} is damaged: a member has a negative size.")
      last = tar.offset
      if member.isdir() or META.match(member.name):
        continue
      if not member.isreg() or member.issparse():
        raise ValueError(f"{name}: the member {member.name!r} is a link, a sparse file or a device:"
                         " pack plain files (tar --dereference).")
      if not (parts := NAME.fullmatch(member.name)):
        others += 1
        continue
      key = parts[1].encode(errors="surrogateescape")
      if len(key) > MOST_KEY:
        raise ValueError(f"{name}: the name {member.name[:60]!r}... is longer than {MOST_KEY}.")
      row = (keys.setdefault(key, len(keys)),
             extensions.setdefault(parts[2].lower(), len(extensions)))
      if row in seen:
        raise ValueError(f"{name} has the member {member.name!r} twice.")
      seen.add(row)
      rows.append((*row, member.offset_data, member.size))
      digest.update(repr((member.name, member.offset_data, member.size, member.mtime)).encode(
          errors="surrogateescape"))
      tar.members = []  # tarfile keeps all of them otherwise
    end = tar.offset
  file.seek(end)
  if file.read(BLOCK) != bytes(BLOCK):  # where tarfile ends without a word
    raise ValueError(f"{name} is cut off or damaged: after {len(rows):,} members there is neither "
                     "another one nor the end of a tar. Copy it again.")
  if state(path) != now:
    raise ValueError(f"{name} was changed while it was read: start again.")
  members = np.array(rows, np.int64).reshape(-1, 4)
  members = members[np.argsort(members[:, 0], kind="stable")]
  names = np.array(list(keys) or [b""], "S")[:len(keys)]
  return TarIndex(names, list(extensions), members, digest.hexdigest(), now, others)


def _store(path, index):
  about = dict(version=VERSION, extensions=index.extensions, digest=index.digest,
               state=index.state, others=index.others)
  with files.replacing(path) as part, open(part, "wb") as file:
    np.savez(file, keys=index.keys, members=index.members,
             about=np.frombuffer(json.dumps(about).encode(), np.uint8))


def _load(path):
  """The TarIndex of a file, None where there is none that can be read."""
  try:
    with np.load(pathlib.Path(path), allow_pickle=False) as file:
      about = json.loads(file["about"].tobytes())
      if about["version"] != VERSION:
        return None
      return TarIndex(file["keys"], about["extensions"], file["members"], about["digest"],
                      tuple(about["state"]), about["others"])
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    return None
