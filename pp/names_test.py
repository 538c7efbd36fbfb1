import pytest

from pp import names


@pytest.mark.parametrize("old, known, new", [
    ("process", ["process_id"], "process_id"), ("process", ["workdir"], None),
    ("rule", ["metric", "language"], "metric"), ("rule", ["protocol"], "protocol"),
    ("microbatches", {"grad_accum_steps": 1}, "grad_accum_steps"), ("workdir", ["workdir"], None)])
def test_an_old_spelling_counts_where_its_new_one_is_known(old, known, new):
  assert names.new_name(old, known) == new


def test_errors_name_the_new_spelling_or_the_nearest_one():
  with pytest.raises(ValueError, match="config has no 'size'. 'size' is now 'model'. It takes"):
    names.check_names(["size"], ["res", "model"], "The config")
  with pytest.raises(ValueError, match="Unknown model 'pg1'. 'pg1' is now 'paligemma_3b'. Known"):
    names.pick({"paligemma_3b": 1}, "pg1", "model")
  with pytest.raises(ValueError, match="Unknown model 'paligema'. Did you mean 'paligemma'"):
    names.pick({"paligemma": 1}, "paligema", "model")
  with pytest.raises(ValueError, match=r"Unknown model \['paligemma'\]"):
    names.pick({"paligemma": 1}, ["paligemma"], "model")


def test_what_stands_in_the_place_of_big_visions_fields():
  with pytest.raises(ValueError, match="Instead of big_vision's 'wd': optimizer.weight_"):
    names.check_names(["wd"], ["size"], "The config")
  assert names.near_miss("cache", ["caches"]) == " Did you mean 'caches'?"  # a value, as a label is
