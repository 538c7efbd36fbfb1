"""Sentences that are true or false of images: NLVR2, MaRVL, VSR."""
from evaluators.metrics import groups, ids, text


def nlvr2_sentence(identifier):
  """"test1-0--1" of "test1-0-3-1": what the examples of one sentence have in common.

  An identifier is SPLIT-SET-PAIR-SENTENCE: each sentence stands with several pairs of images.

  Raises:
    ValueError: where it is not of that form.
  """
  parts = identifier.split("-")
  if len(parts) != 4:
    raise ValueError(f"{identifier!r} is not an identifier of NLVR2, such as 'test1-0-3-1'.")
  return f"{parts[0]}-{parts[1]}--{parts[3]}"


def true_false(predictions, targets, sentences=None):
  """Accuracy of "True" and "False"; fractions in 0..1.

    accuracy                character for character: what PaliGemma reports (big_vision)
    accuracy_ignoring_case  as NLVR2's script compares
    consistency             with `sentences`: the fraction of sentences correct, ignoring case, with
                            all of their images (NLVR2's second metric)

  MaRVL's score is the mean of its five languages' accuracies, not of all questions. Say which
  split of VSR (random, zero-shot) and which test file of NLVR2 (test-P is test1) a number is of.
  Source: lil-lab/nlvr, nlvr2/eval/metrics.py.

  Args:
    predictions, targets: lists of str, as long as each other.
    sentences: list of hashables, such as `nlvr2_sentence` of each identifier.

  Raises:
    ValueError: where the lists are empty or differ in length.
  """
  pairs = ids.rows(predictions=predictions, targets=targets)
  loose = [text.exact_match_ignoring_case(*pair) for pair in pairs]
  metrics = {"accuracy": groups.mean(text.exact_match(*pair) for pair in pairs),
             "accuracy_ignoring_case": groups.mean(loose)}
  if sentences is not None:
    metrics["consistency"] = groups.all_correct(loose, sentences)
  return metrics
