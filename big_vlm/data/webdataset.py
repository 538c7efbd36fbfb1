"""WebDataset: tars whose members 0001.jpg, 0001.txt, 0001.json are one example, "0001".

  image, video   the member .jpg, .jpeg, .png, .gif, .bmp, .webp; .mp4 and so on
  txt            a text         json   a JSON value         cls   a whole number
  others         bytes, under their extensions; they are not unpickled

Members of a sample may lie anywhere in their tar. Samples are read at random through an index of
the members (tar_index.py), so that a training shuffles all of them, not a buffer.
"""
import collections
import hashlib
import os

import numpy as np

from big_vlm.data import data_files, tar_index
from big_vlm.data.fields import Fields
from big_vlm.data.jsonl import MAX_FILE, MAX_LINE
from big_vlm.data.table import check_unchanged
from pp.foreign import open_regular, parse_json
from pp.names import pick

IMAGES = ("jpg", "jpeg", "png", "gif", "bmp", "webp")
VIDEOS = ("mp4", "m4v", "mov", "webm", "mkv", "avi")
READ = ("txt", "json", "cls")  # others stay bytes
INCOMPLETE = ("raise", "skip")


class WebDataset:
  """Random access to the samples of one tar or several.

  Args:
    path: of a tar, or a pattern, or a list of these; also train-{000000..000099}.tar; these also
      behind https:// or in an object store, see data_files.py; or a folder.
    split: of a folder: the first part of the tars' names.
    members: what every sample must have, e.g. ("image", "txt"); None: what most samples have.
    incomplete: "raise", or "skip", which leaves samples out that lack a member, and says how many.
    image, video, prefix, suffix, id: extensions, or places in a .json ("json/caption"), see
      fields.py.

  Raises:
    ValueError: a tar is damaged, has a member twice or one that is too large, a sample lacks a
      member, or there is no such extension.
    FileNotFoundError: there is no such tar.
  """

  def __init__(self, path, split=None, members=None, incomplete="raise", **fields):
    pick(dict.fromkeys(INCOMPLETE), incomplete, "incomplete of a WebDataset source")
    self._fields, self._own = Fields(**fields), {key for key in fields if fields[key]}
    self._files = data_files.matching(path, ".tar", split)
    self._copies = data_files.copies(self._files)
    self._indices = [tar_index.open_index(*pair) for pair in zip(self._copies, self._files)]
    self._rows = np.concatenate([self._rows_of(i) for i in range(len(self._files))])
    names = self._names_of_samples()
    self._fields.check(sorted(set().union(*names)), self._files[0])
    self._leave_out(names, members, incomplete)
    if not len(self):
      raise ValueError(f"{self._files[0]} has no samples: members are called KEY.EXTENSION, such "
                       "as 0001.jpg.")

  def __len__(self):
    return len(self._rows)

  def __getitem__(self, index):
    row, where = self._read(index, lambda name: True), self.where(index)
    return {**self._fields.example(row, where), "_id": self.id(index)}

  def fields(self, index):
    """The example without the members that stay bytes, which are not read; see Fields.light()."""
    return self._fields.light(self._read(index, lambda name: name in READ))

  def where(self, index):
    """The place of an example: "data/train.tar, sample 0001"."""
    file, key = self._place(index)
    return f"{self._files[file]}, sample {key}"

  def fingerprint(self):
    """SHA-256 of the members' names, places, sizes and times; their content is not read."""
    return hashlib.sha256("".join(i.digest for i in self._indices).encode()).hexdigest()

  def _place(self, index):
    if not 0 <= index < len(self):
      raise IndexError(f"{self._files[0]} has {len(self)} samples: there is no {index}.")
    file, sample = self._rows[index, :2]
    return file, self._indices[file].keys[sample].decode(errors="surrogateescape")

  def id(self, index):
    """The "_id" of an example: "train.tar:0001"."""
    file, key = self._place(index)
    return f"{self._files[file].name}:{key}"

  def _rows_of(self, file):
    """int64 [N, 4] of a tar: file, sample, its first member, its last + 1."""
    samples = self._indices[file].members[:, 0]
    begin = np.flatnonzero(np.diff(samples, prepend=-1))
    end = np.append(begin, len(samples))[1:]
    return np.stack([np.full_like(begin, file), samples[begin], begin, end], 1).astype(np.int64)

  def _name(self, extension):
    """What the member of an extension is called in the example."""
    for name, known in (("image", IMAGES), ("video", VIDEOS)):
      if extension in known and name not in self._own:
        return name
    return extension

  def _names_of_samples(self):
    """[frozenset of names] of the samples; refuses two members of one name, and large ones."""
    known, found = {}, []
    for index in range(len(self)):
      file, _, begin, end = self._rows[index].tolist()
      tar = self._indices[file]
      key = (file, *tar.members[begin:end, 1].tolist())
      if key not in known:
        extensions = [tar.extensions[i] for i in key[1:]]
        names = list(map(self._name, extensions))
        if len(set(names)) < len(names):
          raise ValueError(f"{self.where(index)} has {', '.join('.' + e for e in extensions)}: say "
                           f"which is the image, e.g. image={extensions[0]!r}.")
        known[key] = frozenset(names)
      found.append(known[key])
    for file, tar in enumerate(self._indices):
      most = np.array([MAX_LINE if e in READ else MAX_FILE for e in tar.extensions] or [0])
      for row in tar.members[tar.members[:, 3] > most[tar.members[:, 1]]][:1]:
        raise ValueError(
            f"{self._files[file]}: {tar.keys[row[0]].decode(errors='replace')}."
            f"{tar.extensions[row[1]]} has {row[3] >> 20:,} MiB; at most "
            f"{most[row[1]] >> 20:,} are read.")
    return found

  def _leave_out(self, names, members, incomplete):
    """Refuses or leaves out the samples that lack a member, and tells of what is no member."""
    if others := sum(tar.others for tar in self._indices):
      print(f"{self._files[0]}: {others:,} files without a key and an extension are left out.",
            flush=True)
    if members is not None:
      for name in members:
        pick(dict.fromkeys(set().union(*names)), name, f"member of the samples of {self._files[0]}")
    elif names:
      members = collections.Counter(names).most_common(1)[0][0]
    lacking = [i for i, have in enumerate(names) if not set(members) <= have]
    if not lacking:
      return
    lacks = ", ".join(sorted(set(members) - names[lacking[0]]))
    said = (f"{len(lacking):,} of {len(self):,} samples lack a member that the others have; the "
            f"first is {self.where(lacking[0])}, without {lacks}")
    if incomplete == "raise":
      raise ValueError(f"{said}. incomplete='skip' in the config's data leaves them out, and "
                       f"members=('image', ...) says what a sample must have.")
    print(f"{said}. They are left out.", flush=True)
    self._rows = np.delete(self._rows, lacking, axis=0)

  def _read(self, index, wanted):
    """{name: value} of the members of a sample whose names are wanted."""
    where = self.where(index)
    file, _, begin, end = self._rows[index].tolist()
    tar, copy, found = self._indices[file], self._copies[file], {}
    with open_regular(copy) as opened:
      check_unchanged(copy, tar.state, self._files[file])
      for _, extension, at, size in tar.members[begin:end].tolist():
        extension = tar.extensions[extension]
        if wanted(name := self._name(extension)):
          data = _bytes(opened, at, size, f"{where}.{extension}")
          found[name] = _value(data, extension, f"{where}.{extension}")
    return found


def _bytes(file, at, size, where):
  parts = []
  while size:  # 2 GiB at once at most
    part = os.pread(file.fileno(), size, at)
    if not part:
      raise OSError(f"{where} cannot be read: the tar was cut short.")
    parts.append(part)
    at, size = at + len(part), size - len(part)
  return b"".join(parts)


def _value(data, extension, where):
  if extension == "json":
    return parse_json(data, where)
  if extension not in READ:
    return data
  try:
    text = data.decode("utf-8-sig")
    return int(text) if extension == "cls" else text
  except ValueError as e:
    raise ValueError(f"{where} is not {'a whole number' if extension == 'cls' else 'UTF-8'}: "
                     f"{e}.") from None
