"""Visual question answering: one prediction against several annotators' answers, or a count.

The same ten answers give different numbers by different rules; each rule has its name here:
  vqav2_accuracy    VQAv2 server: answers cleaned, one annotator left out at a time: .3 .6 .9 1
  textvqa_accuracy  mmf and most code for TextVQA: cleaned in another way, always
  vizwiz_accuracy   VizWiz's script: only the prediction is cleaned
  vqa_accuracy      min(n / 3, 1) of the strings as they are: .333 .667 1 1; A-OKVQA, and what
                    PaliGemma reports for OKVQA and on VizWiz's validation split
  any_match         equal to any of the answers: RSVQA
"""
from evaluators.metrics import vqa_text
from evaluators.metrics.text import check_answers


def vqav2_accuracy(prediction, answers):
  """Accuracy of one question by the rule of the VQAv2 server (and PaliGemma's TextVQA).

  The mean over the annotators of min(n / 3, 1), n the number of the OTHERS' answers equal to the
  prediction: with ten answers 1, 2, 3, 4 matches give .3, .6, .9, 1. Newlines and tabs become
  spaces and the ends are stripped always; `vqa_text.normalize` cleans both sides only where the
  answers are not all the same: a unanimous "Yes" makes "yes" wrong.

  Source: GT-Vision-Lab/VQA, vqaEval.py.

  Args:
    prediction: str.
    answers: list of str, one per annotator, repeats included: ten in VQAv2. With fewer than four
      the score cannot reach 1.

  Returns:
    float in [0, 1].

  Raises:
    TypeError, ValueError: as `text.check_answers`; ValueError also where there is one answer, and
      none is left when it is left out.
  """
  answers = [vqa_text.strip_space(a) for a in check_answers(prediction, answers)]
  prediction = vqa_text.strip_space(prediction)
  if len(set(answers)) > 1:
    answers = [vqa_text.normalize(a) for a in answers]
    prediction = vqa_text.normalize(prediction)
  return _leave_one_out(prediction, answers)


def textvqa_accuracy(prediction, answers):
  """TextVQA accuracy as mmf computes it: `vqav2_accuracy` with another cleaning, done always.

  Differs from `vqav2_accuracy`, which PaliGemma reports, for commas, question marks, "'s", and
  where all annotators agree. Source: facebookresearch/mmf, m4c_evaluators.py
  (TextVQAAccuracyEvaluator; also for VizWiz and OKVQA in lmms-eval).
  Arguments, scale and errors as in `vqav2_accuracy`.
  """
  answers = [vqa_text.normalize_textvqa(a) for a in check_answers(prediction, answers)]
  return _leave_one_out(vqa_text.normalize_textvqa(prediction), answers)


def vizwiz_accuracy(prediction, answers):
  """VizWiz-VQA accuracy by VizWiz's own script: the prediction is cleaned, the answers are not.

  Leaves one annotator out as `vqav2_accuracy`. An answer with a capital or a point in it is never
  met, as there. One difference: in the script's table most replacements have a typographic
  apostrophe (an accident of encoding), so "dont" never meets an annotator's "don't"; here it does.
  "unanswerable" is an answer like others.

  Source: VizWiz Python API, vqaEval.py. Whether the server still runs it is not published.
  Arguments, scale and errors as in `vqav2_accuracy`.
  """
  answers = check_answers(prediction, answers)
  return _leave_one_out(vqa_text.normalize(vqa_text.strip_space(prediction)), answers)


def _leave_one_out(prediction, answers):
  if len(answers) < 2:
    raise ValueError(f"This accuracy leaves one annotator out, but there is one answer, "
                     f"{answers[0]!r}. Use any_match or exact_match.")
  matches = sum(prediction == answer for answer in answers)
  others = len(answers) - matches  # those who did not say it leave all matches in
  return (matches * min(max(matches - 1, 0) / 3, 1) + others * min(matches / 3, 1)) / len(answers)


def vqa_accuracy(prediction, answers):
  """Soft accuracy min(n / 3, 1), n the number of answers equal to the prediction.

  The rule of A-OKVQA's direct answers, and of big_vision's OKVQA and VizWiz-VQA. Strings are
  compared as they are.

  The trap: with fewer than three answers the score cannot reach 1 (a right prediction
  scores 1/3 against a single answer), so a mean over such a set has a ceiling that does
  not show. Use `any_match` for those.

  Args:
    prediction: str.
    answers: list of str, one per annotator, repeats included (ten in OKVQA).

  Returns:
    float in [0, 1].

  Raises:
    TypeError, ValueError: as `text.check_answers`.
  """
  return min(check_answers(prediction, answers).count(prediction) / 3, 1.0)


def any_match(prediction, answers):
  """1.0 if the prediction equals at least one of the answers, else 0.0.

  Arguments and errors as in `vqa_accuracy`.
  """
  return float(prediction in check_answers(prediction, answers))


_COUNTS = {word: str(n) for n, word in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty".split())} | {"none": "0"}


def counting_accuracy(prediction, target):
  """1.0 if prediction and target are the same count, else 0.0: TallyQA, CountBenchQA.

  none, zero, one, ..., twenty, in any case, become digits on both sides; then the strings must be
  equal: "3 cats", "03" and "3." are not 3. Any target will do; big_vision, whose rule it is, breaks
  on a target above 15.

  Args:
    prediction: str.
    target: str, or the int itself.

  Raises:
    TypeError: where the prediction is not a string, or the target neither string nor whole number.
  """
  if not isinstance(target, str):
    if isinstance(target, bool) or not hasattr(target, "__index__"):
      raise TypeError(f"The target of a count is a string or a whole number, not {target!r}.")
    target = str(target.__index__())
  if not isinstance(prediction, str):
    raise TypeError(f"The prediction of a count is a string, not {prediction!r}. Decode it first.")
  digits = lambda text: _COUNTS.get(text.lower(), text)
  return float(digits(prediction) == digits(target))
