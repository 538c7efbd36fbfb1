"""Error rates of music scores in **kern: characters, symbols, lines (GrandStaff)."""
from evaluators.metrics import ids
from evaluators.metrics.edit import edit_distance

_UNITS = {
    "cer": list,  # characters, tabs and newlines among them
    # Newline and tab are symbols of their own; what single spaces separate are the others.
    "ser": lambda text: text.replace("\n", " <b> ").replace("\t", " <t> ").split(" "),
    "ler": lambda text: text.split("\n"),
}


def sequence_errors(prediction, target):
  """{"cer", "ser", "ler"}: (edit distance, length of the target) of one score, as ints.

  Give them to `bootstrap.interval` as scores and weights. Only "\\n" ends a line: U+2028 is a
  character. An empty text has no characters, but one (empty) symbol and one (empty) line.

  Raises:
    TypeError: where either is not a string.
  """
  for name, value in (("prediction", prediction), ("target", target)):
    if not isinstance(value, str):
      raise TypeError(f"Error rates are of texts, but {name} is {value!r} "
                      f"({type(value).__name__}). Join its tokens first.")
  found = {}
  for rate, cut in _UNITS.items():
    ours, reference = cut(prediction), cut(target)
    found[rate] = edit_distance(ours, reference), len(reference)
  return found


def error_rates(predictions, targets):
  """{"cer", "ser", "ler"}: character, symbol and line error rate in per cent, lower is better.

  100 * sum of edit distances / sum of the targets' lengths over the corpus, not the mean of the
  texts' own rates; above 100 where much is inserted. Source: antoniorv6/SMT (Sheet Music
  Transformer), eval_functions.py. The rates depend much on how the text is written: kern or bekern,
  with or without its header and the separators of its sub-tokens; give both sides in one form. The
  form behind PaliGemma 2's numbers is not published. This is not jiwer's WER, which cleans its
  input.

  Args:
    predictions, targets: lists of str, as long as each other.

  Raises:
    ValueError: where they are empty, differ in length, or all targets are empty.
    TypeError: where one holds something else than strings.
  """
  errors = [sequence_errors(*row) for row in ids.rows(predictions=predictions, targets=targets)]
  if not any(e["cer"][1] for e in errors):
    raise ValueError(f"Error rates are relative to the targets, but there is no text in the "
                     f"{len(errors)} given.")
  return {rate: 100 * sum(e[rate][0] for e in errors) / sum(e[rate][1] for e in errors)
          for rate in _UNITS}
