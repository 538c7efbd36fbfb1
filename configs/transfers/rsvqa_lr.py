"""RSVQA, low resolution: questions on aerial images; without those that prompt for numbers."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=3, lr=3e-6, label_smoothing=0.2) for res in (224, 448)}
PUBLISHED = common.table("""
                        paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                           224   448      224   448       224   448       224   448
rsvqa_lr/test/accuracy    92.6  93.1     93.0  92.7      92.8  93.1      93.5  93.7
""")


def get_config(arg=None):
  a = common.parse(arg)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"lower(key='answers')|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.component(
      a, "rsvqa_lr/nonum", "train+val" if a.train_on_val else "train",
      f"decode|resize(antialias=True)|{prompt}|"
      "choice_no_replacement(inkey='answers', outkey='suffix')")]
  # Evaluated without antialiasing, unlike training: so are the published scores.
  prompt = f"decode|resize|{prompt}"
  common.evaluate(c, a, "rsvqa_lr", {"minitrain": "train[:1280]", "val": "val", "test": "test"},
                  "vqa", prompt, data="rsvqa_lr/nonum",
                  keep=("answers", "question_type", "question_id"), metric="rsvqa", to_lower=True,
                  batch_size=1024, fraction=0.1)
  common.perplexity(c, a, "rsvqa_lr", {"minitrain": "train[:1280]", "val": "val"},
                    f"{prompt}|{common.first('answers')}", data="rsvqa_lr/nonum", fraction=0.1)
  return c
