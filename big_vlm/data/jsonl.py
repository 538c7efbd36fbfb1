"""JSONL: one example per line, {"image": "cat.png", "prefix": "caption en", "suffix": "a cat"}.

"image" is a path relative to the file's folder (or to root); "images" a list of paths. Every other
field is passed on as it is. All lines are checked before training starts.
"""
import json
import os
import pathlib


class Jsonl:
  """Random access to the lines of one file; errors name the file and the line."""

  def __init__(self, path, root=None):
    self._path = pathlib.Path(path)
    self._root = pathlib.Path(root or self._path.parent).resolve()
    try:
      lines = self._path.read_bytes().split(b"\n")
    except OSError as e:
      raise FileNotFoundError(f"Cannot read the JSONL file {path}: {e.strerror}.") from e
    self._lines = [(n, line) for n, line in enumerate(lines, 1) if line.strip()]
    if not self._lines:
      raise ValueError(f"{path} has no lines: expected one JSON object per line.")
    for n, line in self._lines:
      for name in self._images(self._parse(n, line)):
        self._resolve(n, name)

  def __len__(self):
    return len(self._lines)

  def __getitem__(self, index):
    n, line = self._lines[index]
    example = self._parse(n, line)
    images = [self._resolve(n, name).read_bytes() for name in self._images(example)]
    if images:
      example["image"] = images if "images" in example else images[0]
    example.pop("images", None)
    return {**example, "_id": f"{self._path.name}:{n}"}

  def _parse(self, n, line):
    try:
      example = json.loads(line)
    except (ValueError, RecursionError) as e:
      raise ValueError(f"{self._path}, line {n} is not JSON: {e}. The line begins with "
                       f"{line[:60].decode('utf-8', 'replace')!r}.") from e
    if not isinstance(example, dict):
      raise ValueError(f"{self._path}, line {n} is a JSON {type(example).__name__}, not an object "
                       '{"image": ..., "prefix": ..., "suffix": ...}.')
    if "image" in example and "images" in example:
      raise ValueError(f"{self._path}, line {n} has both 'image' and 'images'; keep one.")
    if not isinstance(example.get("images", []), list):
      raise ValueError(f"{self._path}, line {n}: 'images' is a list of paths, not "
                       f"{example['images']!r}; one path goes under 'image'.")
    return example

  def _images(self, example):
    return example.get("images", [example["image"]] if "image" in example else [])

  def _resolve(self, n, name):
    if not isinstance(name, str):
      raise ValueError(f"{self._path}, line {n}: an image is a path, not {name!r}.")
    try:
      path = pathlib.Path(os.path.realpath(self._root / name))
      found = path.is_file()
    except (ValueError, OSError) as e:  # a NUL, a lone surrogate, a name that is too long
      raise ValueError(f"{self._path}, line {n}: {name[:60]!r} is no path of an image: {e}.") from e
    if not path.is_relative_to(self._root):
      raise ValueError(f"{self._path}, line {n}: image {name!r} lies outside of {self._root}. If "
                       "that is meant, give the common folder as root=... in the config's data; "
                       "paths are then relative to it.")
    if not found:
      raise FileNotFoundError(f"{self._path}, line {n}: there is no image file {path}. Paths are "
                              f"relative to {self._root}.")
    return path
