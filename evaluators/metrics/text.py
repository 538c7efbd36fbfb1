"""Metrics of one text against one or several: equality, edit distance (ANLS), numbers (ChartQA)."""
import re

from evaluators.metrics.edit import edit_distance


def exact_match(prediction, target):
  """1.0 if the two strings are equal, else 0.0: GQA, xGQA, AI2D, OCR-VQA, video QA, NLVR2, VSR.

  The strings are compared as they are: no lower-casing, no stripping, no Unicode
  normalisation. A task that ignores case (OCR-VQA, RSVQA) lower-cases both sides before.

  Args:
    prediction: str, the decoded answer.
    target: str, the reference.

  Raises:
    TypeError: where either is not a string: 2 == "2" is False, and nobody would see why.
  """
  for name, value in (("prediction", prediction), ("target", target)):
    if not isinstance(value, str):
      raise TypeError(f"exact_match compares strings, but {name} is {value!r} "
                      f"({type(value).__name__}). Decode or str() it first.")
  return float(prediction == target)


def exact_match_ignoring_case(prediction, target):
  """`exact_match` of the lower-case strings; space at the ends still counts."""
  exact_match(prediction, target)  # for its errors
  return float(prediction.lower() == target.lower())


def check_answers(prediction, answers):
  """The answers as a list of strings.

  Raises:
    TypeError: where `answers` is one string, which would be read letter by letter, or where the
      prediction or an answer is not a string.
    ValueError: where `answers` is empty.
  """
  if isinstance(answers, str):
    raise TypeError(f"answers is the string {answers!r}; give a list of strings, one per "
                    "annotator, even for a single answer.")
  answers = list(answers)
  if not answers:
    raise ValueError(f"No answers to compare {prediction!r} with. Leave unlabelled questions "
                     "out of the mean: they have no score.")
  for value in (prediction, *answers):
    if not isinstance(value, str):
      raise TypeError(f"Answers are compared as strings, but one is {value!r} "
                      f"({type(value).__name__}). Decode or str() it first.")
  return answers


def anls(prediction, answers, threshold=0.5):
  """Average normalised Levenshtein similarity of one question: DocVQA, InfoVQA, ST-VQA.

  The best, over the answers, of 1 - NL where NL < threshold, else 0; NL is the edit distance of the
  lower-case strings over the length of the longer one. An empty answer scores 1 against an empty
  prediction only. Spaces count. Source: Biten et al. 2019 (arXiv 1905.13648), equation 1, and
  big_vision. `anls_server` differs at exactly .5 and in spaces.

  Args:
    prediction: str.
    answers: list of str, any one of which is right.
    threshold: NL from which an answer counts as wrong.

  Returns:
    float in [0, 1].

  Raises: as `check_answers`.
  """
  answers = [answer.lower() for answer in check_answers(prediction, answers)]
  prediction = prediction.lower()
  distances = [edit_distance(prediction, answer) / (max(len(prediction), len(answer)) or 1)
               for answer in answers]
  return 1.0 - min(distances) if min(distances) < threshold else 0.0


def anls_server(prediction, answers, threshold=0.5):
  """ANLS as the script of the DocVQA challenge computes it; 0..1.

  Both sides are lower-cased and runs of whitespace become one space, none at the ends, before the
  edit distance, but it is divided by the length of the original strings. A similarity
  of exactly `threshold` counts: "ab" against "ad" scores .5 here and 0 in `anls`. Two empty strings
  score 1. Source: infographicvqa_eval.py of rrc.cvc.uab.es. Arguments and errors as in `anls`.
  """
  def similarity(answer):
    distance = edit_distance(_one_space(answer), _one_space(prediction))
    return 1 - distance / (max(len(answer), len(prediction)) or 1)
  best = max(similarity(a) for a in check_answers(prediction, answers))
  return float(best) if best >= threshold else 0.0


def _one_space(text):
  return " ".join(text.lower().split())


def relaxed_accuracy(prediction, target, tolerance=0.05):
  """1.0 if a number within 5 % of the target, or if the same text ignoring case: ChartQA.

  "x%" is read as x / 100. Where both are numbers and the target is not 0, |p - t| / |t| must be at
  most `tolerance`; else the lower-case strings must be equal. So, by this rule:
    "12%" is not 12, "1,000" and "$5" are not numbers (correct only if spelled alike),
    "0.0" is not "0", and 2019 is right for 2000: within 1 %.
  The functions below name each of these otherwise. Source: ChartQA (arXiv 2203.10244), section 5.1,
  as pix2struct and big_vision (lower-casing both sides) compute it. "nan" and "inf" parse as
  numbers there, and are never near one, themselves included.

  Args:
    prediction, target: str.
    tolerance: the largest relative error.

  Returns:
    0.0 or 1.0.

  Raises:
    TypeError: where either is not a string.
  """
  exact_match(prediction, target)  # for its errors
  return _relaxed(prediction.lower(), target.lower(), _fraction, tolerance)


def relaxed_accuracy_without_units(prediction, target, tolerance=0.05):
  """`relaxed_accuracy` of the texts without %, $ and the commas of thousands.

  12% is 12 (and not 0.12), "$1,000" is 1000. Several public scripts count so; not comparable.
  """
  exact_match(prediction, target)
  bare = lambda text: re.sub(r"(?<=\d),(?=\d{3}(?!\d))|[%$]", "", text.lower()).strip()
  return _relaxed(bare(prediction), bare(target), _number, tolerance)


def relaxed_accuracy_exact_years(prediction, target, tolerance=0.05):
  """`relaxed_accuracy`, but a target that reads as a year (1900 to 2099) must be met exactly.

  This separates a right year from a near one, but also affects counts of 1900 to 2099.
  """
  exact = exact_match(prediction, target)
  if re.fullmatch(r"(19|20)[0-9]{2}", target):
    return exact
  return relaxed_accuracy(prediction, target, tolerance)


def _relaxed(prediction, target, number, tolerance):
  ours, reference = number(prediction), number(target)
  if ours is None or not reference:
    return float(prediction == target)
  return float(abs(ours - reference) / abs(reference) <= tolerance)


def _fraction(text):
  if text.endswith("%"):
    number = _number(text.rstrip("%"))
    return None if number is None else number / 100
  return _number(text)


def _number(text):
  try:
    return float(text)
  except ValueError:
    return None
