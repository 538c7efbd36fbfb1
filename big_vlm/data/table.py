"""What sources of Arrow tables share: rows become examples, columns their fields."""
import os

from etils import epy

from big_vlm.data import cache, download
from big_vlm.data.fields import FILES, TEXTS, Fields, leave_out
from pp.foreign import parse_json

with epy.lazy_imports(error_callback="pip install 'big_vlm[train]'"):  # slow to import
  import pyarrow


class Table:
  """Random access to rows. A subclass sets _files and _ends, and has _row() and _nulls().

  _files: [pathlib.Path]. _ends: int [files], the rows of a file and of those before it.
  """

  def __init__(self, fields):
    self._fields = Fields(**fields)

  def _use(self, schema, where):
    """Takes the pyarrow.Schema that all files have; ValueError where the fields do not fit it."""
    if twice := next((n for n in schema.names if schema.names.count(n) > 1), None):
      raise ValueError(f"{where} has two columns {twice!r}: rename one.")
    self._fields.check(schema.names, where)
    self._fields.classes = classes_of(schema, where)
    self._names = list(schema.names)
    self._light = [field.name for field in schema
                   if not _holds_bytes(field.type) and field.name not in (*FILES, "images")]

  def __len__(self):
    return int(self._ends[-1])

  def __getitem__(self, index):
    row, where = self._row(self._checked(index), self._names), self.where(index)
    return {**self._fields.example(row, where), "_id": self.id(index)}

  def fields(self, index):
    """The example without the columns that hold bytes, which are not read; see Fields.light()."""
    return self._fields.light(self._row(self._checked(index), self._light))

  def where(self, index):
    """The place of an example: "data/train.parquet, row 3"; rows count from 0."""
    file, row = self._place(index)
    return f"{self._files[file]}, row {row}"

  def _refuse_null(self):
    """Raises ValueError if a text or an image is null, as far as _nulls() knows."""
    for key, path in self._fields.needs(self._names).items():
      if nulls := self._nulls(path):
        name = "/".join(path)
        raise ValueError(f"{self._files[0]}{' and others' * (len(self._files) > 1)}: {name!r} is "
                         f"null in {nulls:,} of {len(self):,} rows. "
                         f"{leave_out(name, key not in TEXTS)}")

  def _checked(self, index):
    if not 0 <= index < len(self):
      raise IndexError(f"{self._files[0]} has {len(self)} rows: there is no {index}.")
    return index

  def _place(self, index):
    """(file, row of it) of an example."""
    file = int(self._ends.searchsorted(index, side="right"))
    return file, int(index - (self._ends[file - 1] if file else 0))

  def id(self, index):
    """The "_id" of an example: "train.parquet:3"."""
    file, row = self._place(index)
    return f"{self._files[file].name}:{row}"


def python_row(table, row, names):
  """{column: Python value} of a row of a pyarrow.Table or RecordBatch."""
  return {name: table.column(name)[row].as_py() for name in names}


def state(path):
  """What shows that a file was changed: its size and time; of a copy in the cache, whose time is
  that of its last use, the name says which version it is of."""
  found = os.stat(path)
  return found.st_size, 0 if download.is_copy(path) else found.st_mtime_ns


def check_unchanged(copy, was, file):
  """Raises ValueError where `copy`, as state() had it before, is another now; file: its name."""
  if state(copy) != tuple(was):
    raise ValueError(f"{file} was changed after it was opened: start again.")
  if download.is_copy(copy):
    cache.touch(copy)  # it stays while it is read


def _holds_bytes(type):
  """Whether values of a pyarrow.DataType hold bytes, at any depth."""
  t = pyarrow.types
  if t.is_binary(type) or t.is_large_binary(type) or t.is_fixed_size_binary(type) or (
      t.is_binary_view(type)):
    return True
  if t.is_dictionary(type):
    return _holds_bytes(type.value_type)
  return any(_holds_bytes(type.field(i).type) for i in range(type.num_fields))


def classes_of(schema, where):
  """{"label": its names} of the ClassLabel features that `datasets` notes in a schema."""
  text = (schema.metadata or {}).get(b"huggingface")
  info = parse_json(text, f"{where}, the metadata of `datasets`") if text else {}
  found = {}

  def look(feature, path):
    if isinstance(feature, list):  # as `datasets` wrote List before version 4
      for inner in feature:
        look(inner, path)
    elif isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
      found["/".join(path)] = [str(name) for name in feature.get("names") or ()]
    elif isinstance(feature, dict) and isinstance(feature.get("_type"), str):
      look(feature.get("feature"), path)  # of List, LargeList and Sequence
    elif isinstance(feature, dict):
      for key, value in feature.items():
        look(value, [*path, key])
  look((info.get("info") or {}).get("features") if isinstance(info, dict) else None, [])
  return found
