"""ST-VQA: questions on text in photographs."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=3, lr=lr, wd=0.1, batch_size=batch, label_smoothing=0.1)
            for res, lr, batch in ((224, 1e-5, 256), (448, 1e-5, 128), (896, 3e-6, 32))}
PUBLISHED = common.table("""
                     paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                  224   448   896      224   448       224   448       224   448
stvqa/val/anls   61.6  79.7     -     61.9  80.5      64.3  82.0      65.1  81.8
stvqa/test/anls  63.3  81.8  84.4        -     -         -     -         -     -
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=48)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = (f"decode|resize(antialias=True)|lower(key='answers')|"  # as the server compares them
            f"{common.prompt('answer en {question}')}")
  c.input.mixture = [common.component(
      a, "stvqa", "train+val" if a.train_on_val else "train",
      f"{prompt}|choice_no_replacement(inkey='answers', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "val": "val"}
  common.evaluate(c, a, "stvqa", splits, "vqa", prompt, keep=("answers", "question_id"),
                  metric="anls", to_lower=True, fraction=0.1)
  common.evaluate(c, a, "stvqa", {"test": "test"}, "submission", prompt, keep=("question_id",),
                  format="stvqa")
  common.perplexity(c, a, "stvqa", splits, f"{prompt}|{common.first('answers')}")
  return c
