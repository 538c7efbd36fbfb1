"""Parquet: one row per example, as `datasets` and the Hugging Face hub store them.

A file is read by its row groups, of which the last ones used stay in memory: CACHE bytes in each
process, however large the files are. A training that shuffles reads a whole row group for nearly
every example. They should therefore be small: `datasets` writes 100 rows of images, pyarrow by
itself a million.
"""
import collections
import hashlib
import os
import threading

import numpy as np
from etils import epy

from big_vlm.data import data_files
from big_vlm.data.table import Table, check_unchanged, classes_of, python_row, state
from big_vlm.formats import survey
from pp.foreign import most_unpacked, open_regular, reading

with epy.lazy_imports(error_callback="pip install 'big_vlm[train]'"):  # slow to import
  from pyarrow import parquet

CACHE = 2**28  # bytes of row groups that a process keeps
SLOW, MOST = 2**26, 2**31  # bytes of a row group: from which on a line says so, and the most
_noted = set()  # files of which the line was printed


class Parquet(Table):
  """Random access to the rows of one file or several.

  Args:
    path: of a file, or a pattern with * in it, or a list of these, also behind https:// or in an
      object store, see data_files.py; or a folder as the hub has it, with
      data/train-00000-of-00002.parquet and so on.
    split: of a folder; None where it has only one.
    check: refuse files now whose statistics say that a text or an image is null.
    image, video, prefix, suffix, id: names of columns, see fields.py.

  Raises:
    ValueError: a file is no Parquet or is cut off, lacks a column, or has other columns than the
      first.
    FileNotFoundError: there is no such file.
  """

  def __init__(self, path, split=None, check=True, **fields):
    super().__init__(fields)
    self._files = data_files.matching(path, ".parquet", split)
    self._copies = data_files.copies(self._files)
    self._groups, self._held = collections.OrderedDict(), 0  # bytes
    self._lock = threading.Lock()
    self._states, self._footers, rows = [], [], []
    for file, copy in zip(self._files, self._copies):
      self._states.append(state(copy))
      with reading(file):
        self._footers.append(parquet.read_metadata(copy))
      self._compare(file)
      rows.append([self._footers[-1].row_group(g).num_rows
                   for g in range(self._footers[-1].num_row_groups)])
    self._row_ends = [np.cumsum(r, dtype=np.int64) for r in rows]
    self._ends = np.cumsum([sum(r) for r in rows], dtype=np.int64)
    if not len(self):
      raise ValueError(f"{self._files[0]} has no rows.")
    self._note_groups()
    if check:
      self._refuse_null()

  def fingerprint(self):
    """SHA-256 of the files' footers: names, places and sizes of all columns, and their extremes."""
    found = hashlib.sha256()
    for copy in self._copies:
      with open_regular(copy) as opened:
        opened.seek(-8, os.SEEK_END)
        length = int.from_bytes(opened.read(4), "little")
        opened.seek(-8 - length, os.SEEK_END)
        found.update(opened.read(length))
    return found.hexdigest()

  def _nulls(self, path):
    """Rows in which a column is null, as far as the statistics of the files tell."""
    leaves = [".".join(path), f"{path[0]}.bytes"]
    return sum(survey.parquet(copy, leaves) for copy in self._copies)

  def _compare(self, file):
    """Takes the columns of the first file, and refuses another that has others."""
    schema = self._footers[-1].schema.to_arrow_schema()
    if len(self._footers) == 1:
      self._use(schema, file)
    elif odd := set(schema.names) ^ set(self._names):
      name = sorted(odd)[0]
      has, lacks = (file, self._files[0])[::1 if name in schema.names else -1]
      raise ValueError(f"{has} has the column {name!r}, {lacks} has not: files of one source have "
                       "the same columns.")
    else:
      known = self._fields.classes
      for name, classes in classes_of(schema, file).items():
        if known.get(name, classes) != classes:
          raise ValueError(f"{file} numbers the classes of {name!r} otherwise than "
                           f"{self._files[0]}, {classes[:9]} and not {known[name][:9]}: give each "
                           "a component of the mixture.")

  def _note_groups(self):
    sizes = [(f.row_group(g).total_byte_size, file) for f, file in zip(self._footers, self._files)
             for g in range(f.num_row_groups)]
    size, file = max(sizes, key=lambda pair: pair[0])
    again = ("Write it with smaller ones, pyarrow.parquet.write_table(table, path, "
             "row_group_size=100), or as Arrow: datasets.load_dataset('parquet', "
             f"data_files={str(file)!r}, split='train').save_to_disk('folder')")
    for footer, path, (stored, _) in zip(self._footers, self._files, self._states):
      unpacked = sum(footer.row_group(g).total_byte_size for g in range(footer.num_row_groups))
      if unpacked > most_unpacked(stored):
        raise ValueError(f"{path} would grow from {stored:,} to {unpacked:,} bytes and is refused.")
    if size > MOST:
      raise ValueError(f"{file} has a row group of {size >> 20:,} MiB; at most {MOST >> 20:,} are "
                       f"read at once. {again}.")
    if size > SLOW and file not in _noted:
      _noted.add(file)
      print(f"{file} has row groups of up to {size >> 20:,} MiB, and a training that shuffles "
            f"reads one for each example. {again}.", flush=True)

  def _row(self, index, names):
    file, row = self._place(index)
    group = int(self._row_ends[file].searchsorted(row, side="right"))
    row -= int(self._row_ends[file][group - 1]) if group else 0
    return python_row(self._group(file, group, tuple(names)), row, names)

  def _group(self, file, group, names):
    """The columns of a row group, from memory if it was used before."""
    key = file, group, names
    with self._lock:
      if key in self._groups:
        self._groups.move_to_end(key)
        return self._groups[key]
    path, copy = self._files[file], self._copies[file]
    check_unchanged(copy, self._states[file], path)
    with reading(path), parquet.ParquetFile(
        copy, metadata=self._footers[file], page_checksum_verification=True) as opened:
      table = opened.read_row_group(group, columns=list(names), use_threads=False)
    with self._lock:
      if key not in self._groups:  # another thread may have been faster
        self._groups[key] = table
        self._held += table.nbytes
      while len(self._groups) > 1 and self._held > CACHE:
        self._held -= self._groups.popitem(last=False)[1].nbytes
    return table

  def __getstate__(self):  # of a worker, which has a memory of its own
    return {k: v for k, v in vars(self).items() if k not in ("_groups", "_held", "_lock")}

  def __setstate__(self, found):
    vars(self).update(found, _groups=collections.OrderedDict(), _held=0, _lock=threading.Lock())
