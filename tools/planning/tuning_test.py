import pytest

from big_vlm.training import policy
from configs import common
from tools import plan
from tools.planning import tuning

TUNE = dict(algorithm="grpo", samples=2, kl=0.1, prompt_len=4, max_new_tokens=3,
            rewards=[dict(name="counting")])


@pytest.fixture
def config():
  c = common.train(total_steps=4, tune=TUNE, mesh=dict(data=1, fsdp=1, tensor=1))
  c.model.img = dict(variant="tiny", depth=1)
  c.model.llm = dict(variant="tiny", vocab_size=64, depth=1)
  c.input.batch_size = 4
  return c


def test_answers_and_update(config):
  found = tuning.measure_tuning(config.to_dict(), device="cpu", text_len=6)
  assert found["rows"] == 8 and found["batch"] == 4 and found["fits"]
  assert found["static"]["parameters of the start"] == found["static"]["parameters"] > 0
  answers = found["answers"]
  assert answers["seconds"] == pytest.approx(answers["prefill"] + 3 * answers["round"])
  assert answers["memory"] > sum(found["static"][what] for what in (
      "parameters", "optimizer state", "parameters of the start"))
  assert "answers before each step, were all of full length" in plan.describe(found, "cpu")


def test_its_rows_have_their_own_length(config):
  assert policy.rows(config) == 8
  with pytest.raises(ValueError, match="prompt_len . max_new_tokens = 7 tokens; change those"):
    plan.plan(config, device="cpu", text_len=9)
