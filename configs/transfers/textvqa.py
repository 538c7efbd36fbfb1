"""TextVQA: questions on text in photographs."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=5, lr=3e-6), 448: dict(epochs=10, lr=3e-6, wd=0.1),
            896: dict(epochs=10, lr=3e-6)}
PUBLISHED = common.table("""
                           paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                        224   448   896      224   448       224   448       224   448
textvqa/val/accuracy   59.0  74.6     -     59.6  75.2      64.0  76.6      64.7  76.2
textvqa/test/accuracy  55.5  73.2  76.5        -     -         -     -         -     -
""")


def get_config(arg=None):
  a = common.parse(arg)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize(antialias=True)|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.component(
      a, "textvqa", "train+val" if a.train_on_val else "train",
      f"{prompt}|choice_no_replacement(inkey='answers', outkey='suffix')")]
  common.evaluate(c, a, "textvqa", {"minitrain": "train[:5120]", "val": "val"}, "vqa", prompt,
                  keep=("answers", "question_id"), metric="textvqa", fraction=1/8)
  common.evaluate(c, a, "textvqa", {"test": "test"}, "submission", prompt, keep=("question_id",),
                  format="textvqa")
  common.perplexity(c, a, "textvqa", {"minitrain": "train[:5%]", "val": "val"},
                    f"{prompt}|{common.first('answers')}")
  return c
