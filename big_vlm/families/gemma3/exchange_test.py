"""Gemma 3's configs of transformers: both spellings, what is refused; numbers are in hf_test."""
import pytest

from big_vlm.families import gemma3, paligemma, paligemma_hf

# As released for 4B, in the spelling of transformers 4: what is default is not written.
RELEASED = dict(model_type="gemma3_text", hidden_size=2560, intermediate_size=10_240,
                num_hidden_layers=34, sliding_window=1024, vocab_size=262_144,
                rope_scaling={"rope_type": "linear", "factor": 8.0})


def imported(**changes):
  return paligemma_hf.import_config({**RELEASED, **changes}, "F").llm


@pytest.mark.parametrize("name", gemma3.VARIANTS)
def test_every_variant_there_and_back(name):
  config = paligemma.config(llm=dict(variant=name))
  there = paligemma_hf.export_config(config, "bfloat16")
  assert paligemma_hf.import_config(there, "F") == config
  del there["rope_parameters"], there["layer_types"]  # transformers 4
  assert paligemma_hf.import_config(there, "F") == config
  there = paligemma_hf.export_config(config, "bfloat16")
  for key in ("rope_theta", "rope_local_base_freq", "rope_scaling", "sliding_window_pattern"):
    del there[key]  # transformers 5
  assert paligemma_hf.import_config(there, "F") == config


def test_a_released_file():
  assert imported() == gemma3.VARIANTS["gemma3_4b"]
  assert imported(rope_scaling={"type": "linear", "factor": 8.0}) == gemma3.VARIANTS["gemma3_4b"]
  assert imported(layer_types=["full_attention"] * 34).window is None


@pytest.mark.parametrize("changes,message", [
    (dict(use_bidirectional_attention=True), "use_bidirectional_attention is True"),
    (dict(rope_scaling={"rope_type": "yarn", "factor": 8.0}), "only linear scaling of global ones"),
    (dict(rope_parameters={"rope_theta": 1e6}), r"rope_parameters has \['rope_theta'\]"),
    (dict(layer_types=["full_attention", *["sliding_attention"] * 33]), "layer_types must have"),
    (dict(model_type="gemma3"), "Unknown model_type in F: 'gemma3'.*gemma3_text"),
])
def test_what_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    imported(**changes)


def test_released_parameter_counts():
  counts = [gemma3.VARIANTS[f"gemma3_{size}"] for size in ("270m", "1b", "4b", "12b", "27b")]
  shapes = [paligemma.param_shapes(paligemma.PaliGemmaConfig(None, c)) for c in counts]
  assert [sum(x.size for x in s.values()) for s in shapes] == [
      268_098_176, 999_885_952, 3_880_099_328, 11_765_788_416, 27_009_002_240]
