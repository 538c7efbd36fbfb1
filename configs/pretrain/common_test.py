import pytest

from big_vlm.training import schedules
from configs.pretrain import stage1, stage2
from configs.transfers.common import MODELS


def rates(c, regex):
  """(steps, a function: step -> learning rate) of what a rule matches."""
  run = schedules.TrainingHorizon(None, c.input.batch_size)
  run = run._replace(total=run.steps("total", c.to_dict()))
  factor = schedules.make(run, **dict(c.optimizer.schedule)[regex])
  return run.total, lambda step: c.optimizer.lr * float(factor(step))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("regex", ["img/head/.*", "img/.*", ".*"])
def test_one_curve_goes_through_all_stages(model, regex):
  last = None
  for stage, res in ((stage1, 224), (stage2, 448), (stage2, 896)):
    total, rate = rates(stage.get_config(f"res={res},model={model}"), regex)
    if last:
      assert rate(0) == pytest.approx(last, rel=1e-3)
    last = rate(total - 1)


def test_the_image_encoder_warms_up_slowly_and_meets_the_curve():
  c = stage1.get_config("model=paligemma2_3b")
  total, tower = rates(c, "img/.*")
  _, rest = rates(c, ".*")
  warm = round(0.1 * total)
  assert all(tower(s) < 0.6 * rest(s) for s in (100, warm // 4, warm // 2))
  assert tower(warm // 2) / tower(warm // 4) == pytest.approx(2, rel=1e-3)
  assert tower(warm) == pytest.approx(rest(warm), rel=1e-3)
  assert tower(total - 1) == pytest.approx(rest(total - 1), rel=1e-3)


def test_a_stage_has_its_resolutions():
  with pytest.raises(ValueError, match="Unknown resolution of this stage 448"):
    stage1.get_config("448")
  with pytest.raises(ValueError, match="Unknown model '2b'"):
    stage2.get_config("model=2b")
