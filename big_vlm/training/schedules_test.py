import math

import numpy as np
import pytest

from big_vlm.training import schedules

HORIZON = schedules.TrainingHorizon(total=100, batch_size=10, epoch=200)


@pytest.mark.parametrize("settings,steps", [
    (dict(warmup_steps=7), 7), (dict(warmup_examples=55), 6), (dict(warmup_epochs=1.5), 30),
    (dict(warmup_fraction=0.05), 5), (dict(warmup_fraction=1e-6), 1), (dict(warmup_steps=0), 0),
    (dict(warmup_steps=None, warmup_epochs=1), 20), ({}, "none")])
def test_durations(settings, steps):
  assert HORIZON.steps("warmup", settings, default="none") == steps


@pytest.mark.parametrize("settings,message", [
    (dict(warmup_percent=0.1), "warmup_percent is now warmup_fraction"),
    (dict(warmup_steps=1, warmup_fraction=0.1), "either warmup_steps or warmup_fraction"),
    (dict(warmup_fraction=5), "not in 0 to 1"), (dict(warmup_steps=-1), "not 0 or above")])
def test_bad_durations(settings, message):
  with pytest.raises(ValueError, match=message):
    HORIZON.steps("warmup", settings)


def test_epochs_of_an_endless_source():
  with pytest.raises(ValueError, match="log_epochs=1 cannot be converted to steps here"):
    schedules.TrainingHorizon(100, 10).steps("log", dict(log_epochs=1))


def values(at, **spec):
  rate = schedules.make(HORIZON, **spec)
  return [float(rate(step)) for step in at]


@pytest.mark.parametrize("spec,at,want", [
    (dict(decay="constant"), [0, 99], [1, 1]),
    (dict(decay="cosine"), [0, 50, 100], [1, 0.5, 0]),
    (dict(decay="cosine", warmup_steps=20), [0, 19, 20, 60, 100], [1 / 20, 1, 1, 0.5, 0]),
    (dict(decay="linear", end=0.2), [0, 50, 100], [1, 0.6, 0.2]),
    (dict(decay="polynomial", power=2), [0, 50], [1, 0.25]),
    (dict(decay="rsqrt", timescale=100), [0, 100], [1, 2**-0.5]),
    (dict(decay="rsqrt", timescale=100, warmup_steps=10), [4, 10, 90], [0.5, 1, 1.8**-0.5]),
    (dict(decay="piecewise_constant", steps=[30, 60], mults=[0.1, 0.01]), [29, 30, 59, 60],
     [1, .1, .1, .01]),
    (dict(decay="constant", cooldown_fraction=0.1), [89, 90, 91, 99, 100], [1, 1, .9, .1, 0]),
])
def test_values(spec, at, want):
  np.testing.assert_allclose(values(at, **spec), want, atol=1e-6)


def test_chained_stages_make_one_curve():
  whole = values(range(100), decay="rsqrt", timescale=40)
  first = values(range(60), decay="rsqrt", timescale=40)
  second = values(range(40), decay="rsqrt", timescale=40, shift=60)
  np.testing.assert_allclose(first + second, whole, rtol=1e-6)


@pytest.mark.parametrize("name", schedules.DECAYS)
def test_no_update_of_a_run_is_zero(name):
  assert min(values(range(100), decay=name, warmup_steps=10, cooldown_steps=10)) > 0


@pytest.mark.parametrize("spec,message", [
    (dict(decay="cosin"), "Unknown schedule 'cosin'. Did you mean 'cosine'"),
    (dict(decay="rsqrt", timescal=1), "has no 'timescal'. Did you mean 'timescale'"),
    (dict(decay="stair"), "'stair' is now 'piecewise_constant'"),
    (dict(warmup_steps=5), "Unknown schedule None"),
    (dict(decay="rsqrt", timescale="x"), "The schedule 'rsqrt' with .'timescale': 'x'.: "),
    (dict(decay="cosine", warmup_steps="x"), "warmup_steps='x' is not a number"),
    (dict(decay="cosine", warmup=5), "has no 'warmup'. Did you mean 'warmup_"),
    (dict(decay="cosine", warmup_steps=60, cooldown_steps=60), "do not fit a training of 100"),
    (dict(decay="piecewise_constant", steps=[5], mults=[]), "a factor for each"),
    (dict(decay="piecewise_constant", steps=[5], mults=[-1.]), "is -1 times the rate at step 5"),
    (dict(decay="linear", end=-1), "is -0.02 times the rate at step 51: it must be a number, 0 or"),
    (dict(decay="polynomial", power=-1), "is inf times the rate at step 100"),
    (dict(decay="polynomial", end=math.nan), "is nan times the rate at step 0"),
    (dict(decay="rsqrt", timescale=-1), "times the rate at step 1"),
    (dict(decay="rsqrt", timescale=0), "is nan times the rate at step 0"),
])
def test_errors_name_the_mend(spec, message):
  with pytest.raises(ValueError, match=message):
    schedules.make(HORIZON, **spec)
