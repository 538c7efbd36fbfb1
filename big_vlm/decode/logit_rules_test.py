import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm.decode import logit_rules
from pp.tokenizer import get_tokenizer

PROMPTS = [[2, 5, 9, 9, 30], [2, 7], [2, 11, 12, 13, 14, 15, 16]]
OPTIONS = dict(max_new_tokens=12, stop=())


def tokens(vlm, prompts=PROMPTS, **options):
  return [g.tokens for g in vlm.generate(prompts, **(OPTIONS | options))]


def test_no_stop_before_so_many_tokens(text_only):
  plain, = tokens(text_only, PROMPTS[:1])
  stop = plain[2]
  assert len(tokens(text_only, PROMPTS[:1], stop=stop)[0]) == plain.index(stop) + 1
  for sampler in ("greedy", "beam(2)"):
    found, = tokens(text_only, PROMPTS[:1], stop=stop, min_new_tokens=6, sampler=sampler)
    assert len(found) >= 6 and stop not in found[:5]


def test_the_repetition_penalty_is_that_of_its_paper(text_only):
  """Of tokens of prompt and answer, positive logits are divided by it and negative multiplied."""
  found = tokens(text_only, repetition_penalty=1.5)
  assert found != tokens(text_only)
  for prompt, answer in zip(PROMPTS, found):
    row = list(prompt)
    for token in answer[:5]:
      logits = np.array(text_only.logits([row], last=1)[0, 0])
      seen = sorted(set(row))
      logits[seen] = np.where(logits[seen] > 0, logits[seen] / 1.5, logits[seen] * 1.5)
      assert token == logits.argmax()
      row.append(token)


def test_the_batch_changes_nothing(text_only):
  options = dict(repetition_penalty=1.3, min_new_tokens=3, sampler="temperature(.8)", seed=3)
  together = tokens(text_only, **options)
  assert together == [tokens(text_only, [p], **options)[0] for p in PROMPTS]


def test_a_bias_forbids_or_prefers_tokens(text_only):
  first = [row[0] for row in tokens(text_only)]
  banned = dict.fromkeys(first, float("-inf"))
  found = tokens(text_only, logit_bias=banned)
  assert not set(first) & {t for row in found for t in row}
  assert tokens(text_only, logit_bias={77: 1e4}) == [[77] * 12] * 3
  answer = text_only.generate(PROMPTS[:1], logit_bias={77: 1e4}, **OPTIONS)[0]
  plain = text_only.score([PROMPTS[0]], [[77] * 12])[0]
  np.testing.assert_allclose(sum(answer.logprobs), plain[0], rtol=1e-4)  # the model's own


def test_a_function_of_the_logits(text_only):
  def no_token_twice(tokens, length, logits):
    written = jnp.arange(tokens.shape[1])[None] < length[:, None]
    rows = jnp.arange(len(logits))[:, None]
    return logits.at[rows, jnp.where(written, tokens, logits.shape[1])].set(-jnp.inf, mode="drop")
  for row in tokens(text_only, logits_processor=no_token_twice):
    assert len(set(row)) == len(row)
  assert tokens(text_only, logits_processor=no_token_twice) == tokens(text_only, no_repeat_ngram=1)


def test_a_text_of_one_token_is_a_key(vlm, image):
  piece = vlm.tokenizer.to_str([300], stop_at_eos=False)
  assert vlm.tokenizer.to_int(piece) == [300]
  found = vlm.generate("ocr", image, logit_bias={piece: 1e4}, max_new_tokens=3)
  assert found[0].tokens == [300] * 3


@pytest.mark.parametrize("options, words", [
    (dict(repetition_penalty=0), "repetition_penalty=0 is not a number above 0"),
    (dict(repetition_penalty=float("nan")), "not a number above 0"),
    (dict(min_new_tokens=-1), "min_new_tokens=-1 is not a whole number"),
    (dict(logit_bias=[5]), r"logit_bias is a dict"),
    (dict(logit_bias={5: float("nan")}), "not a number that is added"),
    (dict(logit_bias={5: "x"}), "not a number that is added"),
    (dict(logit_bias={10 ** 6: 1.}), "neither a text nor the id"),
    (dict(logit_bias={"cat": 1.}), "without a tokenizer"),
    (dict(logits_processor=3), "logits_processor is a function"),
    (dict(logits_processor=lambda t, n, x: x[:, :3]), "returns .R, V. logits"),
    (dict(repetition_penalty=1.2, sampler="beam(2)"), "repetition_penalty is for 'greedy'"),
])
def test_what_is_refused(text_only, options, words):
  with pytest.raises(ValueError, match=words):
    tokens(text_only, **options)


def test_a_bias_that_leaves_nothing_or_is_of_several_tokens(vlm, image):
  everything = dict.fromkeys(range(vlm.config.llm.vocab_size), float("-inf"))
  with pytest.raises(ValueError, match="leaves no token"):
    vlm.generate("ocr", image, logit_bias=everything)
  with pytest.raises(ValueError, match="tokens .* and not one"):
    vlm.generate("ocr", image, logit_bias={"<loc0001><loc0002>": 1.})
  token, = vlm.tokenizer.to_int("<loc0001>")
  with pytest.raises(ValueError, match=f"has '<loc0001>' and {token}, which are the same token"):
    vlm.generate("ocr", image, logit_bias={"<loc0001>": 1., token: 2.})


def test_a_grammar_wins_over_a_bias_that_leaves_nothing(vlm, image):
  banned = dict.fromkeys(range(3, vlm.config.llm.vocab_size), float("-inf"))
  for grammar in ({"regex": "[0-9]{2}"}, {"json_schema": {"type": "integer"}}):
    answer, = vlm.generate("ocr", image, grammar=grammar, logit_bias=banned, max_new_tokens=8)
    assert isinstance(json.loads(answer.text.lstrip("0") or "0"), int)


def test_a_function_that_gives_nan_is_an_error(text_only):
  with pytest.raises(ValueError, match="a logits_processor made them so"):
    tokens(text_only, logits_processor=lambda tokens, length, logits: logits * jnp.nan)


def test_a_bias_names_the_end_by_its_piece():
  tokenizer = get_tokenizer(
      f"sp('{pathlib.Path(logit_rules.__file__).parents[1]}/digits/tokenizer.model')")
  assert logit_rules._token("<eos>", tokenizer, 480) == tokenizer.eos_token
