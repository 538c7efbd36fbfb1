"""From token ids to answers: the text, why it ended, and the pieces of a stream."""
import bisect
import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Generation:
  text: str
  tokens: list  # ids, a stop included
  logprobs: list  # of each token under the model, whatever the sampler
  finish_reason: str  # "eos", "stop" or "length"
  choices: dict | None = None  # of grammar={"choices": ...}: {choice: probability}


@dataclasses.dataclass(frozen=True)
class StopCriteria:
  eos: int | None  # None: the eos does not end an answer
  ids: tuple  # other ids that end an answer
  texts: tuple  # strings that end an answer; neither they nor a stop id are in the text

  @property
  def all_ids(self):
    return [*([] if self.eos is None else [self.eos]), *self.ids]


def stop_criteria(stop, eos, tokenizer=None):
  """The StopCriteria of generate()'s argument: "eos", other strings, ids, or a sequence of them.

  KerasHub's "auto" and the eos piece itself ("<eos>", "</s>") are the eos.
  """
  stop = () if stop is None else stop
  items = list(stop) if isinstance(stop, (list, tuple, set, np.ndarray)) else [stop]
  for item in items:
    whole = isinstance(item, (int, np.integer)) and not isinstance(item, bool) and item >= 0
    if not (whole or isinstance(item, str) and item):
      raise ValueError(f"stop takes token ids and strings, such as ('eos', 108, '\\n\\n'), not "
                       f"{item!r}.")
  ends = {"eos", "auto"} | ({tokenizer.piece(eos)} if tokenizer else {"<eos>"})
  texts = [i for i in items if isinstance(i, str)]
  return StopCriteria(eos if ends.intersection(texts) else None,
                      tuple(int(i) for i in items if not isinstance(i, str)),
                      tuple(i for i in texts if i not in ends))


def text_of(tokenizer, tokens):
  """The text of ids; "" without a tokenizer. Control pieces are left out."""
  return tokenizer.to_str(tokens, stop_at_eos=False) if tokenizer and len(tokens) else ""


def generation(tokens, logprobs, stops, tokenizer):
  """The Generation of n token ids, cut at the first stop text if there is one.

  Raises ValueError for log-probabilities that are NaN: the tokens mean nothing.
  """
  tokens, logprobs = [int(t) for t in tokens], [float(x) for x in logprobs]
  if any(map(math.isnan, logprobs)):
    raise ValueError("The model's logits are NaN: a logits_processor made them so, its parameters "
                     "are damaged, or its activations overflow its dtype, as may happen in "
                     "float16; try bfloat16 or float32.")
  if found := stop_text(tokens, stops, tokenizer):
    count, text = found
    return Generation(text, tokens[:count], logprobs[:count], "stop")
  last = tokens[-1] if tokens else None
  reason = ("eos" if last is not None and last == stops.eos else
            "stop" if last in stops.ids else "length")
  shown = tokens if reason == "length" else tokens[:-1]
  return Generation(text_of(tokenizer, shown), tokens, logprobs, reason)


def stop_text(tokens, stops, tokenizer):
  """(tokens that the first stop text needs, the text before it), or None."""
  first = lambda text: min((at for s in stops.texts if (at := text.find(s)) >= 0), default=-1)
  text_after = lambda count: text_of(tokenizer, tokens[:count])
  if not stops.texts or first(text_after(len(tokens))) < 0:
    return None
  count = bisect.bisect_left(range(len(tokens)), True, key=lambda n: first(text_after(n)) >= 0)
  text = text_after(count)
  return count, text[:first(text)]


def stable_prefix(text, stops):
  """The start of a text that no further token can change: without a character that is not complete
  yet, and without an end that may become a stop text."""
  text = text.rstrip("\ufffd")
  held = max((n for s in stops.texts for n in range(1, len(s)) if text.endswith(s[:n])), default=0)
  return text[:len(text) - held]
