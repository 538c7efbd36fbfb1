from typing import NamedTuple

import flax
import jax
import numpy as np
import pytest

from big_vlm import trees


class Moments(NamedTuple):
  mu: dict
  nu: dict


@flax.struct.dataclass
class State:
  step: int
  params: dict
  opt: tuple


PARAMS = {"llm": {"layers": {"w": 2, "b": 1}}, "img": {"kernel": 0}}
STATE = State(step=7, params=PARAMS, opt=(None, Moments({"w": 1}, {"w": 2}), [3, 4]))


def test_names_join_keys_fields_and_indices_in_the_order_of_the_leaves():
  assert trees.names(PARAMS) == ["img/kernel", "llm/layers/b", "llm/layers/w"]
  assert trees.names(STATE) == [
      "step", *(f"params/{n}" for n in trees.names(PARAMS)),
      "opt/1/mu/w", "opt/1/nu/w", "opt/2/0", "opt/2/1"]
  assert len(trees.names(STATE)) == len(jax.tree.leaves(STATE))
  assert trees.names({}) == []


def test_map_with_names():
  assert trees.map_with_names(lambda name, x: f"{name}={x}", PARAMS) == {
      "llm": {"layers": {"w": "llm/layers/w=2", "b": "llm/layers/b=1"}},
      "img": {"kernel": "img/kernel=0"}}
  twice = trees.map_with_names(lambda name, x, y: (name, x + y), {"a": 1, "b": [2]},
                               {"a": 10, "b": [20]})
  assert twice == {"a": ("a", 11), "b": [("b/0", 22)]}
  shapes = trees.map_with_names(lambda _, x: x.shape, {"w": np.zeros((2, 3))})
  assert shapes == {"w": (2, 3)}


def test_assign_takes_the_first_rule_that_matches_all_of_the_name():
  names = ["img/kernel", "llm/layers/b", "llm/layers/w"]
  assert trees.assign(names, [("llm/.*/b", 0.0), ("llm/.*", 0.1), (".*", 1.0)], "decay") == {
      "img/kernel": 1.0, "llm/layers/b": 0.0, "llm/layers/w": 0.1}
  assert trees.assign(names, [(".*/b|.*/w", True), ("img/.*", None)], "freeze") == {
      "img/kernel": None, "llm/layers/b": True, "llm/layers/w": True}
  shadowed = [(".*", 1), ("img/.*", 2)]  # it matches a name, if in vain
  assert set(trees.assign(names, shadowed, "decay").values()) == {1}


@pytest.mark.parametrize("rules, complaint", [
    ([("llm/.*", 1)], "No decay rule covers 1 of 2 parameters, e.g. img/kernel. End the rules"),
    ([], "No decay rule covers 2 of 2"),
    ([("kernel", 0), (".*", 1)], "The decay rule 'kernel' matches no parameter. Names look like "
                                 "img/kernel, llm/w; the regex must match all of the name"),
    ([("img", 0), (".*", 1)], "The decay rule 'img' matches no parameter"),
])
def test_rules_cover_or_raise(rules, complaint):
  with pytest.raises(ValueError, match=complaint):
    trees.assign(["img/kernel", "llm/w"], rules, "decay")


def test_nested_undoes_names():
  tree = {"img": {"kernel": 1}, "llm": {"norm": {"scale": 2}, "w": 3}}
  assert trees.nested(dict(zip(trees.names(tree), [1, 2, 3]))) == tree
