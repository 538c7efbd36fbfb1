"""OK-VQA: questions on photographs that need outside knowledge."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=10, lr=5e-6, batch_size=128) for res in (224, 448)}
PUBLISHED = common.table("""
                     pg1-224 pg1-448  3b-224 3b-448  10b-224 10b-448  28b-224 28b-448
okvqa/val/accuracy      63.5    63.2    64.2   64.1     68.0    68.6     71.2    70.6
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=32)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = f"{common.image(a, antialias=True)}|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.part(a, "okvqa", "train" if a.final_split else "train[:-10%]",
                                 f"{ask}|choice_no_replacement(inkey='answers', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "minival": "train[-10%:]", "val": "val"}
  common.evaluate(c, a, "okvqa", splits, "vqa", ask, keep=("answers", "question_id"),
                  rule="accuracy", batch_size=1024, fraction=1/4)
  common.perplexity(c, a, "okvqa", splits, f"{ask}|{common.first('answers')}")
  return c
