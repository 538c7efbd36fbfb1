"""DocVQA: questions on scanned documents."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=10, lr=1e-5, wd=0.1) for res in (224, 448, 896)}
PUBLISHED = common.table("""
                      paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                   224   448   896      224   448       224   448       224   448
docvqa/val/anls   37.8  74.1     -     39.9  73.6      43.9  76.6      44.9  76.1
docvqa/test/anls  43.7  78.0  84.8        -     -         -     -         -     -
""")


def get_config(arg=None):
  a = common.parse(arg, prompt_prefix="")  # the bare question
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize(antialias=True)|{common.prompt(a.prompt_prefix + '{question}')}"
  c.input.mixture = [common.component(a, "docvqa", "train+val" if a.train_on_val else "train[:-5%]",
                                      f"{prompt}|choice(inkey='answers', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "minival": "train[-5%:]", "val": "val"}
  common.evaluate(c, a, "docvqa", splits, "vqa", prompt, keep=("answers", "question_id"),
                  metric="anls", to_lower=True, fraction=1/8)
  common.evaluate(c, a, "docvqa", {"test": "test"}, "submission", prompt, keep=("question_id",),
                  format="docvqa")
  common.perplexity(c, a, "docvqa", splits, f"{prompt}|{common.first('answers')}")
  return c
