"""Captions: CIDEr, BLEU-4 and ROUGE-L over the whole set, and exact match."""
import functools
import math
import re

from evaluators.metrics import caption, groups, text
from evaluators.metrics.ptb import ptb_tokenize
from evaluators.predictions import answer_text, require_keys

PERCENT = ("cider", "bleu4", "rouge_l", "exact", "cider_characters", "bleu4_characters",
           "rouge_l_characters")
_NO_RARE_WORD = ("CIDEr weighs words by how few images have them, and here all images have the "
                 "same, as in a set of one image")
UNDEFINED = {"cider": _NO_RARE_WORD, "cider_characters": _NO_RARE_WORD}
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")


def score(predictions, tokenizer, language=None, lengths=False):
  """{"cider", "bleu4", "rouge_l"} on pycocoevalcap's scales and "exact", the fraction of captions
  that equal a reference, against "captions" (a list), or else "suffix".

  language: for ja, th and zh, which have no spaces, the metrics by character are there too, with
  "_characters" behind. CIDEr is NaN where it is 0 for the references themselves. lengths: adds
  "chars" and "sentences" of the predictions, on average, as papers on long descriptions report
  them. A prediction's "score" is its CIDEr.
  """
  del tokenizer
  for p in predictions:
    require_keys([p], ["captions" if "captions" in p else "suffix"], "caption")
    texts = p["captions"] if isinstance(p.get("captions"), (list, tuple)) else [
        p.get("captions", p.get("suffix"))]
    p["references"] = [answer_text(text, p) for text in texts]
  require_keys(predictions, ["references"], "caption")
  answers = {i: p["prediction"] for i, p in enumerate(predictions)}
  targets = {i: p["references"] for i, p in enumerate(predictions)}
  metrics = {}
  for suffix, tokenize in (("", ptb_tokenize), ("_characters", caption.character_tokenize)):
    if suffix and language not in caption.LANGUAGES_WITHOUT_SPACES:
      continue
    once = functools.cache(tokenize)  # the three metrics share each text's words
    corpus, each = caption.cider(answers, targets, tokenize=once)
    if not corpus and not caption.cider(
        {i: texts[0] for i, texts in targets.items()}, targets, tokenize=once)[0]:
      corpus, each = math.nan, [None] * len(each)  # even the references would have 0
    metrics[f"cider{suffix}"] = float(corpus)
    metrics[f"bleu4{suffix}"] = float(caption.bleu(answers, targets, tokenize=once)[0][3])
    metrics[f"rouge_l{suffix}"] = float(caption.rouge_l(answers, targets, tokenize=once)[0])
    if not suffix:
      scores = each
  for i, p in enumerate(predictions):
    p["score"] = None if scores[i] is None else float(scores[i])
    p["correct"] = any(text.exact_match(p["prediction"], r) for r in p["references"])
    p.setdefault("suffix", p["references"][0])
  metrics["exact"] = groups.mean(p["correct"] for p in predictions)
  if lengths:
    metrics["chars"] = groups.mean(len(a) for a in answers.values())
    metrics["sentences"] = groups.mean(len(SENTENCE_END.findall(a)) for a in answers.values())
  return metrics
