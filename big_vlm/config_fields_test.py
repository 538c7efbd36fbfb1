import pytest

from big_vlm import config_fields
from big_vlm.families.siglip.variants import ViTConfig
from configs import common, digits
from configs.siglip import quickstart


def test_the_defaults_and_the_configs_pass():
  for config in (common.train(), digits.get_config("tiny"), quickstart.get_config("tiny_pairs")):
    config_fields.check(config)


@pytest.mark.parametrize("field, value, said", [
    ("sharding", 5, r"give rules \(\(regex, value\), ...\), as \(\('.\*', 'fsdp'\),\).$"),
    ("sharding", "fsdp", r"Did you mean \(\('.\*', 'fsdp'\),\)\?$"),
    ("sharding", ((".*", "fdsp"),), "for '.\\*' give one of 'fsdp', .*Did you mean 'fsdp'"),
    ("sharding", (("(", "fsdp"),), "'\\(' is no regex"),
    ("model.dtype", "float8", "give one of 'auto', 'float32', .*. Did you mean 'float"),
    ("defaults", 5, "leave it to the config"),
    ("seed", -1, "give a whole number from 0 to 4,294,967,295"),
    ("seed", True, "give a whole number"),
    ("optimizer.ema", 1., "give a number from 0 to below 1"),
    ("optimizer.args", {"b2": 5}, "give a number from 0 to below 1"),
    ("optimizer.args", {"mu_dtype": "float8"}, "give one of 'float32', 'bfloat16'"),
    ("optimizer.lr", float("nan"), "give a number from 0"),
    ("optimizer", 5, "it has fields of its own, as name, args"),
    ("optimizer.schedule", ((".*", "cosine"),), "for '.\\*' give fields"),
    ("init.dont_load", (5,), "give texts"),
    ("input.mixture", "train.jsonl", "give a list"),
    ("evals", {"val": {"type": "vqa", "batch_size": 0}}, "give a whole number from 1"),
])
def test_a_value_of_another_kind_is_refused_by_name(field, value, said):
  config = common.train().to_dict()
  *parents, last = field.split(".")
  at = config
  for parent in parents:
    at = at[parent]
  at[last] = value
  with pytest.raises(ValueError, match=rf"^config.{field}.* is .*: .*{said}"):
    config_fields.check(config)


def test_the_entry_of_a_list_is_named():
  config = {"input": {"mixture": [{"data": {}, "pp": ""}, {"data": {}, "pp": "", "weight": -1}]}}
  with pytest.raises(ValueError, match=r"config.input.mixture\[1\].weight is -1: give a finite"):
    config_fields.check(config)


@pytest.mark.parametrize("field, value", [
    ("depth", 0), ("width", True), ("dropout", 1.), ("unroll", 2.), ("zero_head", 1),
    ("mlp", None)])
def test_a_field_of_a_model_holds_what_it_is_declared_to(field, value):
  sizes = dict(width=32, depth=2, mlp=64, heads=4, patch=8)
  with pytest.raises(ValueError, match=f"{field}={value} of a ViTConfig: give "):
    ViTConfig(**sizes | {field: value})
  assert ViTConfig(**sizes, rep_size=None).rep_size is None


@pytest.mark.parametrize("sizes, said", [
    (dict(heads=5), "width=32 of a ViTConfig does not divide into heads=5"),
    (dict(image_size=7), "image_size=7 of a tower is below patch=8")])
def test_sizes_of_a_tower_fit(sizes, said):
  with pytest.raises(ValueError, match=said):
    ViTConfig(**dict(width=32, depth=2, mlp=64, heads=4, patch=8) | sizes)
