"""Configs of big_vision: refused, with a place for each field."""
import json
import pathlib
import re

import ml_collections
import pytest

from big_vlm import big_vision_config, config_flags
from configs import common
from evaluators import common as evaluators
from evaluators import vqa

GOLDEN = pathlib.Path(__file__).parents[1] / "tests/golden/big_vision_fields.json"
FIELDS = json.loads(GOLDEN.read_text())["fields"]  # of all its PaliGemma configs
OKVQA = """
import ml_collections
def get_config(arg=None):
  return ml_collections.ConfigDict(dict(
      model_name="proj.paligemma.paligemma", lr=5e-6, wd=0., label_smoothign=0.,
      mesh=[("data", -1)], input=dict(data=dict(name="okvqa", split="train"), batch_size=128),
      evals={"okvqa/val": dict(type="proj.paligemma.transfers.vqa", pred="decode"),
             "okvqa/pplx": dict(type="proj.paligemma.perplexity", pred="logits")}))
"""


def test_a_config_of_big_vision_is_refused_with_the_place_of_each_field(tmp_path):
  (tmp_path / "okvqa.py").write_text(OKVQA)
  with pytest.raises(ValueError) as e:
    config_flags.load(str(tmp_path / "okvqa.py"))
  said = [re.sub("  +", "  ", line) for line in str(e.value).splitlines()]
  assert "The same task is configs/transfers/okvqa.py. In place of each field" in said[0]
  assert {"  lr = 5e-06  optimizer.lr", "  input.batch_size = 128  the same",
          "  label_smoothign = 0.0  nothing: it is not known here",
          "  evals.*.type=proj.paligemma.perplexity  type 'perplexity', with text_layout in its pp",
          } <= set(said)


def test_its_import_of_big_vision_is_explained(tmp_path):
  (tmp_path / "mine.py").write_text("import big_vision.configs.common as bvcc")
  with pytest.raises(ValueError, match="is a config of big_vision, .* checkout in PYTHONPATH"):
    config_flags.load(str(tmp_path / "mine.py"))


@pytest.mark.parametrize("config", [common.train(), common.train(lr=1e-5)])
def test_our_own_pass(config):
  big_vision_config.refuse(config, "mine.py")


def test_every_field_of_its_configs_has_a_place_and_that_is_ours():
  places = {f: big_vision_config.place(f, f.partition("=")[2]) for f in FIELDS}
  ours = common.train()
  assert len(places) > 80 and not [f for f, p in places.items() if "not known" in p]
  for field, place in places.items():
    path = field if place == "the same" else re.match(r"^((\w+\.)*\w+)", place)[0]
    group, _, name = path.partition(".")
    if group in ours and isinstance(ours[group], ml_collections.ConfigDict) and name:
      assert group in ("model", "evals") or name in ours[group], (field, place)


@pytest.mark.parametrize("place", big_vision_config.TYPES.values())
def test_types_of_evals_are_ours(place):
  type, *metric = re.findall("'(.*?)'", place)[:2] or ["vqa"]
  assert type in evaluators.EVALUATOR_TYPES and all(m in vqa.METRICS for m in metric)
