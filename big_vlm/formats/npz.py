"""NumPy's .npz files: read array by array, written as a stream.

bfloat16 is stored by numpy as 2-byte void. Uncompressed arrays are memory-mapped.
"""
import math
import os
import struct
import threading
import zipfile
import zlib

import ml_dtypes
import numpy as np

from big_vlm import files
from big_vlm.formats.lazy_array import LazyArray
from pp.foreign import most_unpacked, reading

MAX_DIRECTORY = 4 << 20  # bytes of the list of members: over 20,000 of them
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def split_part(path):
  """("x.npz", "sub/tree") of "x.npz:sub/tree", by which a part of a file is meant; (path, "")."""
  file, found, part = str(path).partition(".npz:")
  return (file + ".npz", part) if found else (file, "")


def read_file(file):
  """{key: LazyArray} of an npz file. Raises ValueError, naming the file and the array, for a
  corrupt one."""
  folder, name = os.path.split(file)
  with reading(file), _archive(files.inside(folder or ".", name)) as archive:
    leaves = {}
    for info in archive.infolist():
      _check_member(file, info, leaves)
      leaves[info.filename.removesuffix(".npy")] = _leaf(file, archive, info)
    return leaves


def _archive(file):
  try:
    _check_directory(file)
    return zipfile.ZipFile(file)
  except zipfile.BadZipFile as e:
    raise ValueError(f"{file} ({os.path.getsize(file):,} bytes) is not a complete .npz file ({e}): "
                     "its end is missing or it is something else. Copy or download it again."
                     ) from e


def _check_directory(file):
  """Raises ValueError where the list of members, which zipfile reads whole, is too long."""
  with open(file, "rb") as f:
    f.seek(max(0, os.path.getsize(file) - (1 << 16) - 98))
    tail = f.read()
  large, end = tail.rfind(b"PK\6\6"), tail.rfind(b"PK\5\6")
  for at, size, form in ((large, 40, "<Q"), (end, 12, "<I")):
    if at >= 0 and len(tail) >= at + size + 8:
      listed, = struct.unpack_from(form, tail, at + size)
      if MAX_DIRECTORY < listed < 0xffffffff:
        raise ValueError(f"{file}: its list of arrays has {listed:,} bytes; at most "
                         f"{MAX_DIRECTORY:,} are read.")


def _check_member(file, info, leaves):
  """Raises ValueError for a member of the zip file that numpy would not write."""
  name, packed = info.filename, info.compress_type == zipfile.ZIP_DEFLATED
  reason = (
      "is not an array of numpy" if not name.endswith(".npy") else
      "has a name that leaves its place" if ".." in name.split("/") or name.startswith("/") else
      "stands twice" if name.removesuffix(".npy") in leaves else
      "is encrypted" if info.flag_bits & 1 else
      f"is compressed by method {info.compress_type}"
      if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) else
      "is stored with another length than its own"
      if not packed and info.file_size != info.compress_size else
      f"would grow from {info.compress_size:,} to {info.file_size:,} bytes"
      if packed and info.file_size > most_unpacked(info.compress_size) else "")
  if reason:
    raise ValueError(f"{file}: {name[:80]!r} {reason} and is refused.")


def _leaf(file, archive, info):
  with archive.open(info) as f:
    try:
      header = (np.lib.format.read_array_header_1_0 if np.lib.format.read_magic(f) == (1, 0)
                else np.lib.format.read_array_header_2_0)
      shape, fortran, stored = header(f)
      start = f.tell()
    except ValueError as e:
      raise ValueError(f"{file}: {info.filename} is corrupt, it does not begin as an array ({e}). "
                       "Copy or download the file again.") from e
  if stored.hasobject:
    raise ValueError(f"{file}: {info.filename} holds Python objects, not numbers; such a file is "
                     "refused, since reading it could run code.")
  if start + math.prod(shape) * stored.itemsize != info.file_size or not stored.itemsize:
    raise ValueError(f"{file}: {info.filename} is corrupt: {stored} {list(shape)[:8]} does not "
                     f"take its {info.file_size:,} bytes. Copy or download the file again.")
  dtype = BFLOAT16 if stored == np.dtype("V2") else stored
  checked = threading.Event()

  def mapped():
    if not math.prod(shape):
      return np.zeros(shape, stored)
    with open(file, "rb") as f:
      f.seek(info.header_offset)
      at = info.header_offset + 30 + sum(struct.unpack("<HH", f.read(30)[26:30]))
    if not checked.is_set():
      _check(file, info, np.memmap(file, np.uint8, "r", at, (info.file_size,)))
      checked.set()
    return np.memmap(file, stored, "r", at + start, shape, "F" if fortran else "C")

  def unpacked():
    try:
      with reading(file), zipfile.ZipFile(file) as archive, archive.open(info) as f:
        return np.lib.format.read_array(f, allow_pickle=False)
    except (zipfile.BadZipFile, zlib.error, ValueError) as e:
      raise _corrupt(file, info) from e

  array = mapped if info.compress_type == zipfile.ZIP_STORED else unpacked
  return LazyArray(shape, dtype, lambda index=(): array().view(dtype)[tuple(index)])


def _check(file, info, data, chunk=1 << 24):
  crc = 0
  for i in range(0, len(data), chunk):
    crc = zlib.crc32(data[i:i + chunk], crc)
  if crc != info.CRC:
    raise _corrupt(file, info)


def _corrupt(file, info):
  return ValueError(f"{file}: {info.filename.removesuffix('.npy')} is corrupt, its bytes do not "
                    "match their checksum. Copy or download the file again.")


def write_file(path, arrays, note=lambda done, total: None):
  """Writes {key: LazyArray}, a layer of one array in memory at a time; note(done, total): bytes."""
  done, total = 0, sum(leaf.nbytes for leaf in arrays.values())
  with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
    for key, leaf in sorted(arrays.items()):
      stored = np.dtype("V2") if leaf.dtype == BFLOAT16 else leaf.dtype
      with archive.open(f"{key}.npy", "w", force_zip64=True) as f:
        np.lib.format.write_array_header_1_0(f, {
            "descr": np.lib.format.dtype_to_descr(stored), "fortran_order": False,
            "shape": leaf.shape})
        for index in [(i,) for i in range(leaf.shape[0])] if len(leaf.shape) > 2 else [()]:
          x = np.ascontiguousarray(leaf.read(index))
          f.write(x.reshape(-1).view(np.uint8).data)
          done += x.nbytes
          note(done, total)
