import pathlib
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from big_vlm.decode import detections
from big_vlm.families import vqvae
from pp import locations, mask_codes
from pp.tokenizer import get_tokenizer

GOLDEN = pathlib.Path(__file__).parents[2] / "tests/golden"
SIZE = (480, 640)
CAT, DOG = "<loc0000><loc0128><loc0512><loc1023>", "<loc0100><loc0200><loc0300><loc0400>"
CAT_PIXELS = (0., 128 / 1023 * 640, 512 / 1023 * 480, 640.)
SEG16 = "".join(f"<seg{i:03d}>" for i in range(16))


@pytest.fixture(scope="module", params=["quickstart", "hf gemma", "hf opt"])
def tok(request, tokenizer):
  return get_tokenizer({
      "quickstart": tokenizer,
      "hf gemma": f"hf(file='{GOLDEN}/tokenizers/gemma/tokenizer.json', tokensets=('loc', 'seg'))",
      "hf opt": f"hf(file='{GOLDEN}/tokenizers/opt/tokenizer.json', tokensets=('loc', 'seg'))"}[
          request.param])


@pytest.fixture(scope="module")
def params():
  """The golden VQ-VAE, which is all background, with its output lifted: about half is object."""
  with np.load(GOLDEN / "vqvae.npz") as file:
    params = {k.removeprefix("params/"): file[k] for k in file.files if k.startswith("params/")}
    return {**params, "decoder.12.bias": params["decoder.12.bias"] - np.median(file["decoded"])}


def generation(tok, *parts, eos=True):
  """A Generation of (text, probability of each of its tokens) pairs, tokenized one by one."""
  tokens, logprobs = [], []
  for text, probability in parts:
    ids = tok.to_int(text) if isinstance(text, str) else text
    tokens += ids
    logprobs += [np.log(probability)] * len(ids)
  return types.SimpleNamespace(
      tokens=tokens + [tok.eos_token] * eos, logprobs=logprobs + [np.log(0.01)] * eos,
      text=tok.to_str(tokens))


def test_boxes_in_pixels_and_probabilities(tok):
  cat, dog = len(tok.to_int(" cat")), len(tok.to_int(" dog"))
  answer = generation(tok, (CAT, 0.9), (" cat", 0.8), (" ; ", 0.1), (DOG, 0.7), (" dog", 0.6))
  a, b = detections.from_generation(answer, tok, SIZE)
  assert (a.label, b.label) == ("cat", "dog") and a.mask is None
  np.testing.assert_allclose(a.box, CAT_PIXELS)
  np.testing.assert_allclose((a.box_score, a.label_score, a.score),
                             (0.9**4, 0.8**cat, 0.9**4 * 0.8**cat))
  np.testing.assert_allclose((b.box_score, b.label_score, b.score),
                             (0.7**4, 0.6**dog, 0.7**4 * 0.6**dog))


def test_what_is_malformed_is_skipped_and_shifts_no_score(tok):
  answer = generation(tok, ("no box", 0.1), (";", 0.1), (CAT + "<loc0001>", 0.2), (" five", 0.2),
                      (" ;; ", 0.1), (DOG, 0.5), (" dog", 0.9), (" ; ", 0.1), (CAT[:20], 0.3),
                      eos=False)
  found, = detections.from_generation(answer, tok, SIZE)
  assert found.label == "dog" and found.box_score == pytest.approx(0.5**4)


def test_no_label_and_mask_codes(tok):
  answer = generation(tok, (DOG, 0.9), (" ; ", 0.1), (CAT, 0.8), (SEG16, 0.3), (" cat", 0.7))
  bare, coded = detections.from_generation(answer, tok, SIZE)
  assert bare.label == "" and bare.label_score is None
  assert bare.score == bare.box_score == pytest.approx(0.9**4)
  assert coded.score == pytest.approx(0.8**4 * 0.7**len(tok.to_int(" cat")))


def test_nothing_and_the_text_beyond_the_end(tok):
  assert detections.from_generation(generation(tok), tok, SIZE) == []
  beyond = generation(tok, (CAT + " cat", 0.5), ([tok.eos_token], 0.5), (f" ; {DOG} dog", 0.5))
  assert [f.label for f in detections.from_generation(beyond, tok, SIZE)] == ["cat"]


def test_ids_beyond_the_vocabulary(tok):
  answer = generation(tok, (CAT + " cat", 0.5), ([tok.vocab_size + 3], 0.5))
  assert [f.label for f in detections.from_generation(answer, tok, SIZE)] == ["cat"]


def test_text_alone_has_no_scores():
  answer = types.SimpleNamespace(text=f"{CAT} cat ; {DOG}", tokens=[], logprobs=[])
  cat, bare = detections.from_generation(answer, None, SIZE)
  np.testing.assert_allclose(cat.box, CAT_PIXELS)
  assert cat == detections.Detection(cat.box, "cat", None, None, None, None) and bare.label == ""


FOUR = [CAT[i:i + 9] for i in (0, 9, 18, 27)]


class Words:
  """A tokenizer of any pieces: ids are indices into `pieces`."""
  eos_token = -1

  def __init__(self, *pieces):
    self.pieces = pieces

  def to_str(self, ids):
    return "".join(self.pieces[i] for i in ids)


@pytest.mark.parametrize("pieces, labels, label_tokens", [
    ([*FOUR, " cat; ", *FOUR, " dog ;"], ["cat", "dog"], [1, 1]),
    ([*FOUR, " c", "at;;", " ; x", *FOUR, " dog"], ["cat"], [2]),  # "x" spoils the second
    ([*FOUR, " cat", " ", "\n"], ["cat"], [1]),
])
def test_pieces_that_hold_a_separator(pieces, labels, label_tokens):
  tok = Words(*pieces)
  answer = types.SimpleNamespace(tokens=[*range(len(pieces))], logprobs=[np.log(0.5)] * len(pieces))
  found = detections.from_generation(answer, tok, SIZE)
  assert [f.label for f in found] == labels
  np.testing.assert_allclose([f.label_score for f in found], 0.5**np.array(label_tokens))
  np.testing.assert_allclose([f.box_score for f in found], 0.5**4)


def test_locations_written_in_characters_have_no_scores():
  answer = types.SimpleNamespace(tokens=[0, 1, 2, 3], logprobs=[-1.] * 4)
  found, = detections.from_generation(answer, Words("<loc00", CAT[6:], " ", "cat"), SIZE)
  assert found.label == "cat" and found.score is found.box_score is found.label_score is None


PART = st.sampled_from([CAT, DOG, SEG16, "<loc0001>", "<seg001>", ";", " ; ", " cat", " a b", "\n"])


@settings(deadline=None)
@given(st.lists(PART, max_size=12))
def test_the_same_objects_as_the_text_has(tok, parts):
  answer = generation(tok, *((text, 0.5) for text in parts))
  found = detections.from_generation(answer, tok, SIZE)
  assert [(f.box, f.label) for f in found] == [
      (tuple(c * s for c, s in zip(o.box, SIZE * 2)), o.label)
      for o in locations.parse_objects(answer.text)]
  assert all(0 < f.box_score <= 1 and 0 < f.score <= f.box_score for f in found)


def test_masks_of_an_answer(tok, params):
  codes = np.random.default_rng(0).integers(0, 32, (11, 16))  # the golden codebook has 32 rows
  seg = lambda row: "".join(f"<seg{i:03d}>" for i in row)
  text = " ; ".join([*(f"{DOG}{seg(row)} x" for row in codes[:5]), f"{CAT} y",
                     *(f"{DOG}{seg(row)} x" for row in codes[5:])])
  found = detections.from_generation(generation(tok, (text, 0.5)), tok, (100, 140), params)
  assert [f.mask is None for f in found] == [i == 5 for i in range(12)]
  decoded = np.asarray(vqvae.decode(params, np.concatenate([codes, codes[:5]])))[:11, ..., 0]
  assert 0.02 < (decoded > 0).mean() < 0.98
  for f, mask in zip([*found[:5], *found[6:]], decoded):
    want = mask_codes.paste(mask, np.array([100, 200, 300, 400]) / 1023, (100, 140))
    assert (f.mask == want).mean() > 0.999
