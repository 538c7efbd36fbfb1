import collections
import json

import numpy as np
import pytest

from big_vlm.data import mixture


@pytest.fixture
def part(tmp_path):
  """A function (name, number of lines, **keys of the part) -> a part of a mixture."""
  def part(name, n, pp="", **kw):
    lines = [json.dumps({"name": name, "n": i, "words": [f"{name}{i}{w}" for w in "abc"]})
             for i in range(n)]
    (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return dict(data=dict(name="jsonl", path=str(tmp_path / f"{name}.jsonl")), pp=pp, **kw)
  return part


def ids(stream, indices):
  return [stream[i]["_id"] for i in indices]


def test_an_example_is_a_function_of_seed_and_index(part):
  parts = [part("cat", 7, pp="choice(key='words')"), part("dog", 5, weight=2.)]
  one, other = mixture.Mixture(parts, seed=3), mixture.Mixture(parts, seed=3)
  at = [0, 1, 2, 50, 1_000_000, 7, 3]
  for i, j in zip(at, reversed(at), strict=True):  # in any order
    one[j]
    a, b = one[i], other[i]
    draws = a.pop("_rng").random(), b.pop("_rng").random()
    assert draws[0] == draws[1]
    np.testing.assert_equal(a, b)
  assert ids(one, range(50)) != ids(mixture.Mixture(parts, seed=4), range(50))


def test_the_random_generator_differs_by_example_visit_part_and_seed(part):
  parts = [part("cat", 2), part("dog", 2)]
  draws = [mixture.Mixture(parts, seed)[i]["_rng"].random() for seed in (0, 1) for i in range(20)]
  assert len(set(draws)) == 40


def test_every_epoch_visits_each_example_once_and_in_another_order(part):
  n = 50
  stream = mixture.Mixture([part("cat", n)], seed=0)
  epochs = [[stream[e * n + i] for i in range(n)] for e in range(4)]
  for e, epoch in enumerate(epochs):
    assert sorted(x["n"] for x in epoch) == list(range(n))
    assert {x["_epoch"] for x in epoch} == {e}
  orders = {tuple(x["n"] for x in epoch) for epoch in epochs}
  assert len(orders) == 4 and tuple(range(n)) not in orders


def test_epochs_of_a_mixture_are_counted_by_part(part):
  stream = mixture.Mixture([part("cat", 3), part("dog", 8)], seed=0)
  seen = collections.defaultdict(list)
  for i in range(48):
    seen[stream[i]["_id"]].append(stream[i]["_epoch"])
  assert all(visits == list(range(8)) for name, visits in seen.items() if name.startswith("cat"))
  assert all(visits == list(range(3)) for name, visits in seen.items() if name.startswith("dog"))
  assert len(seen) == 11


@pytest.mark.parametrize("weights, window, counts", [
    ((1, 1), 2, (1, 1)),
    ((2, 1, 1), 4, (2, 1, 1)),
    ((0.1, 0.2, 0.7), 10, (1, 2, 7)),
    ((4, 2, 3, *[2 / 7] * 7), 77, (28, 14, 21, *[2] * 7)),  # the quickstart's
])
def test_weights_are_met_exactly_over_a_window(part, weights, window, counts):
  parts = [part(f"p{i}", 3, weight=w) for i, w in enumerate(weights)]
  stream = mixture.Mixture(parts, seed=0)
  for start in (0, 5 * window, 123 * window):
    got = collections.Counter(stream[i]["name"] for i in range(start, start + window))
    assert tuple(got[f"p{i}"] for i in range(len(weights))) == counts


@pytest.mark.parametrize("weights", [(1, -2), (float("nan"), 1), (0,), (0, 0.), ()])
def test_weights_are_above_zero(part, weights):
  with pytest.raises(ValueError, match="weights above 0, or 0 for .* not"):
    mixture.Mixture([part("cat", 2, weight=w) for w in weights], seed=0)


def test_a_weight_of_0_switches_a_component_off(part):
  """Its data may be missing; the other components give what they gave beside it."""
  nowhere = dict(data=dict(name="jsonl", path="nowhere.jsonl"), pp="", weight=0)
  parts = [nowhere, part("cat", 5, pp="choice(key='words')"), part("dog", 3) | {"weight": 0.}]
  with_dogs = mixture.Mixture([*parts[:2], part("dog", 3)], seed=1)
  alone = mixture.Mixture(parts, seed=1)
  assert (alone.names, alone.sizes, mixture.epoch(parts)) == (("cat",), (5,), 5)
  cats = [x for x in map(with_dogs.__getitem__, range(20)) if x["_source"] == "cat"]
  assert [x["words"] for x in cats] == [alone[i]["words"] for i in range(10)]
  assert alone.counts(7) == {"cat": 7} and list(alone.fingerprints()) == [1]


def test_choice_no_replacement_takes_each_answer_once_before_any_again(part):
  stream = mixture.Mixture([part("cat", 4, pp="choice_no_replacement(key='words')")], seed=0)
  words = collections.defaultdict(list)
  for i in range(4 * 9):  # nine visits: three cycles over the three words
    words[stream[i]["n"]].append(stream[i]["words"])
  for n, seen in words.items():
    cycles = [seen[i:i + 3] for i in (0, 3, 6)]
    assert all(sorted(c) == [f"cat{n}{w}" for w in "abc"] for c in cycles)
  assert len({tuple(w[-1] for w in seen) for seen in words.values()}) > 1


def test_examples_stay_untouched_by_pp(part):
  stream = mixture.Mixture([part("cat", 1, pp="strfmt('{name} {n}', outkey='name')")], seed=0)
  assert [stream[i]["name"] for i in range(3)] == ["cat 0"] * 3
  assert isinstance(stream[0]["_rng"], np.random.Generator)


def test_sources_are_counted(part):
  parts = [part("cat", 3), part("dog", 5, weight=2.),
           part("dog", 5, weight=.5) | {"name": "more dogs"}]
  mix = mixture.Mixture(parts, seed=0)
  assert (mix.names, mix.sizes) == (("cat", "dog", "more dogs"), (3, 5, 5))
  assert mixture.Mixture([part("cat", 3)] * 3, seed=0).names == ("cat", "cat#1", "cat#2")
  named = lambda path: mixture._names([dict(data=dict(name="parquet", path=path))])[0]
  assert list(map(named, ("a/t-*.tar", "a/t_{00..11}.tar", ("a/*.tar",), "*"))) == [
      "t", "t", "a", "parquet"]
  seen = dict.fromkeys(mix.names, 0)
  for i in range(60):
    assert mix.counts(i) == seen
    seen[mix[i]["_source"]] += 1
  assert mix.counts(7 * 10**9) == {"cat": 2 * 10**9, "dog": 4 * 10**9, "more dogs": 10**9}


@pytest.mark.parametrize("sizes, weights, epoch", [
    ([50], [3.], 50),
    ([10, 30], [10, 30], 40),  # weights that are the sizes: all of both
    ([10, 30], [1, 1], 60),  # until the larger one is through, the smaller one comes three times
    ([10, 30], [3, 1], 120),
    ([7398, 20901], [7398, 20901], 28299),
])
def test_an_epoch_sees_every_source_as_a_whole(part, sizes, weights, epoch):
  parts = [part(f"p{i}", n, weight=w) for i, (n, w) in enumerate(zip(sizes, weights))]
  assert mixture.epoch(parts) == epoch
  counts = mixture.Mixture(parts, seed=0).counts(epoch)
  assert all(counts[f"p{i}"] >= n for i, n in enumerate(sizes))


def test_a_share_of_less_than_one_in_a_hundred_thousand_is_an_error(part):
  mixture.Mixture([part("cat", 2), part("dog", 2, weight=3e-5)], seed=0)
  with pytest.raises(ValueError, match="weights of a mixture differ too much: the least share, 3e"):
    mixture.Mixture([part("cat", 2), part("dog", 2, weight=3e-6)], seed=0)


def test_skipped_examples_are_replaced_and_named(tmp_path):
  lines = [{"words": ["a"] if i % 5 else []} for i in range(20)]  # choice fails on each fifth
  (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
  parts = [dict(data=dict(name="jsonl", path=f"{tmp_path}/x.jsonl"), pp="choice(key='words')")]
  with pytest.raises(ValueError, match="`choice.*` failed on example x.jsonl:"):
    [mixture.Mixture(parts, seed=0)[i] for i in range(20)]
  one, other = (mixture.Mixture(parts, 0, "skip") for _ in range(2))
  found = [one[i] for i in range(40)]
  assert all(e["words"] == "a" for e in found)
  skipped = [i for e in found for i in e.get("_skipped", ())]
  assert {i.split(":")[1] for i in skipped} >= {"1", "6", "11", "16"} and len(skipped) < 16
  for i in reversed(range(40)):  # which one comes in its place is a function of seed and index
    again = other[i]
    assert (again["_id"], again.get("_skipped")) == (found[i]["_id"], found[i].get("_skipped"))


def test_skipping_all_is_an_error(tmp_path):
  (tmp_path / "x.jsonl").write_text('{"words": []}\n' * 3)
  parts = [dict(data=dict(name="jsonl", path=f"{tmp_path}/x.jsonl"), pp="choice(key='words')")]
  with pytest.raises(ValueError, match="10 examples of x in a row could not be used, x.jsonl:"):
    mixture.Mixture(parts, 0, "skip")[0]
  with pytest.raises(ValueError, match="Unknown on_error 'skp'. Did you mean 'skip'"):
    mixture.Mixture(parts, 0, "skp")


def test_large_arrays_that_print_alike_are_not_the_same_data():
  zeros, ones = np.zeros((1, 2000)), np.zeros((1, 2000))
  ones[0, 1000] = 1
  assert repr(zeros) == repr(ones)  # numpy writes the corners
  component = lambda x: dict(data=dict(name="memory", examples=[dict(x=x)]), pp="")
  stream = mixture.Mixture([component(zeros), component(ones)], 0)
  assert sorted(stream[i]["x"].sum() for i in range(2)) == [0, 1]
