"""Suites build, their evals are those of the transfers, and published scores name one of them."""
import importlib
import json
import pathlib

import pytest

from configs.evals import common, mix, siglip, siglip_scores, zero_shot
from configs.transfers import common as transfers
from configs.transfers import vqav2
from evaluators.common import EVALUATOR_TYPES

LINES = 50
SUITES = [(module, arg) for module in (mix, zero_shot, siglip)
          for arg in module.VARIANTS]


@pytest.mark.parametrize("module, arg", SUITES)
def test_suite(module, arg):
  c = module.get_config(arg)
  evals = c.evals.to_dict()
  assert evals and json.loads(c.to_json_best_effort())["evals"]
  for entry in evals.values():
    assert entry["type"] in {*EVALUATOR_TYPES, "mean"}
    assert set(entry.get("evals", ())) < set(evals)
  for metric in c.published:
    assert any(metric.startswith(f"{name}/") for name in evals), metric
  assert not c.input.mixture and c.model.img.image_size in (224, 256, 384, 448, 896)


def test_every_file_is_short_and_is_tested_here():
  folder = pathlib.Path(common.__file__).parent
  files = [path for path in folder.glob("*.py") if not path.name.endswith("_test.py")]
  assert {path.stem for path in files} == {
      "__init__", "common", "mix", "siglip", "siglip_scores", "zero_shot"}
  assert all(len(path.read_text().splitlines()) <= LINES for path in files)


def test_all_zero_shot_sets_are_there():
  names = {name.split("/")[0] for name in zero_shot.get_config("").evals}
  assert names == set(zero_shot.TASKS)
  # whatever a transfer publishes of a set, its suite compares with
  for name, task in zero_shot.TASKS.items():
    of = importlib.import_module(f"configs.transfers.{task}").get_config("448")
    scores = {k: v for k, v in of.published.items() if k.startswith(name + "/")}
    assert scores and scores == zero_shot.get_config(f"448,sets={name}").published.to_dict()


def test_evals_are_asked_as_after_the_transfer():
  c, of = zero_shot.get_config("res=448,sets=pope,data_dir=/d"), vqav2.get_config("448,data_dir=/d")
  assert list(c.evals) == ["pope/adversarial", "pope/avg3", "pope/popular", "pope/random"]
  for name, entry in c.evals.items():
    assert entry.to_dict() == of.evals[name].to_dict()


def test_the_models_that_are_asked():
  assert mix.get_config("448").init.model == "google/paligemma-3b-mix-448"
  assert mix.get_config("model=paligemma2_10b").init.model == "google/paligemma2-10b-mix-224"
  assert mix.get_config("448").published["mmvp/test/pair_accuracy"] == 45.33
  assert mix.get_config("model=paligemma2_10b").published.to_dict() == {}  # none is known
  assert set(transfers.MODELS) == {"paligemma_3b", "paligemma2_3b", "paligemma2_10b",
                                   "paligemma2_28b"}


def test_an_unknown_set():
  with pytest.raises(ValueError, match="Unknown zero-shot set 'nocap'. Did you mean 'nocaps'"):
    zero_shot.get_config("sets=nocap")


def test_siglip_has_the_models_with_published_scores():
  scored = {line.split()[0] for line in siglip_scores.PUBLISHED.strip().splitlines()}
  assert set(siglip.MODELS) - scored == {"webli_i18n_b16_256_66117334"}
  assert scored < set(siglip.MODELS)
  c = siglip.get_config("model=siglip2_so400m14_384,sets=coco+xm3600,data_dir=/d")
  assert c.published.to_dict() == {
      "coco/txt2img_recall@1": 55.8, "coco/img2txt_recall@1": 71.7,
      "xm3600/txt2img/txt2img_recall@1": 48.4, "xm3600/img2txt/img2txt_recall@1": 57.5}
  assert c.evals.coco.data.to_dict() == dict(name="cococap", split="test", data_dir="/d")
  assert len([name for name in c.evals if name.startswith("xm3600/")]) == 36 + 2
  crop = siglip.get_config("model=siglip2_b16_224,sets=imagenet").evals.imagenet.pp
  assert crop.startswith("decode|resize(256)|central_crop(224)")
  with pytest.raises(ValueError, match="Did you mean 'siglip2_b16_224'"):
    siglip.get_config("model=siglip2_b16_24")
