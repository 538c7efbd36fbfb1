"""WidgetCap: captions of a widget, drawn as a red box into the screen of a mobile app."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=4, lr=3e-6, batch_size=64, wd=0.1, label_smoothing=0.1, dropout=0.1)
            for res in (224, 448)}
PUBLISHED = common.table("""
                       pg1-224 pg1-448  3b-224 3b-448  10b-224 10b-448  28b-224 28b-448
widgetcap/test/cider     136.1   148.4   138.1  151.4    139.8   151.9    138.8   148.9
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=32)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  image = f"{common.image(a, antialias=True)}|draw_bbox|value_range(-1, 1)"
  ask = f"{image}|{common.prompt('caption en')}"
  c.input.mixture = [common.part(a, "widgetcap", "train+dev" if a.final_split else "train",
                                 f"{ask}|choice_no_replacement(inkey='texts', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "dev": "dev", "test": "test"}
  common.evaluate(c, a, "widgetcap", {k: splits[k] for k in ("dev", "test")}, "caption",
                  f"{ask}|copy('texts', 'captions')", keep=("image/id", "captions"),
                  batch_size=1024, fraction=0.1)
  common.perplexity(c, a, "widgetcap", splits, f"{ask}|{common.first('texts')}")
  return c
