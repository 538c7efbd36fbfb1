"""OK-VQA: questions on photographs that need outside knowledge."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=10, lr=5e-6, batch_size=128) for res in (224, 448)}
PUBLISHED = common.table("""
                    paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                       224   448      224   448       224   448       224   448
okvqa/val/accuracy    63.5  63.2     64.2  64.1      68.0  68.6      71.2  70.6
""")


def get_config(arg=None):
  a = common.parse(arg)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize(antialias=True)|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.component(
      a, "okvqa", "train" if a.train_on_val else "train[:-10%]",
      f"{prompt}|choice_no_replacement(inkey='answers', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "minival": "train[-10%:]", "val": "val"}
  common.evaluate(c, a, "okvqa", splits, "vqa", prompt, keep=("answers", "question_id"),
                  metric="accuracy", batch_size=1024, fraction=1/4)
  common.perplexity(c, a, "okvqa", splits, f"{prompt}|{common.first('answers')}")
  return c
