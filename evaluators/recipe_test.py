"""What is said beside a published score: changes of the recipe, another model, missing data."""
import types

import pytest

from big_vlm.families import paligemma
from configs.transfers import cococap
from evaluators import recipe

ENTRY = dict(type="vqa", data=dict(name="okvqa", split="val", data_dir=None), metric="accuracy",
             pp="decode|resize(224)|strfmt('answer en {question}', outkey='prefix')",
             max_new_tokens=32, batch_size=256, fraction=0.25)


@pytest.mark.parametrize("change, said", [
    ({}, []),
    (dict(batch_size=8, fraction=None, steps=3), []),  # what a figure does not depend on
    (dict(data=dict(name="okvqa", split="val", data_dir="/elsewhere")), []),
    (dict(data=dict(name="okvqa", split="val[:9]")),
     ["split is 'val[:9]', the recipe has 'val'"]),
    (dict(data=dict(name="jsonl", path="a.jsonl")),
     ["name is 'jsonl', the recipe has 'okvqa'", "path is 'a.jsonl', the recipe has none",
      "split is not set, the recipe has 'val'"]),
    (dict(max_new_tokens=8), ["max_new_tokens is 8, the recipe has 32"]),
    (dict(sampler="beam(n=2)"), ["sampler is 'beam(n=2)', the recipe has none"]),
    (dict(pp=ENTRY["pp"].replace("answer en", "Answer:")),
     ["pp has `strfmt('Answer: {question}', outkey='prefix')`, the recipe has "
      "`strfmt('answer en {question}', outkey='prefix')`"]),
    (dict(pp=ENTRY["pp"].replace("decode|resize(224)", "decode|central_crop(9)|resize(448)")),
     ["pp has `central_crop(9) | resize(448)`, the recipe has `resize(224)`"]),
    (dict(pp=ENTRY["pp"] + "|lower"), ["pp has `lower`, the recipe has `nothing`"]),
])
def test_deviations(change, said):
  assert recipe.deviations({**ENTRY, **change}, ENTRY) == said


def test_an_eval_that_the_recipe_does_not_have():
  assert recipe.deviations(ENTRY, None) == ["the recipe has no such eval"]


@pytest.mark.parametrize("published, percent, ours", [
    (63.5, True, 0.635), (141.9, True, 1.419), (1.6, False, 1.6), (None, True, None)])
def test_scores_come_to_the_scale_of_the_metric(published, percent, ours):
  assert recipe.score(published, percent) == pytest.approx(ours)


def test_the_recipe_is_the_file_for_this_size_and_resolution():
  found = recipe.load(f"{cococap.__file__}:res=448,text_len=64,sampler=greedy")
  assert found.to_json_best_effort() == cococap.get_config("res=448").to_json_best_effort()
  assert recipe.load(None) is None


def test_another_model_than_the_configs():
  config = cococap.get_config("res=448,model=paligemma2_3b")
  same = paligemma.config(**config.model.to_dict() | {"dtype": "bfloat16"})
  assert recipe.model(same, config) == []
  other = paligemma.config(**cococap.get_config("res=224").model.to_dict() | {"dtype": "float32"})
  assert recipe.model(other, config) == [
      "the checkpoint is PaliGemma 3B at 224, the recipe is for PaliGemma 2 3B at 448"]


def prepared(monkeypatch, **counts):
  made = types.SimpleNamespace(
      COUNTS={"unc": {"val": 100, "test": 50}}, builder_config=types.SimpleNamespace(name="unc"),
      info=types.SimpleNamespace(splits={
          name: types.SimpleNamespace(num_examples=n) for name, n in counts.items()}))
  monkeypatch.setattr(recipe.tfds, "builder", lambda name, data_dir: made)


@pytest.mark.parametrize("split, said", [
    ("test", []),
    ("test[:10]+extra", []),  # of extra no count is known
    ("val[-5%:]", ["refcoco/unc has 7 of the 100 examples of val: it was prepared from a part of "
                   "its release"]),
])
def test_data_that_are_not_whole(monkeypatch, split, said):
  prepared(monkeypatch, val=7, test=50, extra=3)
  assert recipe.data(dict(data=dict(name="refcoco/unc", split=split))) == said


def test_data_that_are_not_what_was_published_on(monkeypatch):
  prepared(monkeypatch)
  assert "540 images" in recipe.data(dict(data=dict(name="countbenchqa", split="huggingface")))[0]
  assert recipe.data(dict(data=dict(name="jsonl", path="mine.jsonl"))) == []


def test_a_mean_says_once_what_holds_for_all_its_parts(monkeypatch):
  prepared(monkeypatch, val=100, test=9)
  config = cococap.get_config("text_len=64")
  entries = {name: {**ENTRY, "data": dict(name="x/unc", split=split, data_dir=None),
                    "max_new_tokens": 64} for name, split in (("x/a", "val"), ("x/b", "test"))}
  entries["x/avg"] = dict(type="mean", evals=("x/a", "x/b"), metric="accuracy")
  model = paligemma.config(**config.model.to_dict() | {"dtype": "float32"})
  warnings = recipe.Warnings(config, None, model, entries)
  partial = "x/unc has 9 of the 50 examples of test: it was prepared from a part of its release"
  assert warnings.of("x/avg", compared=True, first=True) == ["x/b: " + partial]
  assert warnings.of("x/avg", compared=False, first=True) == []
  assert warnings.of("x/b", compared=False, first=True) == [partial]
  assert warnings.of("x/b", compared=False, first=False) == []
  config = cococap.get_config("")
  config.text_len = 64  # as --config.text_len=64 does
  warnings = recipe.Warnings(config, cococap.__file__, model, config.evals.to_dict())
  assert warnings.of("nocaps/val", True, True) == [
      "max_new_tokens is 64, the recipe has 32",
      "prompt_len is 64, the recipe has 32"]
