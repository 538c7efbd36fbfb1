"""Which metrics the evals of digits/tiny give, told without a model's parameters."""
import jax
import pytest

from big_vlm import sharding
from big_vlm.families import paligemma
from configs import digits
from evaluators import common, metric_names


@pytest.fixture(scope="module")
def evaluators(data_dir):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(digits, "DATA_DIR", data_dir)
    config = digits.get_config("tiny")
  config.evals = {**config.evals.to_dict(),
                  "all": dict(type="mean", evals=("ocr", "answer"), metric="acc"),
                  "loss": dict(type="perplexity", data=config.evals.ocr.data.to_dict(),
                               pp=config.input.mixture[1]["pp"], batch_size=8)}
  model = paligemma.PaliGemma(paligemma.config(**config.model.to_dict() | {"dtype": "float32"}))
  return common.evaluators(config, model, config.tokenizer,
                           sharding.make_mesh(devices=jax.devices()[:1]))


@pytest.mark.parametrize("metric", [
    "ocr/acc", "detect/AP50", "caption_de/cider", "all/acc", "loss/nll_per_token"])
def test_metrics_that_there_are(evaluators, metric):
  metric_names.check(metric, evaluators)


@pytest.mark.parametrize("metric, said", [
    ("ocr/accuracy", "gives 'ocr/accuracy'. Did you mean .ocr/acc.. There are answer/acc, "),
    ("detect/ap50", "Did you mean 'detect/AP50'"), ("ocr", "Did you mean 'ocr/acc'"),
    ("all/f1", "gives 'all/f1'"), ("acc", "gives 'acc'")])
def test_a_metric_that_there_is_not(evaluators, metric, said):
  with pytest.raises(ValueError, match=said):
    metric_names.check(metric, evaluators)


def test_a_config_without_evals():
  with pytest.raises(ValueError, match="no eval of this config gives 'a/b'. There are no evals"):
    metric_names.check("a/b", [])
