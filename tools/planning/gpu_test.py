import pytest

from big_vlm.planning import devices
from tools.planning import child, gpu, measure


def test_each_nvidia_gpu_that_is_known_is_a_target():
  known = {name for name, row in devices.DEVICES.items() if "tpu" not in row.kind}
  assert gpu.TARGETS.keys() == known


@pytest.mark.parametrize("name, lines", [
    ("h100", ("major: 9 minor: 0", "core_count: 132", "shared_memory_per_block_optin: 232448",
              "l2_cache_size: 52428800", "memory_bandwidth: 3350000000000")),
    ("t4", ("major: 7 minor: 5", "threads_per_core_limit: 1024",
            "shared_memory_per_block_optin: 65536"))])
def test_what_the_compiler_is_told_of_a_gpu(name, lines):
  text = gpu.config_text(devices.find(name), gpu.TARGETS[name])
  assert all(line in text for line in lines) and text.count("{") == text.count("}")


def test_without_the_compiler_a_program_of_a_cpu_stands_in(monkeypatch):
  monkeypatch.setattr(gpu, "has_compiler", lambda: False)
  row, here, compiler = measure.find_devices(device="h100", count=2)
  assert row.bandwidth == 3350e9 and len(here) == 2 and compiler is None
  assert here[0].platform == "cpu"


@pytest.mark.skipif(not gpu.has_compiler(),
                    reason="the GPU compiler is not installed: requirements-gpu-compiler.txt")
def test_decoding_on_an_l4():
  tiny = dict(img=dict(variant="tiny", image_size=32), llm=dict(variant="tiny"))
  found = child.run("decoding", model=tiny, device="l4", batch=2, new=4)
  step = found["round"]
  assert found["compiler"].startswith("XLA for CUDA") and found["fits"]
  assert 0 < step["floor_bytes"] < step["bytes"] and step["memory"]["total"] > 0
