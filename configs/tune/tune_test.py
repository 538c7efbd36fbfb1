import pytest

from big_vlm.training import policy
from configs import forkme
from configs.tune import caption, count, detect, dpo
from evaluators import common
from evaluators.rewards import Rewards


@pytest.mark.parametrize("module", [caption, count, detect, dpo])
def test_config(module):
  c = module.get_config("data=my/a.jsonl,val=my/b.jsonl,lora=4,steps=9")
  settings = policy.Settings.of(c)
  settings.check(c)
  assert (settings.algorithm == "dpo") == (not Rewards(settings.rewards, None).names)
  assert c.text_len == settings.length and c.lora.rank == 4 and c.optimizer.weight_decay == 0
  assert c.input.mixture[0]["data"]["path"] == ("my/a.jsonl",)
  for name, e in c.evals.items():
    common.check_arguments(name, type=e.type, data=e.data, pp=e.pp, batch_size=e.batch_size)


def test_without_data_it_is_the_scenes():
  c = detect.get_config()
  assert c.input.mixture[0]["data"]["name"] == "digits/small" and c.init.model == "digits"
  assert "answer en" in c.input.mixture[1]["pp"] and c.tune.rewards[1]["name"] == "exact_match"
  assert len(detect.get_config("data=my/a.jsonl").tune.rewards) == 1  # boxes alone


def test_a_text_only_model_reads_no_image(monkeypatch):
  model = {}, dict(variant="tiny", vocab_size=1632), "sp('x.model')"
  monkeypatch.setattr(forkme, "model_of", lambda init: model)
  c = detect.get_config("data=my/a.jsonl")
  assert c.input.mixture[0]["pp"].startswith("flatten|text_layout(")


def test_what_the_command_line_changes_changes_all_that_follows():
  c = detect.get_config("init=digits")
  c.tune.max_new_tokens = 64  # --config.tune.max_new_tokens=64
  assert c.text_len == c.tune.prompt_len + 64
  assert c.evals.val.to_dict()["max_new_tokens"] == 64


@pytest.mark.parametrize("arg", ["448", "model=paligemma_3b", "train_on_val"])
def test_arguments_of_other_configs(arg):
  with pytest.raises(ValueError, match="The config has no"):
    detect.get_config(arg)
