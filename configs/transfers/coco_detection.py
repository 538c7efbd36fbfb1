"""COCO 2017: all objects of 80 classes, as boxes."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=50, lr=1e-5) for res in (224, 448, 896)}
PUBLISHED = common.table("""
                           paligemma_3b     paligemma2_3b    paligemma2_10b
                        224   448   896   224   448   896   224   448   896
coco_detection/val/AP  28.7  37.0  41.1  30.4  38.5  42.3  30.3  39.2  43.6
""")


def get_config(arg=None):
  """noise=noise fills the answers with boxes where nothing is, see common.detection."""
  a = common.parse(arg, text_len=512, noise="")
  # Learning rate, batch size and length are not published.
  c = common.transfer(a, SETTINGS, PUBLISHED, rates=None)
  common.detection(c, a, "coco_detection", {"minitrain": "train[:5000]", "val": "val"})
  return c
