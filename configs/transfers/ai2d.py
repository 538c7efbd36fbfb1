"""AI2D: multiple-choice questions on diagrams of school science."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=10, lr=1e-5, wd=0.1) for res in (224, 448)}
PUBLISHED = common.table("""
                    paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                       224   448      224   448       224   448       224   448
ai2d/test/accuracy    72.1  73.3     74.7  76.0      83.1  84.4      83.2  84.6
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=128)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = ("strjoin(' \\t ', inkey='possible_answers', outkey='options')|"
            + common.prompt("answer en  {question} choose from: {options}"))
  answer = f"{prompt}|copy('answer', 'suffix')"
  split = "train" if a.train_on_val else "train[:-1024]"
  c.input.mixture = [common.component(a, "ai2d", split, f"decode|resize(antialias=True)|{answer}")]
  splits = {"minitrain": "train[:1024]", "minival": "train[-1024:]", "test": "test"}
  # Evaluated without antialiasing, unlike training: so are the published scores.
  common.evaluate(c, a, "ai2d", splits, "vqa", f"decode|resize|{prompt}", keep=("answer",),
                  metric="exact", batch_size=1024, fraction=1/8)
  common.perplexity(c, a, "ai2d", splits, f"decode|resize|{answer}", fraction=1/8)
  return c
