import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from evaluators.rewards import Rewards

ANSWERS = [dict(id="a", prediction="3", suffix="3", answer="3", answers=["3", "three"]),
           dict(id="b", prediction="cat", suffix="cats", answer="4", answers=["cats"])]


@pytest.fixture(autouse=True)
def mine(monkeypatch):
  module = types.ModuleType("mine")
  module.length = lambda answer, example, most=9: len(answer) / most
  module.fails = lambda answer, example: 1 / 0
  module.exits = lambda answer, example: sys.exit(0)
  module.lacks = lambda answer, example: example["lenght"]
  module.many = lambda answer, example: np.zeros(3)
  module.nan = lambda answer, example: float("nan") if example["id"] == "b" else 1
  module.text = lambda answer, example: "1"
  module.none = lambda answer, example: None
  module.huge = lambda answer, example: 1e300
  module.three = 3
  module.whole = lambda answer, example: 10**400
  module.complex = lambda answer, example: np.complex64(1)
  module.half = lambda answer, example: jnp.bfloat16(.5)
  monkeypatch.setitem(sys.modules, "mine", module)


def of(*rewards):
  return Rewards(rewards, None)(ANSWERS)[0].tolist()


@pytest.mark.parametrize("reward, want", [
    (dict(name="exact_match"), [1, 0]), (dict(name="counting"), [1, 0]),
    (dict(name="mine:half"), [.5, .5]),
    (dict(name="vqa", metric="anls"), [1, .75]), (dict(name="mine:length"), [1 / 9, 1 / 3]),
    (dict(name="mine:length", most=1, weight=-.5), [-.5, -1.5])])
def test_a_reward(reward, want):
  np.testing.assert_allclose(of(reward), want, rtol=1e-6)


def test_rewards_add_up_by_their_weights_and_leave_the_predictions():
  before = [dict(p) for p in ANSWERS]
  total, each = Rewards([dict(name="exact_match", weight=2.), dict(name="mine:length"),
                         dict(name="mine:length", most=3)], None)(ANSWERS)
  assert list(each) == ["exact_match", "length", "length#2"]
  np.testing.assert_allclose(total, [2 + 1 / 9 + 1 / 3, 1 / 3 + 1], rtol=1e-6)
  assert ANSWERS == before


def test_json_and_captions():
  rows = [dict(id=i, prediction=t, suffix=s) for i, (t, s) in enumerate(
      [('{"a": 1}', '{"a": 1}'), ("no", '{"a": 2}')])]
  assert Rewards([dict(name="json")], None)(rows)[0].tolist() == [1, 0]
  rows = [dict(id=i, prediction=t, captions=[s]) for i, (t, s) in enumerate(
      [("a cat on a mat", "a cat on a mat"), ("a cat on a mat", "two dogs run in the park")])]
  right, wrong = Rewards([dict(name="caption")], None)(rows)[0]
  assert right > 9 > 1 > wrong


def test_boxes_earn_by_how_tight_they_are():
  loc = lambda *edges: "".join(f"<loc{n:04d}>" for n in edges)
  row = lambda text: {"id": "x", "prediction": text, "objects/bbox": [[0, 0, .5, .5]],
                      "objects/label": ["cat"], "image_size": [32, 32]}
  rows = list(map(row, (loc(0, 0, 512, 512) + " cat", loc(0, 0, 512, 400) + " cat",
                        loc(0, 0, 512, 512) + " dog", "",
                        loc(0, 0, 512, 512) + " cat ; " + loc(9, 9, 99, 99) + " cat")))
  got = Rewards([dict(name="detection")], None)(rows)[0]
  np.testing.assert_allclose(got, [1, .6, 0, 0, .5])  # 400 / 512 is above 0.5 to 0.75
  assert Rewards([dict(name="detection", ious=[0.5])], None)(rows)[0].tolist() == [1, 1, 0, 0, .5]


@pytest.mark.parametrize("reward, message", [
    (dict(name="mine:fails"), "'mine:fails' failed for the example 'a', with the answer '3': "
                              "ZeroDivisionError"),
    (dict(name="mine:exits"), "'mine:exits' failed for the example 'a'.*SystemExit: 0"),
    (dict(name="mine:lacks"), "failed for the example 'a'.*KeyError: 'lenght'"),
    (dict(name="mine:many"), r"'mine:many' of the example 'a' is an array of shape \[3\], not a"),
    (dict(name="mine:nan"), "'mine:nan' of the example 'b' is nan, not a finite number"),
    (dict(name="mine:text"), "is '1', not a finite number"),
    (dict(name="mine:lenght"), "'mine:lenght' cannot be imported"),
    (dict(name="mein:length"), "'mein:length' cannot be imported: No module named 'mein'"),
    (dict(name="exact_mach"), "Did you mean 'exact_match'"),
    (dict(name="vqa"), "needs metric="),
    (dict(name="vqa", metrics="anls"), "Did you mean 'metric'"),
    (dict(name="perplexity"), "gives an answer no score"),
    (dict(name="retrieval"), "'retrieval' gives an answer no score"),
    (dict(name="exact_match", weight="1"), "weight='1'"),
    (dict(name="mine:none"), "is None, not a finite number. The answer"),
    (dict(name="mine:huge"), r"'mine:huge' of the example 'a' is 1e\+300 .* stay below 1e\+15"),
    (dict(name="mine:whole"), "'mine:whole' of the example 'a' is 1000.* stay below"),
    (dict(name="mine:complex"), r"is np.complex64\(1\+0j\), not a finite number"),
    (dict(name="mine:length", weight=1e300), "weight 1e.300: it must stay below"),
    (dict(name="mine:three"), "'mine:three' is 3, not a function"),
    ("detection", r"rewards\[0\] is 'detection': give a dict, such as dict\(name='detection'"),
    (dict(weight=1), r"rewards\[0\] has no name")])
def test_what_is_refused(reward, message):
  with pytest.raises(ValueError, match=message):
    of(reward)
