"""Error rates of music: the Sheet Music Transformer's numbers, what is a symbol, bad input."""
import json
import pathlib
import time

import pytest

from evaluators.metrics import bootstrap, sequence

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden/sequence.json").read_text())["cases"]
KERN = "*clefG2\t*clefF4\n4c\t4CC 4E\n=\t="


def test_equals_the_sheet_music_transformers_code():
  assert len(GOLDEN) >= 50
  for said, right, *rates in GOLDEN:
    got = sequence.error_rates(said, right)
    assert list(got.values()) == pytest.approx(rates, abs=1e-9)
    assert list(got) == ["cer", "ser", "ler"]


def test_the_golden_corpora_are_neither_perfect_nor_hopeless():
  cers = [case[2] for case in GOLDEN]
  assert sum(0 < cer < 50 for cer in cers) > 30 and max(cers) > 50 and min(cers) == 0


@pytest.mark.parametrize("prediction, cer, ser, ler", [
    (KERN, 0, 0, 0),
    (KERN.replace("\t4CC", " 4CC"), 1, 1, 1),  # a tab is a symbol, a space is none
    (KERN.replace("4c", "8c"), 1, 1, 1),
    (KERN + "\n", 1, 2, 1),                    # newline and the empty symbol after it
    ("", len(KERN), 12, 3),                    # an empty text is one empty symbol, one empty line
])
def test_what_counts(prediction, cer, ser, ler):
  got = sequence.sequence_errors(prediction, KERN)
  lengths = {"cer": len(KERN), "ser": 12, "ler": 3}
  assert got == {"cer": (cer, lengths["cer"]), "ser": (ser, lengths["ser"]),
                 "ler": (ler, lengths["ler"])}


def test_only_newlines_end_lines():
  assert sequence.sequence_errors("4c\u20284d", "4c\n4d")["ler"] == (2, 2)


def test_rates_are_of_the_corpus_not_means_of_texts():
  got = sequence.error_rates(["a", "bbbbbbbbb"], ["x", "bbbbbbbbb"])
  assert got["cer"] == pytest.approx(100 * 1 / 10)  # the mean of the two would be 50
  assert sequence.error_rates(["aaaa"], ["b"])["cer"] == 400


def test_an_interval_of_a_rate():
  errors = [sequence.sequence_errors(p, "4c 4d") for p in ("4c 4d", "4c 4e", "4c")]
  distances, lengths = zip(*(e["ser"] for e in errors))
  figure, low, high = bootstrap.interval(distances, weights=lengths)
  assert figure == pytest.approx(2 / 6) and low < figure < high


def test_a_long_score_is_quick():
  start = time.process_time()
  sequence.error_rates([(KERN + "\n") * 150], [(KERN + "\n=\n") * 150])
  assert time.process_time() - start < 2


@pytest.mark.parametrize("predictions, targets, error, match", [
    ([], [], ValueError, "the set is empty"),
    (["a"], ["a", "b"], ValueError, "1 predictions, 2 targets"),
    (["a"], [""], ValueError, "no text in the 1 given"),
    ([["4c"]], ["4c"], TypeError, "prediction is .'4c'.*Join its tokens"),
    (["4c"], [None], TypeError, "target is None"),
])
def test_bad_input(predictions, targets, error, match):
  with pytest.raises(error, match=match):
    sequence.error_rates(predictions, targets)
