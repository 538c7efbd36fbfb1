"""Files of a work folder, on a disk or in an object store (gs://): every writer uses these.

An object store has no append and no rename, but an object is visible only once it is whole.
"""
import contextlib
import glob
import os
import pathlib
import stat
import time

from etils import epath

from pp.foreign import open_regular as open_regular

LEFT = 3600  # seconds after which an unfinished file is of a process that is gone
SHARE = 20  # an object is rewritten after this many times as long as the last rewrite took


def is_local(path):
  """Whether the path is on a file system of this machine."""
  return "://" not in os.fspath(path)


def absolute(path):
  """The absolute path that Orbax asks for."""
  path = epath.Path(path)
  return path.absolute() if is_local(path) else path


def matching(pattern):
  """[epath.Path] of a pattern such as "my/**/*.png", sorted; ValueError for ** in an object store,
  which lists folder by folder."""
  if is_local(pattern):
    found = glob.glob(os.fspath(pattern), recursive=True)
    return sorted(map(epath.Path, found))
  parts = os.fspath(pattern).split("/")
  if "**" in parts:
    raise ValueError(f"{pattern}: ** is not for object stores. Give patterns with *, or a folder.")
  fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
  return sorted(epath.Path("/".join(parts[:fixed])).glob("/".join(parts[fixed:])))


def below(folder):
  """Yields the epath.Path of each file in a folder and in those below; links to folders are not
  followed."""
  if is_local(folder):
    for at, _, names in os.walk(folder):
      yield from (epath.Path(at) / name for name in names)
    return
  for path in epath.Path(folder).iterdir():
    if path.is_dir():
      if path != folder:  # an object "folder/" that browsers of stores make
        yield from below(path)
    else:
      yield path


def inside(root, name):
  """The path of the regular file `name`, or of one yet to be written, inside the folder `root`.

  For every name that comes out of a file or from a server. Raises ValueError, which names both,
  for a name that is absolute or empty, has "..", a backslash or NUL, whose links lead elsewhere,
  or that is a folder, device, fifo or socket; nothing is opened. The links of a Hugging Face cache
  lead from snapshots/REVISION/... to blobs/ beside it and stay. An object store has no links.
  """
  check_name(root, name)
  if not is_local(root):
    return epath.Path(root) / name
  try:
    base = pathlib.Path(root).resolve()
    path = (base / name).resolve()
    mode = path.stat().st_mode if path.exists() else stat.S_IFREG
  except (OSError, RuntimeError, ValueError) as e:  # too long, a circle of links, a surrogate
    raise _refused(root, name, f"cannot be resolved ({type(e).__name__})") from None
  roots = [base, *(p.parents[1] / "blobs" for p in (base, *base.parents)
                   if p.parent.name == "snapshots")]
  if not any(path.is_relative_to(r) for r in roots):
    raise _refused(root, name, "leads outside of this folder")
  if not stat.S_ISREG(mode):
    raise _refused(root, name, "is not a regular file")
  return pathlib.Path(root) / name


def sizes_inside(root):
  """{name: bytes} of every file below a folder of this machine, for libraries that open them by
  themselves. Raises ValueError where one, or a folder on the way, is none to open, as inside()."""
  found = {}
  for at, folders, names in os.walk(root):
    place = os.path.relpath(at, root)
    for name in (os.path.normpath(os.path.join(place, name)) for name in names):
      found[name] = inside(root, name).stat().st_size
    if links := [name for name in folders if os.path.islink(os.path.join(at, name))]:
      raise _refused(root, os.path.normpath(os.path.join(place, links[0])), "is a link to a folder")
  return found


def check_name(root, name):
  """Raises the ValueError of inside() for a name that is refused whatever is in the folder."""
  if not isinstance(name, str) or not name:
    raise _refused(root, name, "is not a file's name")
  if name.startswith("/") or ".." in name.split("/") or any(c in name for c in "\\\0"):
    raise _refused(root, name, "is absolute or has '..', a backslash or a NUL in it")


def _refused(root, name, why):
  return ValueError(f"{root}: the file name {repr(name)[:200]} {why} and is refused.")


def write_atomic(path, data):
  """Writes a file, str (as UTF-8) or bytes, that readers see whole or not at all.

  Creates the folder. A process that is killed meanwhile leaves the old content. Raises OSError
  that names the path.
  """
  data = data.encode() if isinstance(data, str) else data
  try:
    if is_local(path):
      with replacing(path) as part:
        part.write_bytes(data)
    else:
      epath.Path(path).parent.mkdir(parents=True, exist_ok=True)
      epath.Path(path).write_bytes(data)
  except OSError as e:
    raise OSError(e.errno, f"Cannot write {path} ({e.strerror or e}). Free some space, or name a "
                  "folder that you may write to") from e


@contextlib.contextmanager
def replacing(path):
  """Gives the path of a file to write, which takes the place of `path`, on a disk, at the end of
  the block, or goes if that fails. Creates the folder; removes what killed processes left of it.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
    with contextlib.suppress(OSError):  # another process may have been faster
      if time.time() - left.stat().st_mtime > LEFT:
        left.unlink()
  part = path.with_name(f".{path.name}.{os.getpid()}.part")
  try:
    yield part
    part.replace(path)
  finally:
    with contextlib.suppress(OSError):  # the folder itself may be what is broken
      part.unlink()


def check_writable(folder):
  """Creates a folder; raises OSError where it cannot be written, ValueError for other stores."""
  folder = epath.Path(folder)
  if not is_local(folder) and not os.fspath(folder).startswith("gs://"):
    raise ValueError(f"{folder}: Orbax writes checkpoints to disks and to gs:// alone.")
  try:
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".writable"
    probe.write_bytes(b"")
    probe.unlink()
  except ImportError as e:
    raise ValueError(f"To write to {folder} the package gcsfs is needed: pip install gcsfs "
                     f"({e}).") from e


def copy_folder(source, destination):
  """Copies the files of a folder and of those in it, from a disk or to one."""
  for path in epath.Path(source).iterdir():
    target = epath.Path(destination) / path.name
    copy_folder(path, target) if path.is_dir() else write_atomic(target, path.read_bytes())


class Appender:
  """A file that grows: it begins with `data` and holds what write() added, after a kill too.

  On a disk each write is an append. In an object store the whole object is rewritten, but only
  after SHARE times as long as the last rewrite took: however long the file gets, rewriting takes
  5 % of the time at most. A kill there loses the writes since; sync() and close() store all.
  """

  def __init__(self, path, data=b""):
    self._path, self._pieces = epath.Path(path), [data.encode() if isinstance(data, str) else data]
    self._due, self._stored = 0.0, True
    write_atomic(self._path, self._pieces[0])
    self._file = self._path.open("ab") if is_local(path) else None

  def write(self, data):
    """Adds str (as UTF-8) or bytes."""
    data = data.encode() if isinstance(data, str) else data
    if self._file:
      self._file.write(data)
    else:
      self._pieces.append(data)
      self._stored = False
    self.flush()

  def flush(self):
    """Makes the writes visible to readers: now on a disk, when due in an object store."""
    if self._file:
      self._file.flush()
    elif time.monotonic() >= self._due:
      self.sync()

  def sync(self):
    """Stores every write so far."""
    if self._stored:
      return
    began = time.monotonic()
    self._pieces = [b"".join(self._pieces)]
    self._path.write_bytes(self._pieces[0])
    ended = time.monotonic()
    self._due, self._stored = ended + SHARE * (ended - began), True

  def close(self):
    self.sync()
    if self._file:
      self._file.close()
