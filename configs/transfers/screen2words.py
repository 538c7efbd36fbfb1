"""Screen2Words: summaries of screens of mobile apps."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=10, lr=1e-5, label_smoothing=0.2, dropout=0.3) for res in (224, 448)}
PUBLISHED = common.table("""
                         paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                           224    448     224    448      224    448      224    448
screen2words/test/cider  117.6  119.6   113.3  114.0    117.8  119.1    122.8  123.4
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=24)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize|{common.prompt('caption en')}"
  c.input.mixture = [common.component(
      a, "screen2words", "train+dev" if a.train_on_val else "train",
      f"{prompt}|choice_no_replacement(inkey='summary', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "dev": "dev", "test": "test"}
  common.evaluate(c, a, "screen2words", splits, "caption", f"{prompt}|copy('summary', 'captions')",
                  keep=("image/id", "captions"), batch_size=1024, fraction=0.1)
  common.perplexity(c, a, "screen2words", splits, f"{prompt}|{common.first('summary')}")
  return c
