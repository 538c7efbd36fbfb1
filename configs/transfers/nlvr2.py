"""NLVR2: is a sentence true of two photographs; evaluated on MaRVL's languages too."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=3, lr=1e-5, wd=0.1), 448: dict(epochs=10, lr=3e-6, wd=0.1)}
PUBLISHED = common.table("""
                     paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                        224   448      224   448       224   448       224   448
nlvr2/test/accuracy    90.0  88.9     91.4  91.6      93.9  93.7      94.2  94.1
marvl/avg5/accuracy    80.6  76.8     83.5  82.7      89.5  89.1      90.6  89.7
""")
MARVL = ("id", "sw", "ta", "tr", "zh")


def get_config(arg=None):
  a = common.parse(arg, text_len=64)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  pair = ("image_left", "image_right")
  prompt = "|".join([*(f"decode(key={key!r})|resize(key={key!r})" for key in pair),
                     f"stack_images(inkeys={pair})", common.prompt("answer en {sentence}")])
  split = "train+dev" if a.train_on_val else "train"
  c.input.mixture = [common.component(a, "nlvr2", split, f"{prompt}|copy('label', 'suffix')")]
  kw = dict(type="vqa", pp=f"{prompt}|copy('label', 'answer')", keep=("answer", "example_id"),
            batch_size=1024, fraction=0.1)
  splits = {"minitrain": "train[:10000]", "dev": "dev", "test": "test"}
  common.evaluate(c, a, "nlvr2", splits, metric="nlvr2", **kw)
  common.evaluate(c, a, "marvl", {lang: f"test_{lang}" for lang in MARVL}, metric="exact", **kw)
  common.mean(c, "marvl/avg5", [f"marvl/{lang}" for lang in MARVL], "accuracy")
  return c
