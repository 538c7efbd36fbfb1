"""COCO captions (Karpathy's splits); evaluated on NoCaps too."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=5, lr=1e-5, wd=0.1) for res in (224, 448)}
PUBLISHED = common.table("""
                   paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                     224    448     224    448      224    448      224    448
cococap/val/cider  141.9  144.6   141.3  143.4    143.7  145.0    144.0  145.2
nocaps/val/cider   121.7  123.6   123.1  123.5    126.3  126.9    127.1  127.0
""")


def get_config(arg=None):
  a = common.parse(arg, sampler="beam(n=2)")
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize|{common.prompt('caption en')}"
  c.input.mixture = [common.component(
      a, "cococap", "train+restval" if a.train_on_val else "train[:98%]+restval",
      f"{prompt}|choice_no_replacement(inkey='captions', outkey='suffix')")]
  splits = {"minitrain": "train[:2%]", "minival": "train[-2%:]", "val": "val"}
  kw = dict(keep=("image/id", "captions"), sampler=a.sampler, batch_size=1024, fraction=0.1)
  common.evaluate(c, a, "cococap", splits, "caption", prompt, **kw)
  common.evaluate(c, a, "nocaps", {"val": "val"}, "caption",
                  f"{prompt}|copy('texts', 'captions')", **kw)
  common.perplexity(c, a, "cococap", splits, f"{prompt}|{common.first('captions')}")
  return c
