"""COCO 2017: all objects of 80 classes, as boxes."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=50, lr=1e-5) for res in (224, 448, 896)}
PUBLISHED = common.table("""
                           paligemma_3b     paligemma2_3b    paligemma2_10b
                        224   448   896   224   448   896   224   448   896
coco_detection/val/AP  28.7  37.0  41.1  30.4  38.5  42.3  30.3  39.2  43.6
""")
OBJECTS = ("objects/bbox", "objects/label", "objects/area", "objects/is_crowd", "height", "width",
           "image/id")


def get_config(arg=None):
  a = common.parse(arg, text_len=512)
  # Learning rate, batch size and length are not published.
  c = common.transfer(a, SETTINGS, PUBLISHED, rates=None)
  image = "flatten|decode|resize(antialias=True)"
  detect = "detect(order='{}', prompt='detect all classes')".format
  c.input.mixture = [common.component(a, "coco_detection", "train",
                                      f"{image}|{detect('random')}")]
  splits = {"minitrain": "train[:5000]", "val": "val"}
  common.evaluate(c, a, "coco_detection", splits, "detection",
                  f"{image}|{common.prompt('detect all classes')}", keep=OBJECTS,
                  confidence="label", prompt_len=16, batch_size=64, fraction=0.1)
  common.perplexity(c, a, "coco_detection", splits, f"{image}|{detect('raster')}")
  return c
