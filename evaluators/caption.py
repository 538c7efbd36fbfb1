"""Captions: CIDEr, BLEU-4 and ROUGE-L over the whole set, and exact match."""
import functools
import re

from evaluators.metrics import caption, groups, text
from evaluators.metrics.ptb import ptb_tokenize
from evaluators.rows import need

PERCENT = ("cider", "bleu4", "rouge_l", "exact", "cider_characters", "bleu4_characters",
           "rouge_l_characters")
SENTENCE = re.compile(r"[.!?]+(?=\s|$)")  # its end


def score(rows, tokenizer, language=None, lengths=False):
  """{"cider", "bleu4", "rouge_l"} on pycocoevalcap's scales and "exact", the share of captions that
  equal a reference, against "captions" (a list), or else "suffix".

  language: for ja, th and zh, which have no spaces, the figures by character are there too, with
  "_characters" behind. lengths: "chars" and "sentences" of the predictions, on average, as reports
  of long descriptions have them. A row's "score" is its CIDEr.
  """
  del tokenizer
  for row in rows:
    need([row], ["captions" if "captions" in row else "suffix"], "caption")
    row["references"] = list(row["captions"]) if "captions" in row else [row["suffix"]]
  need(rows, ["references"], "caption")
  metrics = {}
  for suffix, tokenize in (("", ptb_tokenize), ("_characters", caption.character_tokenize)):
    if suffix and language not in caption.LANGUAGES_WITHOUT_SPACES:
      continue
    said = {i: row["prediction"] for i, row in enumerate(rows)}
    right = {i: row["references"] for i, row in enumerate(rows)}
    once = functools.cache(tokenize)  # each text is cut into words once for the three of them
    corpus, each = caption.cider(said, right, tokenize=once)
    metrics[f"cider{suffix}"] = float(corpus)
    metrics[f"bleu4{suffix}"] = float(caption.bleu(said, right, tokenize=once)[0][3])
    metrics[f"rouge_l{suffix}"] = float(caption.rouge_l(said, right, tokenize=once)[0])
    if not suffix:
      scores = each
  for i, row in enumerate(rows):
    row["score"] = float(scores[i])
    row["correct"] = any(text.exact_match(row["prediction"], r) for r in row["references"])
    row.setdefault("suffix", row["references"][0])
  metrics["exact"] = groups.mean(row["correct"] for row in rows)
  if lengths:
    metrics["chars"] = groups.mean(len(row["prediction"]) for row in rows)
    metrics["sentences"] = groups.mean(len(SENTENCE.findall(row["prediction"])) for row in rows)
  return metrics
