"""RSVQA, high resolution: questions on aerial images; without those that prompt for numbers."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=1, lr=1e-5) for res in (224, 448)}
PUBLISHED = common.table("""
                          paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                             224   448      224   448       224   448       224   448
rsvqa_hr/test/accuracy      92.6  92.8     92.7  92.8      92.6  92.8      92.7  92.8
rsvqa_hr/test_2/accuracy    90.6  90.5     90.9  90.7      90.8  90.7      90.9  90.8
""")


def get_config(arg=None):
  a = common.parse(arg)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"lower(key='answers')|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.component(
      a, "rsvqa_hr/nonum", "train+val" if a.train_on_val else "train",
      f"decode|resize(antialias=True)|{prompt}|"
      "choice_no_replacement(inkey='answers', outkey='suffix')")]
  # Evaluated without antialiasing, unlike training: so are the published scores.
  prompt = f"decode|resize|{prompt}"
  for alias, split, fraction in (("minitrain", "train[:1280]", 0.1), ("val", "val", None),
                                ("test", "test", None), ("test_2", "test_2", None)):
    common.evaluate(c, a, "rsvqa_hr", {alias: split}, "vqa", prompt, data="rsvqa_hr/nonum",
                    keep=("answers", "question_type", "question_id"), metric="rsvqa", to_lower=True,
                    batch_size=1024, fraction=fraction)
  common.perplexity(c, a, "rsvqa_hr", {"minitrain": "train[:1280]", "val": "val"},
                    f"{prompt}|{common.first('answers')}", data="rsvqa_hr/nonum", fraction=0.1)
  return c
