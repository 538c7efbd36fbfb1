"""From a row of other people's data to an example: which of its fields are image and texts.

  dict(name="parquet", path="data/*.parquet", image="photo", prefix="question", suffix="answers/0")

"/" goes into dicts and lists, as the op `flatten` writes it. Without such a name, a field that is
called "image" (or "images", "video", "prefix", "suffix") is that. All other fields stay as they
are: numbers, texts, dicts; lists of numbers or texts become arrays, as in a TFDS data set. An image
is encoded bytes, or the {"bytes", "path"} of Hugging Face's feature Image, or a list of these.
"""
import numpy as np

from pp.names import near_miss

FILES, TEXTS = ("image", "video"), ("prefix", "suffix")


class Fields:
  """The names of a source's fields; None: the field is called so, or there is none.

  classes: {field: its names}, of fields that number classes: as prefix or suffix they are names.
    Places in lists are left out: that of "labels/0" is "labels".
  """

  def __init__(self, image=None, video=None, prefix=None, suffix=None, id=None):
    given = dict(image=image, video=video, prefix=prefix, suffix=suffix, id=id)
    if odd := [key for key, path in given.items() if not isinstance(path, (str, type(None)))]:
      raise ValueError(f"{odd[0]}={given[odd[0]]!r} of a source is the name of a field, as a str.")
    self._paths = {key: path.split("/") for key, path in given.items() if path}
    self.classes = {}

  def check(self, known, where):
    """Raises ValueError for a name whose first part is not among the known fields."""
    for key, path in self._paths.items():
      if path[0] not in known:
        raise ValueError(f"{where} has no {path[0]!r}, which {key}={'/'.join(path)!r} names."
                         f"{near_miss(path[0], known)} It has {', '.join(map(str, known))}.")
    if odd := next((k for k in known if str(k).startswith("_")), None):
      raise ValueError(f"{where} has the field {odd!r}: names that start with _ belong to the "
                       "loader; rename it.")
    if "images" in known and ("image" in known or "image" in self._paths):
      raise ValueError(f"{where} has both 'image' and 'images': name one of them with image=, and "
                       "leave the other one out of the data.")

  def needs(self, known):
    """{key of the example: path} of the fields that no row may lack."""
    own = {key: [key] for key in (*FILES, "images", *TEXTS) if key in known}
    return own | {key: path for key, path in self._paths.items() if key != "id"}

  def example(self, row, where):
    """The example of a row, a dict of Python values; ValueError that begins with `where`."""
    found = {key: _plain(value, f"{where}: {key!r}") for key, value in row.items()}
    if "images" in found:
      found["image"] = found.pop("images")
    for key, path in self._paths.items():
      found[key] = self._at(row, path, where)
      if key in FILES:
        found[key] = _plain(found[key], f"{where}: {key!r}")
        if len(path) == 1 and path[0] != key:
          found.pop(path[0], None)
    for key in (*FILES, *TEXTS):
      if key in found:
        self._check_value(found, key, where)
    return found

  def light(self, row):
    """The example of a row that was read without images and videos; a text may be None."""
    found = {key: as_array(value) for key, value in row.items()}
    for key, path in self._paths.items():
      if key not in FILES:
        try:
          found[key] = self._at(row, path, "")
        except ValueError:
          found[key] = None
        if key in TEXTS and isinstance(found[key], int):
          found[key] = str(found[key])
    return found

  def _at(self, row, path, where):
    value, keys = row, []
    for n, name in enumerate(path):
      keys += [name] * (not isinstance(value, list))
      try:
        value = value[int(name)] if isinstance(value, list) else value[name]
      except (KeyError, IndexError, TypeError, ValueError):
        there = (f"is a list of {len(value)}" if isinstance(value, list) else
                 f"has {', '.join(map(repr, value))}" if isinstance(value, dict) else
                 f"is {value!r:.60}")
        raise ValueError(f"{where} has no {'/'.join(path)!r}: "
                         f"{'/'.join(path[:n]) or 'it'} {there}.") from None
    names = self.classes.get("/".join(keys))
    if not names or not isinstance(value, int):
      return value
    if not 0 <= value < len(names):  # -1 is what `datasets` writes where the class is not known
      name = "/".join(path)
      raise ValueError(f"{where}: {name!r} is {value}, none of its classes 0 to {len(names) - 1}. "
                       f"Leave such examples out with filter=(({name!r}, '>=', 0),) in the "
                       "config's data.")
    return names[value]

  def _check_value(self, found, key, where):
    value = found[key]
    name = "/".join(self._paths.get(key, [key]))
    if value is None or (isinstance(value, list) and None in value):
      raise ValueError(f"{where}: {name!r} is null. {leave_out(name, key in FILES)}")
    if key in FILES:
      images = value if isinstance(value, list) else [value]
      if bad := [x for x in images if not isinstance(x, bytes)]:
        raise ValueError(f"{where}: {name!r} is {bad[0]!r:.60}, not the bytes of an image.")
    elif isinstance(value, int) and not isinstance(value, bool) and key in self._paths:
      found[key] = str(value)
    elif not isinstance(value, str):
      raise ValueError(f"{where}: {name!r} is {value!r:.60}, not a text. Name one entry of a list, "
                       f"as in {key}='{name}/0', or let an op of pp write {key!r} from it.")


def leave_out(name, file):
  """How to leave out the examples of which a field is null; file: an image or a video."""
  check = "check=False in the config's data and input.on_error='skip'"
  if file:
    return f"Leave such examples out with {check}."
  return (f"Leave such examples out with filter=(({name!r}, '!=', None),) in the config's data, or "
          f"with {check}.")


def _plain(value, where):
  """A value with the bytes of images in the place of their dicts, and arrays for lists."""
  if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
    if value["bytes"] is None and value["path"] is not None:
      raise ValueError(f"{where} has no bytes, only the path {value['path']!r:.200}: store the "
                       "images with the data, as save_to_disk and push_to_hub of `datasets` do.")
    return value["bytes"]
  if isinstance(value, list) and any(isinstance(v, (dict, bytes)) for v in value):
    return [_plain(v, where) for v in value]
  if isinstance(value, dict):
    return {k: _plain(v, where) for k, v in value.items()}
  return as_array(value)


def as_array(value):
  """A list of numbers, of equally long lists of them, or of strings as an array; others as is."""
  if isinstance(value, dict):
    return {k: as_array(v) for k, v in value.items()}
  if not isinstance(value, list):
    return value
  if all(isinstance(v, str) for v in value):
    return np.array(value, object)
  parts = [as_array(v) for v in value]
  kinds = {(v.shape, v.dtype.kind == "O") if isinstance(v, np.ndarray) else
           ((), False) if isinstance(v, (int, float)) else None for v in parts}
  if len(kinds) > 1 or kinds & {None} or next(iter(kinds))[1]:
    return parts
  array = np.array(parts)
  return parts if array.dtype.kind not in "bif" else array
