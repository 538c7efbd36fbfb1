"""Digits: a PaliGemma of 1.3 M parameters learns from scratch to read, count and point at digits.

  python -m trainers.train --config configs/digits.py --workdir workdirs/digits
  --config configs/digits.py:tiny    the same in seconds, untrained: for tests
"""
from big_vlm.families.paligemma_presets import DIGITS, DIGITS_TEXT_LEN
from configs import common
from pp.names import pick

DATA_DIR = "data"
TEXT_LEN, PROMPT_LEN = DIGITS_TEXT_LEN, 16


def get_config(size="small"):
  pick(dict.fromkeys(("small", "tiny")), size, "size")
  data = lambda split: dict(name=f"digits/{size}", split=split, data_dir=DATA_DIR)
  tokenizer = (f"sp(model='{DATA_DIR}/digits/{size}/1.0.0/tokenizer.model', "
               "tokensets=('loc', 'seg'))")

  train = lambda task, weight: dict(
      data=data("train"), pp=f"flatten|decode|resize|{task}|text_layout", weight=weight)

  caption = lambda lang: (f"strfmt('caption {lang}', outkey='prefix')|"
                          f"copy('captions/{lang}', 'suffix')")
  ocr = "strfmt('ocr', outkey='prefix')|copy('ocr', 'suffix')"
  qa = "strfmt('answer en {questions}', outkey='prefix')|copy('answers', 'suffix')"
  qa_train = "choice(key=('questions', 'answers'))|" + qa
  qa_first = ("setdefault('first', 0)|getidx('questions', 'first')|getidx('answers', 'first')|"
              + qa)
  languages = ("en", "de", "fr", "es", "it", "pt", "zh")

  c = common.train(total_steps=6000 if size == "small" else 20, tokenizer=tokenizer,
                   text_len=TEXT_LEN)
  c.model.img, c.model.llm = DIGITS["img"], DIGITS["llm"]
  c.input.batch_size = 64 if size == "small" else 16
  c.input.mixture = [
      train(qa_train, 3.), train(ocr, 3.), train("detect(subset=True)", 3.),
      *(train(caption(lang), 2. / len(languages)) for lang in languages)]
  c.optimizer.update(
      name="muon", args=dict(b2=0.98), lr=1e-3, weight_decay=1e-2,
      schedule=((".*", dict(decay="cosine", warmup_fraction=0.02)),))
  # A kill costs 250 steps at most, some 75 s of two cores.
  c.log_steps, c.checkpoint_steps, often = (100, 250, 1000) if size == "small" else (5, 10, 10)

  def evaluate(type, task, max_new_tokens, keep=()):
    pp = f"flatten|decode|resize|{task}|text_layout(keep={('prefix', 'suffix', 'id', *keep)})"
    return dict(type=type, data=data("val"), pp=pp, batch_size=256, prompt_len=PROMPT_LEN,
                max_new_tokens=max_new_tokens, steps=often)
  c.evals = dict(
      answer=evaluate("exact_match", qa_first, 6),
      ocr=evaluate("exact_match", ocr, 8),
      caption_de=evaluate("caption", caption("de"), 16),
      detect=evaluate("detection", "detect", 24, keep=("objects/bbox", "objects/label")))
  return c
