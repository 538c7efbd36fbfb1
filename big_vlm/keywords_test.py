import inspect

import pytest

from big_vlm import keywords
from big_vlm.vlm import VLM


@pytest.mark.parametrize("method, keyword, said", [
    ("generate", "num_beams", r"no 'num_beams'. Instead: sampler='hf_beam\(4"),
    ("generate", "prompt", "no 'prompt'. Did you mean 'prompts'"),
    ("stream", "temperature", "Instead: sampler='temperature"),
    ("stream", "max_new_token", "Did you mean 'max_new_tokens'"),
    ("score", "labels", "Instead: suffixes"),
    ("embed", "normalize", "Instead: nothing, since vectors are of length 1"),
    ("fit", "learning_rate", "Instead: lr. It takes examples, steps, epochs"),
])
def test_an_unknown_keyword_is_answered_with_ours(method, keyword, said):
  with pytest.raises(TypeError, match=rf"{method}\(\) has .*{said}"):
    getattr(VLM, method)(None, "ocr", **{keyword: 4})


def test_no_keyword_of_others_is_one_of_ours_and_signatures_stay():
  for method, others in keywords.OTHERS.items():
    known = inspect.signature(getattr(VLM, method)).parameters
    assert not others.keys() & known.keys(), method
  assert list(inspect.signature(VLM.fit).parameters)[:3] == ["self", "examples", "steps"]
