"""AI2D: multiple-choice questions on diagrams of school science."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=10, lr=1e-5, wd=0.1) for res in (224, 448)}
PUBLISHED = common.table("""
                     pg1-224 pg1-448  3b-224 3b-448  10b-224 10b-448  28b-224 28b-448
ai2d/test/accuracy      72.1    73.3    74.7   76.0     83.1    84.4     83.2    84.6
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=128)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = ("strjoin(' \\t ', inkey='possible_answers', outkey='options')|"
         + common.prompt("answer en  {question} choose from: {options}"))
  answer = f"{ask}|copy('answer', 'suffix')"
  split = "train" if a.final_split else "train[:-1024]"
  c.input.mixture = [common.part(a, "ai2d", split, f"{common.image(a, antialias=True)}|{answer}")]
  splits = {"minitrain": "train[:1024]", "minival": "train[-1024:]", "test": "test"}
  # Evaluated without antialiasing, unlike training: so are the published scores.
  common.evaluate(c, a, "ai2d", splits, "vqa", f"{common.image(a)}|{ask}", keep=("answer",),
                  rule="exact", batch_size=1024, fraction=1/8)
  common.perplexity(c, a, "ai2d", splits, f"{common.image(a)}|{answer}", fraction=1/8)
  return c
