import pytest

from big_vlm.training import learning_rate


@pytest.mark.parametrize("parameters,rate,adapters", [
    (1e5, 1e-3, 3e-3), (1.3e6, 1e-3, 3e-3), (2.7e8, 4.1e-5, 4.6e-4), (2.9e9, 1e-5, 2e-4),
    (2.7e10, 1e-5, 2e-4)])
def test_a_larger_model_gets_a_lower_rate(parameters, rate, adapters):
  assert learning_rate.default(parameters) == pytest.approx(rate, rel=0.03)
  assert learning_rate.default(parameters, adapters=True) == pytest.approx(adapters, rel=0.03)
