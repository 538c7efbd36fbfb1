import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from big_vlm.decode import grammar
from pp import locations
from pp.tokenizer import get_tokenizer

GOLDEN = pathlib.Path(__file__).parents[2] / "tests/golden/tokenizers"
LOC4 = "<loc0003><loc0005><loc0700><loc1023>"
SEG16 = "<seg007><seg127>" * 8
LABEL = st.one_of(
    st.sampled_from(["3", "7", "cat", "cat dog", "ca", "a", "zwei große Hunde", "猫🐱", "x" * 40]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters=";▁"), max_size=8).filter(
        str.strip))


@pytest.fixture(scope="module", params=["quickstart", "sp gemma", "hf gemma", "hf opt"])
def tok(request, tokenizer):
  sets = "tokensets=('loc', 'seg'))"
  return get_tokenizer({  # Gemma's here has 16 <loc> and 8 <seg> baked in and the rest elsewhere
      "quickstart": tokenizer,
      "sp gemma": f"sp(model='{GOLDEN}/gemma/tokenizer.model', {sets}",
      "hf gemma": f"hf(file='{GOLDEN}/gemma/tokenizer.json', {sets}",
      "hf opt": f"hf(file='{GOLDEN}/opt/tokenizer.json', {sets}"}[request.param])


@pytest.fixture(scope="module")
def small(tokenizer):
  return get_tokenizer(tokenizer)


def accepts(rules, row, ids, vocab_size):
  """Whether one row's automaton lets all these tokens pass, one after the other."""
  one = grammar.Grammar(rules.edges[row:row + 1])
  state = jnp.zeros(1, jnp.int32)
  for i in ids:
    if not _allowed(one, state, vocab_size)[0, i]:
      return False
    state = _step(one, state, jnp.array([i]))
  return True


_allowed = jax.jit(grammar.Grammar.allowed, static_argnums=2)
_step = jax.jit(grammar.Grammar.step)


@jax.jit
def sample(rules, logits):
  """logits [N, B, V] -> the best allowed tokens [N, B]."""
  def one(state, logits):
    allowed = rules.allowed(state, logits.shape[-1])
    token = jnp.argmax(jnp.where(allowed, logits, -jnp.inf), axis=-1).astype(jnp.int32)
    return rules.step(state, token), token
  return jax.lax.scan(one, jnp.zeros(logits.shape[1], jnp.int32), logits)[1]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["detect", "segment"]),
       labels=st.lists(LABEL, min_size=1, max_size=4))
@example(seed=0, kind="detect", labels=["cat", "cat dog", "ca"])  # one begins as another does
@example(seed=0, kind="segment", labels=["3 ", "3", "<loc", "<seg"])
@example(seed=0, kind="detect", labels=list("bcdefghijklmnop"))  # a state of many edges
def test_whatever_the_logits_an_answer_can_be_read_whole(tok, seed, kind, labels):
  labels = [label.strip() for label in labels]
  rules = grammar.compile(kind, [f"{kind} {' ; '.join(labels)}\n"] * 4, tok, tok.eos_token)
  logits = np.random.default_rng(seed).normal(size=(160, 4, tok.vocab_size)).astype(np.float32)
  logits[:, :, tok.eos_token] += 2  # else some do not end
  logits[0, :, tok.eos_token] = -9
  for tokens in np.array(sample(rules, logits)).T:
    if tok.eos_token not in tokens:
      continue
    text = tok.to_str(tokens)
    objects = locations.parse_objects(text)
    assert len(objects) == text.count(";") + 1
    assert {o.label for o in objects} <= set(labels)
    assert all((o.seg is not None) == (kind == "segment") for o in objects)
    assert (tokens[list(tokens).index(tok.eos_token):] == tok.eos_token).all()


def test_what_training_writes_passes(tok):
  boxes = np.array([[0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]])
  rules = grammar.compile("auto", ["detect cat ; brown dog", " Segment cat;brown dog ; cat\n"],
                          tok, tok.eos_token)
  detected = locations.format_objects(boxes, ["brown dog", "cat", "cat"])
  segmented = detected.replace("> ", f">{SEG16} ")
  ids = lambda text: tok.to_int(text, eos=True)
  assert accepts(rules, 0, ids(detected), tok.vocab_size)
  assert accepts(rules, 1, ids(segmented), tok.vocab_size)
  assert not accepts(rules, 0, ids(segmented), tok.vocab_size)
  assert not accepts(rules, 1, ids(detected), tok.vocab_size)


@pytest.mark.parametrize("answer, passes", [
    ("", True),
    (f"{LOC4} cat", True),
    (f"{LOC4} dog ; {LOC4} cat ; {LOC4} cat", True),
    (f"{LOC4}", False),
    (f"{LOC4} ca", False),
    (f"{LOC4} cats", False),
    (f"{LOC4} Cat", False),
    (f"{LOC4} bird", False),
    (f"{LOC4} cat ;", False),
    (f"{LOC4} cat {LOC4} dog", False),
    (f"{LOC4} cat ; dog", False),
    (f"{LOC4}<loc0000> cat", False),
    ("<loc0003><loc0005><loc0700> cat", False),
    (f"{LOC4}{SEG16} cat", False),
    ("cat", False),
])
def test_detect(tok, answer, passes):
  rules = grammar.compile("detect", ["detect cat ; dog"], tok, tok.eos_token)
  assert accepts(rules, 0, tok.to_int(answer, eos=True), tok.vocab_size) == passes


@pytest.mark.parametrize("answer, passes", [
    ("", True),
    (f"{LOC4}{SEG16} cat", True),
    (f"{LOC4}{SEG16} cat ; {LOC4}{SEG16} cat", True),
    (f"{LOC4} cat", False),
    (f"{LOC4}{SEG16[:-8]} cat", False),
    (f"{LOC4}{SEG16}<seg000> cat", False),
    (f"{SEG16} cat", False),
])
def test_segment(tok, answer, passes):
  rules = grammar.compile("segment", ["SEGMENT cat"], tok, tok.eos_token)
  assert accepts(rules, 0, tok.to_int(answer, eos=True), tok.vocab_size) == passes


@pytest.mark.parametrize("eos", [None, -1])
def test_without_an_end_object_follows_object(small, eos):
  rules = grammar.compile("detect", ["detect cat"], small, eos)
  logits = np.zeros((80, 1, small.vocab_size), np.float32)
  logits[..., small.eos_token] = 9
  text = small.to_str(np.array(sample(rules, logits))[:, 0])
  objects = locations.parse_objects(text[:text.rindex(";")])
  assert len(objects) == text.count(";") > 5 and {o.label for o in objects} == {"cat"}


@pytest.mark.parametrize("prompt", ["caption en", "", "detect", "detect ; ", "detection of cat",
                                    "what does segment mean?", "segment <loc0001><loc0002>"])
def test_auto_leaves_other_prompts_free(small, prompt):
  rules = grammar.compile("auto", [prompt, "detect cat"], small, small.eos_token)
  assert _allowed(rules, jnp.zeros(2, jnp.int32), 5000).sum(axis=1).tolist() == [5000, 1025]
  assert _step(rules, jnp.zeros(2, jnp.int32), jnp.array([17, 17])).tolist() == [0, 0]


def test_after_the_end_only_the_end_and_padding_changes_nothing(small):
  rules = grammar.compile("detect", ["detect cat"], small, small.eos_token)
  ended = _step(rules, jnp.zeros(1, jnp.int32), jnp.array([small.eos_token]))
  assert np.flatnonzero(_allowed(rules, ended, small.vocab_size)).tolist() == [small.eos_token]
  assert _step(rules, ended, jnp.array([small.pad_token])) == ended


def test_few_shapes(small):
  shape = lambda *prompts: grammar.compile("auto", prompts, small, small.eos_token).edges.shape
  assert shape("caption en") == shape("detect cat ; 3") == shape("segment 3") == (1, 32, 8, 3)
  many = " ; ".join(f"{a}{b}" for a in "abcdefghij" for b in "xyz")
  assert shape("caption en", f"detect {many}") == (2, 128, 8, 3)
  assert shape("detect " + ";".join("bcdefghijklmnop")) == (1, 64, 16, 3)
  assert shape() == (0, 32, 8, 3)


@pytest.mark.parametrize("kind, prompt, complaint", [
    ("detekt", "detect cat", "Unknown grammar 'detekt'. Did you mean 'detect'"),
    ("detect", "detect", "'detect cat ; dog', which name .* not 'detect'.*'auto' leaves it free"),
    ("detect", "detect ; ;\n", "'detect cat ; dog'"),
    ("detect", "segment cat", "not 'segment cat'"),
    ("segment", "cat", "'segment cat ; dog'"),
    ("segment", "", "not ''"),
    ("detect", "detect cat ; <loc0001>", "label '<loc0001>' .* holds a location"),
    ("segment", "segment <seg000> x", "holds a location"),
    ("segment", "segment cat ; <loc00001>", "label '<loc00001>' .* holds a location"),
])
def test_errors(small, kind, prompt, complaint):
  with pytest.raises(ValueError, match=complaint):
    grammar.compile(kind, [prompt], small, small.eos_token)


def test_a_tokenizer_without_locations(tokenizer):
  loc = tokenizer.replace("('loc', 'seg')", "('loc',)")
  bare = get_tokenizer(tokenizer.replace("('loc', 'seg')", "()"))
  with pytest.raises(ValueError, match="does not know <loc0000>, <loc1023>: .* tokensets"):
    grammar.compile("detect", ["detect cat"], bare, 1)
  with pytest.raises(ValueError, match="does not know <seg000>, <seg127>: .* tokensets"):
    grammar.compile("segment", ["segment cat"], get_tokenizer(loc), 1)
  assert grammar.compile("detect", ["detect cat"], get_tokenizer(loc), 1).edges.size
  assert grammar.compile("auto", ["caption en"], bare, 1).edges.size


def no_repeats(tokens, n):
  """The tokens that would complete an n-gram that `tokens` holds."""
  grams = {tuple(tokens[i:i + n]) for i in range(len(tokens) - n + 1)}
  newest = tuple(tokens[len(tokens) - n + 1:])
  return {g[-1] for g in grams if g[:-1] == newest}


_repeats = jax.jit(grammar.repeated_ngrams, static_argnums=2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=10, max_size=10),
       st.lists(st.integers(0, 10), min_size=2, max_size=2), st.sampled_from([1, 2, 3, 5, 11]))
@example([1, 2, 1, 2, 1, 2, 1, 2, 1, 2], [3, 10], 3)
def test_repeats(tokens, lengths, n):
  rows = jnp.array([tokens, tokens[::-1]], jnp.int32)
  for length in (jnp.int32(lengths[0]), jnp.array(lengths, jnp.int32)):
    got = np.array(_repeats(rows, length, n))
    assert got.shape == rows.shape and got.dtype == np.int32
    for row, written, banned in zip(rows.tolist(), np.broadcast_to(length, 2), got):
      assert set(banned.tolist()) - {-1} == no_repeats(row[:written], n)


def test_repeats_of_nothing():
  with pytest.raises(ValueError, match="at least 1 token, not 0"):
    grammar.repeated_ngrams(jnp.zeros((1, 4), jnp.int32), 2, 0)
