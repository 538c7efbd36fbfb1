"""Text spotting on ICDAR 2015 (incidental) and Total-Text: every word with its box."""
from configs.transfers import common

SETTINGS = {res: dict(steps=15_000, lr=1e-5, label_smoothing=0.1) for res in (224, 448, 896)}
PUBLISHED = common.table("""
                          paligemma2_3b
                                    896
icdar15/test/precision             81.9
icdar15/test/recall                70.7
icdar15/test/f1                    75.9
totaltext/test/precision           73.8
totaltext/test/recall              74.5
totaltext/test/f1                  74.2
""")
WORDS = ("objects/bbox", "objects/label", "objects/polygon", "ignored/bbox", "ignored/polygon")


def get_config(arg=None):
  a = common.parse(arg, res=896, model="paligemma2_3b", text_len=2048)
  c = common.transfer(a, SETTINGS, PUBLISHED, rates=None)
  # The report trained on MLT17, MLT19, HierText, TextOCR and IntelOCR too, and has no example of
  # prompt and answer: those here are "ocr" and "<loc>x4 word ; ...", from the top down.
  image = "flatten|decode|resize(antialias=True)"
  answer = f"{image}|detect(order='raster', prompt='ocr')"
  sizes = {"icdar15": 1000, "totaltext": 1255}  # a component weighs by its examples
  c.input.on_error = "skip"  # images with a ";" in a word, which parts objects
  c.input.mixture = [common.component(a, name, "train", answer, weight=float(size))
                     for name, size in sizes.items()]
  for name in sizes:
    common.evaluate(c, a, name, {"minitrain": "train[:5%]", "test": "test"}, "text_spotting",
                    f"{image}|{common.prompt('ocr')}", keep=WORDS, prompt_len=16, batch_size=64,
                    fraction=0.1)
  return c
