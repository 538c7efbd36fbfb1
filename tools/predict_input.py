"""What `tools.predict --input` asks: the files of a folder or pattern, or the lines of a JSONL.

    my/photos          the images and videos in a folder and in those below, by their names
    my/**/*.png        those that match; of a pattern every file counts
    my/ask.jsonl       one request a line, {"image": "cat.png", "prefix": "caption en"}; also
                       "images" and "video" as in a training, "prompt" for "prefix", and an "id"
    my/*.parquet       rows with an "image", and a "prefix" and an "id" if they like; also .tar of
                       WebDataset, and folders that Hugging Face's `datasets` wrote

But for the last, all of them may be in gs://. A request is read when it is its turn.
"""
import glob
import hashlib
import os
import pathlib
import re

from etils import epath

from big_vlm import files
from big_vlm.data import jsonl, source

IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
VIDEOS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
SHOWN = 3  # names in a line


def open_input(path, prompt=None, own=(), **of_lines):
  """The Files, Lines or Examples of --input; prompt: asked of all, else each line has its own.

  own: files that the command writes, which a pattern leaves out.
  of_lines: root, allow and check of a JSONL, see data/jsonl.py.

  Raises FileNotFoundError where nothing is there, and ValueError for what is not a request.
  """
  path = os.fspath(path)
  if re.search(r"\.jsonl(\.gz)?$", path):
    return Lines(path, prompt, **of_lines)
  if re.search(r"\.(parquet|tar)$", path) or source.is_saved(path):
    return Examples(path, prompt, **of_lines)
  if not prompt:
    raise ValueError(f"--input {path} has no prompts of its own: give --prompt, which is asked of "
                     "all, or a .jsonl with a prompt on each line.")
  root = epath.Path(path)
  if root.is_dir():
    found = _in_folder(root)
  elif root.exists():
    root, found = root.parent, [root]
  elif glob.has_magic(path):
    own = [files.absolute(p) for p in own]
    found = [p for p in files.matching(path) if not p.is_dir() and files.absolute(p) not in own]
    if not found:
      raise FileNotFoundError(f"--input {path}: no file matches this pattern.")
    root = epath.Path(os.path.commonpath([p.parent for p in found])) if files.is_local(path) else (
        epath.Path(path.partition("*")[0].rpartition("/")[0]))
  else:
    raise FileNotFoundError(f"--input {path}: there is no such folder, file or pattern of files.")
  return Files(root, found, prompt)


def _in_folder(root):
  """The images and videos below a folder, sorted; says how many other files it leaves out."""
  found, others = [], []
  for path in files.below(root):
    if not path.name.startswith("."):  # .DS_Store, and the ._cat.jpg that macOS puts beside cat.jpg
      (found if path.suffix.lower() in (*IMAGES, *VIDEOS) else others).append(path)
  if others:
    names = ", ".join(str(p.relative_to(root)) for p in sorted(others)[:SHOWN])
    print(f"{len(others):,} files of {root} are neither images nor videos by their names: {names}"
          + ", ..." * (len(others) > SHOWN))
  if not found:
    raise FileNotFoundError(f"--input {root}: the folder has no image or video, such as .jpg or "
                            ".mp4.")
  return sorted(found)


class Files:
  """Random access to requests about files: {"prefix", "image" or "video"}.

  ids: of the requests, JSON values. names: of their image. prompts: [str]. kinds: ("image", 1),
  ("images", their number), or ("video", 1).
  """

  def __init__(self, root, paths, prompt):
    self._paths = paths
    self.ids = self.names = [os.fspath(p.relative_to(root)) for p in paths]
    self.prompts = [prompt] * len(paths)
    self.kinds = [("video" if p.suffix.lower() in VIDEOS else "image", 1) for p in paths]
    for path, name in zip(paths, self.names):
      if not name.isprintable() and re.search("[\ud800-\udfff]", name):
        raise ValueError(f"{path}: the name of this file is not UTF-8; rename it.")

  def __len__(self):
    return len(self._paths)

  def __getitem__(self, index):
    path = self._paths[index]
    try:
      if not files.is_local(path):
        data = path.read_bytes()
      else:
        with files.open_regular(pathlib.Path(path)) as file:
          if (size := os.fstat(file.fileno()).st_size) > jsonl.MAX_FILE:
            raise OSError(f"its {size >> 20:,} MiB exceed the {jsonl.MAX_FILE >> 20} allowed")
          data = file.readall()
    except OSError as e:
      raise OSError(f"cannot be read: {e.strerror or e}") from e
    return {"prefix": self.prompts[index], self.kinds[index][0]: data}

  def path(self, index):
    return os.fspath(self._paths[index])

  where = path


class Lines:
  """Random access to the requests of a JSONL; see Files."""

  def __init__(self, path, prompt=None, **of_lines):
    self._lines = jsonl.Jsonl(path, **of_lines)
    self.ids, self.names, self.prompts, self.kinds = [], [], [], []
    for i in range(len(self._lines)):
      line, where = self._lines.line(i), self._lines.where(i)
      asked = [key for key in ("prefix", "prompt") if key in line]
      if not prompt and len(asked) != 1:
        raise ValueError(f"{where} has {_all_of(asked) or 'no prompt'}: give one of "
                         '"prefix" and "prompt", or --prompt for all lines. Its keys: '
                         f"{', '.join(map(repr, line))}.")
      said = prompt or line[asked[0]]
      if not isinstance(said, str):
        raise ValueError(f"{where}: the prompt is {said!r:.80}, not a text.")
      seen = [key for key in jsonl.FILES if line.get(key)]
      if len(seen) != 1:
        raise ValueError(f"{where} has {_all_of(seen) or 'no image'}: a request has an "
                         '"image", "images" or a "video".')
      if not isinstance(number := line.get("id", ""), (str, int)) or isinstance(number, bool):
        raise ValueError(f"{where}: the id is {number!r:.80}, neither a text nor a whole number.")
      name = line[seen[0]]
      self.ids.append(line.get("id", f"{pathlib.PurePath(path).name}:{i + 1}"))
      self.names.append(name if isinstance(name, str) else name[0])
      self.prompts.append(said)
      self.kinds.append((seen[0], len(name) if seen[0] == "images" else 1))

  def __len__(self):
    return len(self._lines)

  def __getitem__(self, index):
    example, (kind, _) = self._lines[index], self.kinds[index]
    key = "image" if kind == "images" else kind
    return {"prefix": self.prompts[index], key: example[key]}

  def path(self, index):
    """Of the first image or the video of a request, as a str."""
    return str(self._lines.resolve(index, self.names[index]))

  def where(self, index):
    return f"{self._lines.where(index)} ({self.names[index]})"


class Examples:
  """Random access to the requests of Parquet, WebDataset or a folder of `datasets`; see Files. Each
  has one image or one video."""

  def __init__(self, path, prompt=None, root=None, allow=(), check=True):
    if root or allow:
      raise ValueError(f"--input {path}: --root and --allow are of a .jsonl.")
    data = source.of_paths((path,))
    if data["name"] in source.CHECKED:
      data["check"] = check
    self._examples = source.get(**data)
    first = self._examples[0]
    seen = [key for key in ("image", "video") if key in first]
    if len(seen) != 1 or isinstance(first[seen[0]], list):
      raise ValueError(f"{self._examples.where(0)} has {', '.join(map(repr, first))}: a request "
                       "has a field \"image\" or \"video\", and one of it. A .jsonl may name "
                       "several.")
    self.ids, self.names, self.prompts = [], [], []
    for i in range(len(self._examples)):
      fields = self._examples.fields(i)
      said = prompt or fields.get("prefix")
      if not isinstance(said, str):
        raise ValueError(f"{self._examples.where(i)}: the prompt is {said!r:.80}, not a text: give "
                         "a field \"prefix\", or --prompt for all.")
      name, given = self._examples.id(i), fields.get("id")
      known = isinstance(given, (str, int)) and not isinstance(given, bool)
      self.ids.append(given if known else name)
      self.names.append(name)
      self.prompts.append(said)
    self.kinds = [(seen[0], 1)] * len(self._examples)

  def __len__(self):
    return len(self._examples)

  def __getitem__(self, index):
    kind = self.kinds[index][0]
    value = self._examples[index].get(kind)
    if not isinstance(value, bytes):
      raise ValueError(f"it has {'no' if value is None else 'not one'} {kind}")
    return {"prefix": self.prompts[index], kind: value}

  def where(self, index):
    return self._examples.where(index)


def _all_of(names):
  return " and ".join(map(repr, names))


def digest(request):
  """Hex of a hash of a request's prompt and of the files that it is about."""
  found = hashlib.blake2b(request["prefix"].encode(), digest_size=16)
  for key in ("image", "video"):
    value = request.get(key, [])
    for data in value if isinstance(value, list) else [value]:
      found.update(hashlib.blake2b(data).digest())
  return found.hexdigest()
