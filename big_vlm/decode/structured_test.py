import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from big_vlm.decode import automaton, structured
from big_vlm.decode.session import GenerationConfig
from pp.token_bytes import token_bytes
from pp.tokenizer import get_tokenizer

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}, "n": {"type": "integer"},
                                           "boxes": {"type": "array", "items": {"type": "number"}}},
          "required": ["label", "n"]}
HOT = dict(sampler="temperature(9.)")  # nearly any token


@pytest.fixture(scope="module")
def tok(tokenizer):
  return get_tokenizer(tokenizer)


def rules_of(grammar, tok):
  return structured.compile(structured.normalized(grammar), tok, tok.eos_token, tok.vocab_size)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), more=st.integers(0, 60), grammar=st.sampled_from([
    "json", {"json_schema": SCHEMA}, {"regex": "(ab|[0-9]{2,}é)+x?"}, {"regex": r"\d+-.*z"}]))
def test_whatever_is_drawn_an_answer_ends_and_parses(tok, seed, more, grammar):
  rules, rng = rules_of(grammar, tok), np.random.default_rng(seed)
  limit, tokens = rules.least + more, []
  row = structured.Matcher(rules, limit)
  while not tokens or tokens[-1] != tok.eos_token:
    allowed = np.flatnonzero(np.unpackbits(row.mask().view(np.uint8), bitorder="little"))
    tokens.append(int(rng.choice(allowed)))
    row.take(tokens[-1:])
  assert len(tokens) <= limit
  text = tok.to_str(tokens)
  if grammar == "json" or "json_schema" in grammar:
    value = json.loads(text)
    assert grammar == "json" or {"label", "n"} <= set(value) <= {"label", "n", "boxes"}
  else:
    assert re.fullmatch(grammar["regex"], text, re.ASCII)


def test_masks_allow_exactly_the_tokens_that_fit(tok):
  rules, table = rules_of({"regex": "a[0-9é]*b"}, tok), token_bytes(tok)
  row = structured.Matcher(rules, 50)
  row.take(tok.to_int("a1"))
  bits = np.unpackbits(row.mask().view(np.uint8), bitorder="little")[:tok.vocab_size]
  over_bytes = automaton.build(automaton.regex("a[0-9é]*b"))
  starts = lambda data: any(over_bytes.matches(b"a1" + data + end)
                            for end in (b"", b"b", b"\xa9b"))
  wanted = [i for i, data in enumerate(table) if data and starts(data)]
  assert np.flatnonzero(bits).tolist() == wanted


def test_generate(vlm, image):
  for limit in (40, 60):
    found = vlm.generate(["ocr", "caption en"], image, grammar={"json_schema": SCHEMA}, **HOT,
                         num_samples=2, max_new_tokens=limit, seed=limit)
    assert len(found) == 4 and all(g.finish_reason == "eos" for g in found)
    for g in found:
      assert {"label", "n"} <= set(json.loads(g.text)) and len(g.tokens) <= limit
  greedy, = vlm.generate("ocr", image, grammar={"regex": "[a-z]{3}"}, max_new_tokens=16)
  assert re.fullmatch("[a-z]{3}", greedy.text)
  pieces = "".join(vlm.stream("ocr", image, grammar={"regex": "[a-z]{3}"}, max_new_tokens=16))
  assert pieces == greedy.text


def test_an_answer_does_not_depend_on_the_batch(vlm, image):
  ask = dict(grammar={"regex": "[a-z ]{5,}"}, max_new_tokens=16, sampler="temperature(2.)", seed=1)
  together = vlm.generate(["ocr", "caption en", "ocr 2"], image, **ask)
  assert [g.tokens for g in together[1:2]] == [vlm.generate("caption en", image, **ask)[0].tokens]


def test_choices(vlm, image):
  texts = ["yes", "no", "not at all"]
  found, = vlm.generate("ocr", image, grammar=texts)
  totals, _ = vlm.score("ocr", texts, image)
  wanted = np.exp(totals - np.logaddexp.reduce(totals))
  assert list(found.choices) == texts and sum(found.choices.values()) == pytest.approx(1)
  np.testing.assert_allclose(list(found.choices.values()), wanted, rtol=1e-4)
  assert found.text == texts[int(np.argmax(totals))] and found.finish_reason == "eos"
  assert found.tokens == vlm.tokenizer.to_int(found.text, eos=True)
  drawn = vlm.generate(["ocr", "caption en"], image, grammar={"choices": texts}, num_samples=20,
                       sampler="temperature(99.)")
  assert len(drawn) == 40 and {g.text for g in drawn} == set(texts)
  alone = vlm.generate("caption en", image, grammar=texts, num_samples=20,
                       sampler="temperature(99.)")
  assert [g.text for g in alone] == [g.text for g in drawn[20:]]


def test_choices_do_not_stream(vlm, image):
  with pytest.raises(ValueError, match="use generate"):
    next(vlm.stream("ocr", image, grammar=["yes", "no"]))


@pytest.mark.parametrize("grammar, names", [
    ("jsn", "Did you mean 'json'"), ({"regexp": "a"}, "Did you mean 'regex'"),
    ({}, "one of json_schema"),
    ({"regex": 3}, "is a string"), ([], "1 to 256"), (["a", "a"], "'a' comes twice"),
    ([""], "empty"),
    ({"choices": "yes"}, "list"), (3, "not understood")])
def test_grammars_that_are_none(grammar, names):
  with pytest.raises(ValueError, match=names):
    GenerationConfig(grammar=grammar)


@pytest.mark.parametrize("ask, names", [
    (dict(sampler="beam(2)"), "several tokens"), (dict(stop=()), "'eos' among the stops"),
    (dict(max_new_tokens=3), "shortest answer of the grammar has .* prompt 0 has room for 3"),
    (dict(grammar=["a"], stop=("eos", "b")), "stop"),
    (dict(grammar=["a"], max_new_tokens=1), "longest"),
    (dict(grammar=["a"], sampler="best_of(2)"), "weighed whole")])
def test_what_does_not_go_together(vlm, image, ask, names):
  with pytest.raises(ValueError, match=names):
    vlm.generate("ocr", image, **{"grammar": {"json_schema": SCHEMA}, **ask})


def test_grammars_that_nest_too_deep(tok):
  deep = {"type": "null"}
  for _ in range(3000):
    deep = {"type": "array", "items": deep}
  for grammar in ({"json_schema": deep}, {"regex": "(" * 3000 + "a" + ")" * 3000}):
    with pytest.raises(ValueError, match="deep|recursion"):
      rules_of(grammar, tok)


def test_it_is_compiled_once(tok):
  assert rules_of({"json_schema": SCHEMA}, tok) is rules_of({"json_schema": dict(SCHEMA)}, tok)


def test_a_vocabulary_without_the_letters(tok):
  rare = {"regex": "\U0001f600"}
  assert rules_of(rare, tok).least == 5  # four bytes and the eos
