"""Folders that `datasets` wrote with save_to_disk: Arrow files, mapped into memory.

Any row is read at once, and nothing else is, so that a training may shuffle freely. The library
`datasets` itself is not needed. The hub's Parquet files are read by data/parquet.py.
"""
import hashlib
import pathlib

import numpy as np
from etils import epy

from big_vlm import files
from big_vlm.data.table import Table, python_row, state
from pp.foreign import open_regular, parse_json, read_bytes, reading
from pp.names import pick

with epy.lazy_imports(error_callback="pip install 'big_vlm[train]'"):  # slow to import
  import pyarrow
  import pyarrow.compute

END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream that is whole
MOST_JSON, MOST_NAME = 2**26, 255  # bytes of state.json, characters of a split's name
COMPRESSED = 2**20  # bytes that reading a batch may allocate; one that is only mapped needs few


class HuggingFace(Table):
  """Random access to the rows of Dataset.save_to_disk(path), or of a split of a DatasetDict's.

  Args:
    path: of the folder.
    split: of a DatasetDict; None where it has only one.
    check: read all texts now, and refuse texts and images that are null.
    image, video, prefix, suffix, id: names of columns, see fields.py.

  Raises:
    ValueError: a file is cut off or damaged, or lacks a column.
    FileNotFoundError: there is no such folder or file.
  """

  def __init__(self, path, split=None, check=True, **fields):
    super().__init__(fields)
    self._folder = _folder(path, split)
    about = _json(self._folder / "state.json")
    if not isinstance(about, dict) or not isinstance(about.get("_data_files"), list):
      raise ValueError(f"{self._folder / 'state.json'} is not that of a folder of save_to_disk.")
    if about.get("_indices_data_files"):
      raise ValueError(f"{self._folder} was written by a version of `datasets` below 1.6, with "
                       "indices: load it with a newer one, and save it again.")
    self._files = [files.inside(self._folder, entry.get("filename") if isinstance(entry, dict)
                                else entry) for entry in about["_data_files"]]
    self._tables, self._states = [], []
    self._open(check)
    self._ends = np.cumsum([t.num_rows for t in self._tables], dtype=np.int64)
    if not self._files or not len(self):
      raise ValueError(f"{self._folder} has no rows.")
    self._use(self._tables[0].schema, self._folder)
    if check:
      self._refuse_null()

  def fingerprint(self):
    """SHA-256 of the fingerprint that `datasets` gave the data and of the sizes of its files."""
    about = _json(self._folder / "state.json")
    sizes = [file.stat().st_size for file in self._files]
    return hashlib.sha256(f"{about.get('_fingerprint')} {sizes}".encode()).hexdigest()

  def _open(self, check):
    for file in self._files:
      if not file.is_file():
        raise FileNotFoundError(f"{self._folder} lacks {file.name}, which its state.json names.")
      with reading(file):
        self._states.append(state(file))
        self._tables.append(_mapped(file, check))
      if self._tables[-1].schema.names != self._tables[0].schema.names:
        raise ValueError(f"{file} has other columns than {self._files[0]}.")

  def _nulls(self, path):
    """Rows in which a column is null."""
    return sum(_nulls(table.column(path[0]), path[1:]) for table in self._tables)

  def _row(self, index, names):
    file, row = self._place(index)
    return python_row(self._tables[file], row, names)

  def __getstate__(self):
    return {k: v for k, v in vars(self).items() if k != "_tables"}

  def __setstate__(self, found):  # in a worker
    vars(self).update(found, _tables=[], _states=[])
    self._open(check=False)
    if odd := [f for f, a, b in zip(self._files, self._states, found["_states"]) if a != b]:
      raise ValueError(f"{odd[0]} was changed after it was opened: start again.")


def _folder(path, split):
  """The folder of one data set, below that of a DatasetDict."""
  if not files.is_local(path):
    raise ValueError(f"{path}: folders of save_to_disk are mapped from a disk. Copy it there "
                     "first.")
  folder = pathlib.Path(path)
  if not folder.is_dir():
    raise FileNotFoundError(f"There is no folder {folder}.")
  if (folder / "dataset_dict.json").is_file():
    names = _json(folder / "dataset_dict.json")
    names = names.get("splits") if isinstance(names, dict) else None
    if not isinstance(names, list) or not names or not all(
        isinstance(n, str) and len(n) <= MOST_NAME for n in names):
      raise ValueError(f"{folder / 'dataset_dict.json'} names no splits.")
    if split is None and len(names) > 1:
      raise ValueError(f"{folder} has the splits {', '.join(names)}: choose with split=, "
                       f"or name the folder of one, {folder / names[0]}.")
    name = pick({n: n for n in names}, split or names[0], f"split of {folder}")
    files.inside(folder, f"{name}/state.json")  # a name from a file leads nowhere else
    folder = folder / name
  elif split is not None:
    raise ValueError(f"{folder} is one data set without splits: leave split={split!r} out.")
  if not (folder / "state.json").is_file():
    raise FileNotFoundError(f"{folder} has no state.json: it is no folder of save_to_disk. Parquet "
                            "files are read with name='parquet'.")
  return folder


def _json(path):
  return parse_json(read_bytes(path, MOST_JSON), path)


def _mapped(path, check):
  """The pyarrow.Table of an Arrow stream, whose data stay on the disk until they are read.

  check: validate the places of all values, and all texts: a damaged file would crash a later read.
  """
  with open_regular(path) as file:
    file.seek(-min(len(END), path.stat().st_size), 2)
    if file.read() != END:
      raise ValueError(f"{path} is cut off: it does not end as an Arrow stream does. Copy it "
                       "again.")
  found, before = [], pyarrow.total_allocated_bytes()
  mapped = pyarrow.memory_map(str(path))
  reader = pyarrow.ipc.open_stream(mapped)
  for batch in reader:
    if pyarrow.total_allocated_bytes() - before > COMPRESSED:
      raise ValueError(f"{path} is compressed, so that its rows cannot be mapped: load it with "
                       "`datasets`, and save it again.")
    if check:
      batch.validate(full=True)
    found.append(batch)
  if mapped.tell() != mapped.size():
    raise ValueError(f"{path} is damaged: the stream ends at byte {mapped.tell():,} of "
                     f"{mapped.size():,}. Copy it again.")
  return pyarrow.Table.from_batches(found, reader.schema)


def _nulls(column, path):
  """How many values at a path below a column are null; 0 where it leads into lists."""
  for name in path or ["bytes"]:
    if pyarrow.types.is_struct(column.type) and column.type.get_field_index(name) >= 0:
      column = pyarrow.compute.struct_field(column, name)
    elif path:
      return 0
  return column.null_count
