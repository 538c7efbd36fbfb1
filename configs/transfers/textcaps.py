"""TextCaps: captions that read the text in a photograph."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=5, lr=1e-5, wd=0.1) for res in (224, 448)}
PUBLISHED = common.table("""
                    paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                      224    448     224    448      224    448      224    448
textcaps/val/cider  127.5  153.9   127.5  152.1    137.9  157.7    139.9  153.6
""")


def get_config(arg=None):
  a = common.parse(arg, sampler="beam(n=3)")
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize|{common.prompt('caption en')}"
  c.input.mixture = [common.component(
      a, "textcaps", "train" if a.train_on_val else "train[:98%]",
      f"{prompt}|choice_no_replacement(inkey='texts', outkey='suffix')|lower(key='suffix')")]
  splits = {"minitrain": "train[:2%]", "minival": "train[-2%:]", "val": "val"}
  common.evaluate(c, a, "textcaps", splits, "caption", f"{prompt}|copy('texts', 'captions')",
                  keep=("image/id", "captions"), sampler=a.sampler, batch_size=1024, fraction=0.1)
  common.perplexity(c, a, "textcaps", splits,
                    f"{prompt}|{common.first('texts')}|lower(key='suffix')")
  return c
