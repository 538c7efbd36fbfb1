import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from big_vlm import vector_index

ABOUT = {"model": "SigLIP B/16 at 224", "source": "a", "embed": {}, "probe": {"image": [1., 0.]}}


def unit(rng, count, width=2):
  x = rng.normal(size=(count, width)).astype(np.float32)
  return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture
def index(tmp_path, rng):
  rows = [(v, {"image": f"{i}.png"}) for i, v in enumerate(unit(rng, 20))]
  vector_index.write(tmp_path / "index", iter(rows), 20, ABOUT)
  return vector_index.Index(tmp_path / "index")


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 70), st.integers(0, 9999))
def test_search_is_exact_whatever_the_blocks(count, wanted, queries, seed):
  """Against a full sort, with vectors that stand twice: of equal ones the first comes first."""
  rng = np.random.default_rng(seed)
  vectors = np.round(unit(rng, count), 1)[rng.integers(0, count, count)]
  asked = np.round(unit(rng, queries), 1)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(vector_index, "BLOCK", 7)
    patch.setattr(vector_index, "QUERIES", 8)
    scores, numbers = vector_index.nearest(vectors, asked, wanted)
  full = asked @ vectors.T
  assert scores.shape == numbers.shape == (queries, min(wanted, count))
  for row, found, at in zip(full, scores, numbers):
    np.testing.assert_allclose(found, np.sort(row)[::-1][:wanted], atol=1e-6)
    np.testing.assert_allclose(row[at], found, atol=1e-6)
    assert len(set(at)) == len(at)


def test_of_equal_vectors_the_first_comes_first():
  scores, numbers = vector_index.nearest(np.ones((9, 1), np.float32), np.ones((1, 1)), 4)
  assert numbers.tolist() == [[0, 1, 2, 3]] and scores.tolist() == [[1, 1, 1, 1]]


def test_written_and_read_again(index, rng):
  vector = np.asarray(index.vectors[7])
  scores, numbers = index.search(vector[None], 3)
  assert index.item(numbers[0, 0]) == {"image": "7.png"} and scores[0, 0] == pytest.approx(1)


def test_an_index_of_another_model_is_refused_by_name(index):
  index.check_model({"image": np.array([1, 0.01], np.float32)}, "b")
  for probe in ({"image": np.array([0.9, 0.4])}, {"image": np.ones(3)},
                {"image": np.array([1, 0]), "text": np.array([1, 0])}):
    with pytest.raises(ValueError, match=r"made by SigLIP B/16 at 224 \(a\), and b gives other"):
      index.check_model(probe, "b")


def test_damaged_and_missing_indices(index, tmp_path):
  with pytest.raises(FileNotFoundError, match="is no index: tools.index makes one"):
    vector_index.Index(tmp_path)
  with pytest.raises(ValueError, match="no graph for approximate search"):
    index.search(np.ones((1, 2)), 1, approximate=True)
  vectors = index.folder / "vectors.npy"
  data = bytearray(vectors.read_bytes())
  data[-1] ^= 1
  vectors.write_bytes(data)
  with pytest.raises(ValueError, match="is damaged: vectors.npy is corrupt"):
    vector_index.Index(index.folder)


def test_what_is_not_written(tmp_path, index):
  with pytest.raises(ValueError, match="no vector to write"):
    vector_index.write(tmp_path / "empty", iter(()), 0, ABOUT)
  with pytest.raises(FileExistsError, match="exists already"):
    vector_index.write(index.folder, iter(()), 1, ABOUT)
  (index.folder / "index.json").write_text(json.dumps({"format": 2}))
  with pytest.raises(ValueError, match="is damaged"):
    vector_index.Index(index.folder)
  assert not (tmp_path / "empty").exists()


def test_the_graph_finds_what_the_exact_search_finds(tmp_path, rng):
  pytest.importorskip("faiss")
  vectors = unit(rng, 500, 16)
  vector_index.write(tmp_path / "i", ((v, {}) for v in vectors), 500, ABOUT, approximate=True)
  index, asked = vector_index.Index(tmp_path / "i"), unit(rng, 20, 16)
  exact, near = (index.search(asked, 5, approximate)[1] for approximate in (False, True))
  assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(exact, near)]) > 0.95
