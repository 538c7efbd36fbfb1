"""RSVQA, high resolution: questions on aerial images; without those that ask for numbers."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=1, lr=1e-5) for res in (224, 448)}
PUBLISHED = common.table("""
                          pg1-224 pg1-448  3b-224 3b-448  10b-224 10b-448  28b-224 28b-448
rsvqa_hr/test/accuracy       92.6    92.8    92.7   92.8     92.6    92.8     92.7    92.8
rsvqa_hr/test_2/accuracy     90.6    90.5    90.9   90.7     90.8    90.7     90.9    90.8
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=32)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = f"lower(key='answers')|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.part(
      a, "rsvqa_hr/nonum", "train+val" if a.final_split else "train",
      f"{common.image(a, antialias=True)}|{ask}|"
      "choice_no_replacement(inkey='answers', outkey='suffix')")]
  # Evaluated without antialiasing, unlike training: so are the published scores.
  ask = f"{common.image(a)}|{ask}"
  for alias, split, fraction in (("minitrain", "train[:1280]", 0.1), ("val", "val", None),
                                ("test", "test", None), ("test_2", "test_2", None)):
    common.evaluate(c, a, "rsvqa_hr", {alias: split}, "vqa", ask, data="rsvqa_hr/nonum",
                    keep=("answers", "question_type", "question_id"), rule="rsvqa", to_lower=True,
                    batch_size=1024, fraction=fraction)
  common.perplexity(c, a, "rsvqa_hr", {"minitrain": "train[:1280]", "val": "val"},
                    f"{ask}|{common.first('answers')}", data="rsvqa_hr/nonum", fraction=0.1)
  return c
