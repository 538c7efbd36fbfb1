"""DocLayNet: the parts of a page, as boxes of 11 classes."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=50, lr=1e-5) for res in (224, 448, 896)}
PUBLISHED = common.table("""
                       paligemma_3b     paligemma2_3b    paligemma2_10b
                    224   448   896   224   448   896   224   448   896
doclaynet/test/AP  50.8  64.1  66.5  46.7  62.5  66.1  50.4  63.5  66.0
""")
OBJECTS = ("objects/bbox", "objects/label", "objects/area", "objects/is_crowd", "height", "width",
           "image/id")


def get_config(arg=None):
  a = common.parse(arg, text_len=512)
  # Learning rate, batch size and length are not published.
  c = common.transfer(a, SETTINGS, PUBLISHED, rates=None)
  image = "flatten|decode|resize(antialias=True)"
  detect = "detect(order='{}', prompt='detect all classes')".format
  c.input.mixture = [common.component(a, "doclaynet", "train",
                                      f"{image}|{detect('random')}")]
  splits = {"minitrain": "train[:5000]", "val": "val", "test": "test"}
  common.evaluate(c, a, "doclaynet", splits, "detection",
                  f"{image}|{common.prompt('detect all classes')}", keep=OBJECTS,
                  confidence="label", prompt_len=16, batch_size=64, fraction=0.1)
  common.perplexity(c, a, "doclaynet", splits, f"{image}|{detect('raster')}")
  return c
