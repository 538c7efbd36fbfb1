import pytest

from big_vlm.planning import devices


def test_devices_have_names_and_this_cpu_is_measured():
  assert devices.find("h100").flops == 989e12
  with pytest.raises(ValueError, match="Did you mean 'h100'"):
    devices.find("h10")
  here = devices.find("cpu")
  assert 1e9 < here.flops < 1e14 and 1e8 < here.bandwidth < 1e12 and here.memory > 2**30
