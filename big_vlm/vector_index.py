"""An index of vectors on disk, and exact search in it.

A folder, complete or not there:

  vectors.npy    float32 [N, D], of length 1
  items.jsonl    a JSON object for each: {"image": "cats/1.png"}
  index.json     what made them: the model, how it reads images, and what it says of a probe
  hnsw.faiss     optional: a graph for approximate search
  manifest.json  checksums of these

N vectors, D width, Q queries, K results.
"""
import importlib
import json
import os
import pathlib
import shutil
import tempfile

import numpy as np
from etils import epy

from big_vlm import files
from big_vlm.checkpoints import manifest
from pp.foreign import parse_json, read_bytes

with epy.lazy_imports():  # optional
  import faiss

FORMAT = 1
BLOCK = 1 << 16  # vectors that are compared at a time
QUERIES = 64  # side by side
SAME = 0.999  # cosine of the probe's vectors from which on a model is the same; bfloat16: 0.9999
LINKS, EFFORT = 32, 200  # of the graph: neighbours of a vector, vectors looked at to find them
ABOUT = {"model": str, "source": str, "embed": dict, "probe": dict}  # keys of index.json
MAX_BYTES = 64 << 20  # of index.json


class Index:
  """An index that is open. Raises FileNotFoundError for none, ValueError for a corrupt one.

  whole: compares all checksums, for which it reads the index once, as an exact search does.
  """

  def __init__(self, folder, whole=True):
    self.folder = pathlib.Path(folder)
    if not (self.folder / "index.json").is_file():
      raise FileNotFoundError(f"{folder} is no index: tools.index makes one.")
    if problem := manifest.validation_error(self.folder, "" if whole else "index.json"):
      raise ValueError(f"{folder} is damaged: {problem}. Make it anew with tools.index.")
    where = self.folder / "index.json"
    self.about = parse_json(read_bytes(where, MAX_BYTES), where)
    if not isinstance(self.about, dict) or self.about.get("format") != FORMAT:
      raise ValueError(f"{where}: this version reads indices of format {FORMAT}.")
    if odd := [k for k, kind in ABOUT.items() if not isinstance(self.about.get(k), kind)]:
      raise ValueError(f"{where} has no {odd[0]!r}. Make the index anew with tools.index.")
    self.vectors = np.load(self.folder / "vectors.npy", mmap_mode="r", allow_pickle=False)
    self.items = (self.folder / "items.jsonl").read_bytes().splitlines()
    shape, kind = self.vectors.shape, self.vectors.dtype
    if len(shape) != 2 or kind != np.float32 or len(self.items) != shape[0]:
      raise ValueError(f"{folder} is damaged: {len(self.items)} items and {kind} vectors "
                       f"{list(shape)}. Make it anew with tools.index.")

  def item(self, number):
    """The dict of a vector."""
    return json.loads(self.items[number])

  def check_model(self, probe, name):
    """Raises ValueError, naming both models, unless the index was made by the model whose vectors
    of the probe these are."""
    for part, vector in probe.items():
      made = np.asarray(self.about["probe"].get(part, ()), np.float32)
      if made.shape != vector.shape or not made @ vector > SAME:
        raise ValueError(
            f"{self.folder} was made by {self.about['model']} ({self.about['source']}), and {name} "
            f"gives other vectors of {part}s: their cosines mean nothing together. Search with the "
            "model that made it, or index the images with this one.")

  def search(self, queries, count, approximate=False):
    """(cosines float32 [Q, K], numbers int [Q, K]) of the K = min(count, N) nearest of each query,
    the best first; of equal ones the first in the index.

    approximate: by the graph of hnsw.faiss. Raises ValueError where there is none.
    """
    if not approximate:
      return nearest(self.vectors, queries, count)
    if not (self.folder / "hnsw.faiss").exists():
      raise ValueError(f"{self.folder} has no graph for approximate search: tools.index --ann "
                       "makes one.")
    graph = faiss.read_index(str(self.folder / "hnsw.faiss"))
    graph.hnsw.efSearch = max(EFFORT, 2 * count)
    return graph.search(np.ascontiguousarray(queries, np.float32), min(count, len(self.vectors)))


def nearest(vectors, queries, count):
  """Index.search() in an array [N, D], which may be a memory map: blocks of it are compared with
  some of the queries, so that nothing of size N x Q is held."""
  found = [_nearest(vectors, queries[i:i + QUERIES], min(count, len(vectors)))
           for i in range(0, len(queries), QUERIES)]
  return tuple(np.concatenate(x) for x in zip(*found))


def _nearest(vectors, queries, count):
  best = [(np.empty(0, np.float32), np.empty(0, int)) for _ in queries]
  for start in range(0, len(vectors), BLOCK):
    scores = queries @ np.asarray(vectors[start:start + BLOCK]).T
    best = [_merged(*so_far, row, start, count) for so_far, row in zip(best, scores)]
  return np.stack([s for s, _ in best]), np.stack([n for _, n in best])


def _merged(scores, numbers, row, start, count):
  """The best of both; a number of the block's row is counted from `start`."""
  at = np.arange(len(row))
  if len(row) > count:  # all that are as good as the count-th: which of them stay is decided below
    at = np.flatnonzero(row >= np.partition(row, -count)[-count])
  scores, numbers = np.append(scores, row[at]), np.append(numbers, at + start)
  order = np.lexsort((numbers, -scores))[:count]
  return scores[order], numbers[order]


def write(folder, rows, count, about, approximate=False):
  """Writes the index of `count` rows (vector float32 [D], item); about: of index.json.

  Raises FileExistsError where there is something, and ValueError for no rows.
  """
  folder = pathlib.Path(folder)
  if not count:
    raise ValueError(f"There is no vector to write to {folder}: no image could be read.")
  if folder.exists():
    raise FileExistsError(f"{folder} exists already; give another path, or remove it first.")
  folder.parent.mkdir(parents=True, exist_ok=True)
  partial = pathlib.Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial-", dir=folder.parent))
  try:
    vectors = None
    with (partial / "items.jsonl").open("w", encoding="utf-8", newline="\n") as items:
      for i, (vector, item) in enumerate(rows):
        if vectors is None:
          vectors = np.lib.format.open_memmap(
              partial / "vectors.npy", "w+", np.float32, (count, len(vector)))
        vectors[i] = vector
        items.write(json.dumps(item, ensure_ascii=False) + "\n")
    vectors.flush()
    if approximate:
      _write_graph(partial / "hnsw.faiss", vectors)
    files.write_atomic(partial / "index.json", json.dumps({"format": FORMAT, **about}))
    manifest.write(partial)
    os.replace(partial, folder)
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _write_graph(path, vectors):
  graph = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
  graph.hnsw.efConstruction = EFFORT
  for start in range(0, len(vectors), BLOCK):
    graph.add(np.asarray(vectors[start:start + BLOCK]))
  faiss.write_index(graph, str(path))


def check_faiss():
  """Raises ValueError where the package of approximate search is missing."""
  try:
    importlib.import_module("faiss")
  except ImportError:
    raise ValueError("Approximate search needs the package faiss: `pip install faiss-cpu`. Without "
                     "--ann the search is exact.") from None
