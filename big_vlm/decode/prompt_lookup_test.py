import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm.decode import prompt_lookup

ASK = dict(max_new_tokens=24, stop=(), no_repeat_ngram=3, repetition_penalty=1.1)


@pytest.mark.parametrize("text,wanted", [
    ([5, 6, 7, 8, 9, 5, 6], [7, 8, 9]),  # as it went on before
    ([1, 5, 6, 2, 4, 5, 6, 3, 4, 5, 6], [3, 4, 5]),  # 4 5 6 is longer than 5 6, the last of two
    ([3, 4, 3, 4], [3, 4, 3]), ([9, 9], [9, 9, 9]),  # a text that repeats itself
    ([1, 2, 3], [3, 3, 3])])  # nothing is alike: any guess
def test_continuation(text, wanted):
  rows = jnp.array([text + [-1] * 2, text + [7] * 2])  # what follows a text's end means nothing
  got = prompt_lookup.continuation(rows, jnp.full(2, len(text)), 3)
  np.testing.assert_array_equal(got, [wanted] * 2)


def test_answers_are_those_of_greedy(vlm, image):
  prompts, images = ["ocr", "detect 3 ; 7 ; 3 ; 7", "caption en"], [image, None, image[::-1]]
  greedy = vlm.generate(prompts, images, **ASK)
  got = vlm.generate(prompts, images, sampler="prompt_lookup(5)", **ASK)
  assert [g.tokens for g in got] == [g.tokens for g in greedy]
  for a, b in zip(got, greedy):
    np.testing.assert_allclose(a.logprobs, b.logprobs, rtol=1e-5, atol=2e-5)
  assert "".join(vlm.stream(prompts[0], image, sampler="prompt_lookup(5)", **ASK)) == got[0].text


def test_a_grammar_that_follows_one_token_is_refused(vlm, image):
  with pytest.raises(ValueError, match="several tokens at once"):
    vlm.generate("ocr", image, sampler="prompt_lookup()", grammar={"regex": "[0-9]"})
