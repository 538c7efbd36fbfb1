import numpy as np
import pytest

from pp.builder import get_preprocess_fn


def run(pp, example, seed=None):
  if seed is not None:
    example = {**example, "_rng": np.random.default_rng(seed)}
  result = get_preprocess_fn(pp)(example)
  return {k: v for k, v in result.items() if k != "_rng"}


@pytest.mark.parametrize("pp, example, want", [
    ("flatten", {"a": {"b": 1, "c": [2, {"d": 3}]}, "e": 4},
     {"a/b": 1, "a/c/0": 2, "a/c/1/d": 3, "e": 4}),
    ("flatten", {"a": {"b": ["x", "y"], "c": [["x"], []]}},
     {"a/b": ["x", "y"], "a/c": [["x"], []]}),
    ("flatten(keys=['a'])", {"a": {"b": 1}, "c": {"d": 2}}, {"a/b": 1, "c": {"d": 2}}),
    ("flatten", {"_mask": {"x": 1}}, {"_mask": {"x": 1}}),
    ("keep('a', 'zzz')", {"a": 1, "b": 2, "_id": 3}, {"a": 1, "_id": 3}),
    ("drop('a', 'zzz')", {"a": 1, "b": 2, "_id": 3}, {"b": 2, "_id": 3}),
    ("copy('a', 'b')", {"a": 1}, {"a": 1, "b": 1}),
    ("setdefault('a', 'x')", {}, {"a": "x"}),
    ("setdefault('a', 'x')", {"a": None}, {"a": "x"}),
    ("setdefault('a', 'x')", {"a": ""}, {"a": ""}),
    ("setdefault('a', 'x')", {"a": []}, {"a": ["x"]}),
    ("setdefault('a', 'x')", {"a": 0}, {"a": 0}),
    ("getidx('a', 'i')", {"a": ["x", "y"], "i": 1}, {"a": "y", "i": 1}),
    ("getidx('a', 'i', outkey='b')", {"a": ["x", "y"], "i": np.int64(-1)},
     {"a": ["x", "y"], "i": -1, "b": "y"}),
    ("majority(key='a')", {"a": ["x", "y", "z", "y"]}, {"a": "y"}),
    ("majority(key='a')", {"a": ["x", "y", "y", "x"]}, {"a": "x"}),
    ("majority(inkey='a', outkey='b')", {"a": [b"x"]}, {"a": [b"x"], "b": b"x"}),
    ("reshape([], key='a')", {"a": np.array(["what?"])}, {"a": "what?"}),
])
def test_keys_and_picks(pp, example, want):
  assert run(pp, example) == want


def test_copy_shares_leaves_but_not_structure():
  example = {"a": {"x": [np.zeros(1)]}}
  copied = run("copy('a', 'b')", example)
  assert copied["b"] == copied["a"] and copied["b"]["x"] is not copied["a"]["x"]
  assert copied["b"]["x"][0] is copied["a"]["x"][0]


@pytest.mark.parametrize("old, value, want", [
    (np.zeros(0, np.float32), 2, np.array([2], np.float32)),
    (np.zeros((2, 0), np.int32), 7, np.array([[7], [7]], np.int32)),
    (np.zeros(0, object), "no answer", np.array(["no answer"], object)),
    (np.zeros(0, "<U1"), "no answer", np.array(["no answer"])),
])
def test_setdefault_fills_empty_arrays(old, value, want):
  got = run(f"setdefault('a', {value!r})", {"a": old})["a"]
  np.testing.assert_array_equal(got, want)
  assert got.dtype == want.dtype and got.shape == want.shape


def test_choice_single_reaches_every_entry_and_keeps_keys_together():
  example = {"q": ["a", "b", "c"], "n": np.arange(3)}
  got = [run("choice(key=['q', 'n'])", example, seed=s) for s in range(40)]
  assert {(g["q"], int(g["n"])) for g in got} == {("a", 0), ("b", 1), ("c", 2)}


def test_choice_of_n_keeps_the_order_and_takes_no_entry_twice():
  for seed in range(20):
    got = run("choice(4, inkey='a', outkey='b')", {"a": np.arange(6)}, seed)["b"]
    assert len(got) == 4 and (np.diff(got) > 0).all()


def test_choice_of_a_range_includes_both_ends():
  got = {len(run("choice([1, 3], key='a')", {"a": list("xyz")}, s)["a"]) for s in range(40)}
  assert got == {1, 2, 3}


def test_choice_with_allow_fewer_takes_all_entries():
  assert run("choice(5, key='a', allow_fewer=True)", {"a": ["x", "y"]}, 0)["a"] == ["x", "y"]
  assert run("choice(5, key='a', allow_fewer=True)", {"a": np.zeros(0)}, 0)["a"].shape == (0,)


def test_choice_outkey_may_hold_the_key():
  got = run("choice(key=None, inkey=['q', 'a'], outkey='{key}_one')", {"q": [1], "a": [2]}, 0)
  assert got == {"q": [1], "a": [2], "q_one": 1, "a_one": 2}
  assert run("choice(key=['a'], outkey='b')", {"a": [2]}) == {"a": [2], "b": 2}


@pytest.mark.parametrize("pp, example, complaint", [
    ("choice(key='a')", {"a": [1, 2]}, "random op 'choice'"),
    ("choice(key='a')", {"a": "text", "_rng": 0}, "'a' is a single value"),
    ("choice(key='a')", {"a": [], "_rng": 0}, "'a' has 0 entries"),
    ("choice(3, key='a')", {"a": [1, 2], "_rng": 0}, "fewer than the 3"),
    ("choice(key=['a', 'b'])", {"a": [1], "b": [1, 2], "_rng": 0}, "equally long"),
    ("choice_no_replacement(key='a')", {"a": [1], "_id": 3}, "needs the example's _epoch"),
    ("majority(key='a')", {"a": []}, "empty list"),
    ("pad_to_shape([2])", {"image": np.zeros(3)}, "larger than"),
    ("pad_to_shape([2, 2])", {"image": np.zeros(3)}, "cannot pad"),
])
def test_errors_at_run_time(pp, example, complaint):
  with pytest.raises(ValueError, match=complaint):
    get_preprocess_fn(pp)(example)


@pytest.mark.parametrize("pp, complaint", [
    ("choice(3, key='a', fewer_ok=True)", "'fewer_ok' is now 'allow_fewer'"),
    ("choice()", "needs key= or inkey="),
    ("choice('two', key='a')", "n is 'single'"),
    ("choice([3, 1], key='a')", "low <= high"),
    ("choice(inkey=['a', 'b'], outkey='c')", "as many output keys"),
    ("pad_to_shape([1], where='left')", "where='left'"),
])
def test_errors_when_building(pp, complaint):
  with pytest.raises(ValueError, match=complaint):
    get_preprocess_fn(pp)


@pytest.mark.parametrize("id_", [0, 12345678901234, -1, "coco/17", np.int64(3)])
def test_choice_no_replacement_visits_all_before_any_comes_again(id_):
  preprocess = get_preprocess_fn("choice_no_replacement(key='a')")
  visits = [preprocess({"a": list("abcd"), "_id": id_, "_epoch": e})["a"] for e in range(40)]
  cycles = ["".join(visits[i:i + 4]) for i in range(0, 40, 4)]
  assert all(sorted(c) == list("abcd") for c in cycles)
  assert len(set(cycles)) > 3  # a new order each time


def test_choice_no_replacement_depends_on_the_example_only():
  preprocess = get_preprocess_fn("choice_no_replacement(inkey='a', outkey='b')")
  got = [int(preprocess({"a": np.arange(5), "_id": i, "_epoch": 0})["b"]) for i in range(8)]
  assert got == [4, 4, 2, 0, 2, 1, 0, 3]  # also in another process


def test_arrays():
  a, b = np.array([[1, 2]]), np.array([[3]])
  np.testing.assert_array_equal(run("concat(['a', 'b'])", {"a": a, "b": b})["a"], [[1, 2, 3]])
  np.testing.assert_array_equal(
      run("concat(['a', 'a'], outkey='c', axis=0)", {"a": a})["c"], [[1, 2], [1, 2]])
  np.testing.assert_array_equal(run("reshape([2, 1], key='a')", {"a": a})["a"], [[1], [2]])


@pytest.mark.parametrize("args, want", [
    ("[4]", [1, 2, 0, 0]),
    ("[4], pad_value=-1, where='before'", [-1, -1, 1, 2]),
    ("[5], where='both'", [0, 1, 2, 0, 0]),
    ("[None]", [1, 2]),
])
def test_pad_to_shape(args, want):
  got = run(f"pad_to_shape({args}, key='a')", {"a": np.array([1, 2], np.uint8)})["a"]
  np.testing.assert_array_equal(got, np.array(want).astype(np.uint8))
  assert got.dtype == np.uint8


@pytest.mark.parametrize("args, labels, want", [
    ("3", 1, [0, 1, 0]),
    ("3", np.array([2, 0, 2]), [1, 0, 1]),
    ("3, multi=False", [2, 0], [[0, 0, 1], [1, 0, 0]]),
    ("3, on=0.9, off=0.1", 0, [0.9, 0.1, 0.1]),
    ("3", [7, -1], [0, 0, 0]),
    ("2", [], [0, 0]),
])
def test_onehot(args, labels, want):
  got = run(f"onehot({args}, key_result='hot')", {"labels": labels})["hot"]
  assert got.dtype == np.float32
  np.testing.assert_allclose(got, want, rtol=1e-6)


def test_lookup(tmp_path):
  np.savez(tmp_path / "a.npz", fnames=np.array(["x", "ÿ"]), other=np.array([b"y"]))
  (tmp_path / "lines.txt").write_text("x\nÿ z\n")
  (tmp_path / "pairs.txt").write_text("x,7\nÿ,-2\n")

  def look(file, value, more=""):
    return run(f"lookup({str(tmp_path / file)!r}{more}, key='a')", {"a": value})["a"]
  assert look("a.npz", "ÿ") == 1 and look("a.npz", b"x") == 0 and look("a.npz", "no") == -1
  assert look("a.npz", "y", ", npzkey='other'") == 0
  np.testing.assert_array_equal(look("a.npz", ["ÿ", "no", b"x"]), [1, -1, 0])
  np.testing.assert_array_equal(look("a.npz", np.array(["x"], object)), [0])
  assert look("lines.txt", "ÿ z") == 1 and look("pairs.txt", "x", ", sep=','") == 7
  with pytest.raises(ValueError, match="line 1 of .* is 'x'"):
    look("lines.txt", "x", ", sep=','")
  with pytest.raises(ValueError, match="Did you mean 'fnames'"):
    look("a.npz", "x", ", npzkey='fname'")
  np.savez(tmp_path / "pickle.npz", fnames=np.array([{}], object))
  with pytest.raises(ValueError, match="allow_pickle=False"):
    look("pickle.npz", "x")


def test_reshape_keeps_every_byte():
  assert run("reshape([], key='a')", {"a": [b"png\0\0"]})["a"] == b"png\0\0"


def test_squeeze_last_dim():
  assert run("squeeze_last_dim", {"image": np.zeros((2, 3, 1))})["image"].shape == (2, 3)
