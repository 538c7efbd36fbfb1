"""DocVQA: questions on scanned documents."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=10, lr=1e-5, wd=0.1) for res in (224, 448, 896)}
PUBLISHED = common.table("""
                  pg1-224 pg1-448 pg1-896 3b-224 3b-448 10b-224 10b-448 28b-224 28b-448
docvqa/val/anls      37.8    74.1       -   39.9   73.6    43.9    76.6    44.9    76.1
docvqa/test/anls     43.7    78.0    84.8      -      -       -       -       -       -
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=32, verb="")  # the bare question
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = f"{common.image(a, antialias=True)}|{common.prompt(a.verb + '{question}')}"
  c.input.mixture = [common.part(a, "docvqa", "train+val" if a.final_split else "train[:-5%]",
                                 f"{ask}|choice(inkey='answers', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "minival": "train[-5%:]", "val": "val"}
  common.evaluate(c, a, "docvqa", splits, "vqa", ask, keep=("answers", "question_id"), rule="anls",
                  to_lower=True, fraction=1/8)
  common.evaluate(c, a, "docvqa", {"test": "test"}, "store", ask, keep=("question_id",),
                  format="docvqa")
  common.perplexity(c, a, "docvqa", splits, f"{ask}|{common.first('answers')}")
  return c
