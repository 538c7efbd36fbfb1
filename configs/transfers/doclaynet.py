"""DocLayNet: the parts of a page, as boxes of 11 classes."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=50, lr=1e-5) for res in (224, 448, 896)}
PUBLISHED = common.table("""
                       paligemma_3b     paligemma2_3b    paligemma2_10b
                    224   448   896   224   448   896   224   448   896
doclaynet/test/AP  50.8  64.1  66.5  46.7  62.5  66.1  50.4  63.5  66.0
""")


def get_config(arg=None):
  """noise=noise fills the answers with boxes where nothing is, see common.detection."""
  a = common.parse(arg, text_len=512, noise="")
  # Learning rate, batch size and length are not published.
  c = common.transfer(a, SETTINGS, PUBLISHED, rates=None)
  common.detection(c, a, "doclaynet", {"minitrain": "train[:5000]", "val": "val", "test": "test"})
  return c
