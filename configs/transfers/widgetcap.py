"""WidgetCap: captions of a widget, drawn as a red box into the screen of a mobile app."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=4, lr=3e-6, batch_size=64, wd=0.1, label_smoothing=0.1, dropout=0.1)
            for res in (224, 448)}
PUBLISHED = common.table("""
                      paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                        224    448     224    448      224    448      224    448
widgetcap/test/cider  136.1  148.4   138.1  151.4    139.8  151.9    138.8  148.9
""")


def get_config(arg=None):
  a = common.parse(arg)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  image = "decode|resize(antialias=True)|draw_bbox|value_range(-1, 1)"
  prompt = f"{image}|{common.prompt('caption en')}"
  c.input.mixture = [common.component(
      a, "widgetcap", "train+dev" if a.train_on_val else "train",
      f"{prompt}|choice_no_replacement(inkey='texts', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "dev": "dev", "test": "test"}
  common.evaluate(c, a, "widgetcap", {k: splits[k] for k in ("dev", "test")}, "caption",
                  f"{prompt}|copy('texts', 'captions')", keep=("image/id", "captions"),
                  batch_size=1024, fraction=0.1)
  common.perplexity(c, a, "widgetcap", splits, f"{prompt}|{common.first('texts')}")
  return c
