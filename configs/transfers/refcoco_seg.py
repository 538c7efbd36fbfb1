"""RefCOCO, RefCOCO+ and RefCOCOg: the box and mask of what a sentence refers to."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=100, lr=3e-5, label_smoothing=0.3, dropout=0.1),
            448: dict(epochs=100, lr=1e-5, label_smoothing=0.3),
            896: dict(epochs=100, lr=1e-5, label_smoothing=0.3, batch_size=64)}
PUBLISHED = common.table("""
                            paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                       224    448    896      224   448       224   448       224   448
refcoco/val/miou     73.40  75.57  76.94     73.4  76.3      75.9  78.2      75.0  77.3
refcoco/testA/miou    75.7   77.9   78.7     75.7  78.6      77.2  79.7      76.8  79.3
refcoco/testB/miou    70.7   72.4   73.9     71.0  73.5      74.2  76.2      73.9  74.8
refcocop/val/miou    68.32  69.76  72.18     68.6  72.1      72.0  74.4      70.3  72.8
refcocop/testA/miou   71.9   74.2   76.1     72.7  76.1      74.7  77.7      73.6  76.6
refcocop/testB/miou   64.5   64.5   66.9     64.2  67.0      68.4  71.1      67.1  68.6
refcocog/val/miou    67.65  70.17  72.22     68.3  72.3      71.4  74.4      70.5  73.0
refcocog/test/miou    68.2   71.0   72.7     69.0  72.7      71.9  74.8      70.7  73.7
""")
OBJECT = ["objects/mask", "objects/bbox", "objects/refs/sentence"]


def get_config(arg=None):
  a = common.parse(arg, text_len=48, prompt_prefix="")
  c = common.transfer(a, SETTINGS, PUBLISHED)
  image, asked = "flatten|decode|resize", common.prompt(a.prompt_prefix + "{prefix}")
  # The prompt is the bare sentence, the answer <loc>x4 <seg>x16: one of an image's objects, each
  # in its turn, by one of its sentences.
  c.input.mixture = [common.component(
      a, "refcoco/combined", "train",
      f"{image}|choice_no_replacement(key={OBJECT})|choice(key='objects/refs/sentence')|"
      f"refcoco_mask2str|{asked}")]
  # The splits "_flat" have one object and one sentence for each example.
  only = "|".join(f"getidx('{key}', 'first')" for key in [*OBJECT, OBJECT[2]])
  one = f"{image}|setdefault('first', 0)|{only}"
  for name, data, splits in (("refcoco", "unc", {"val": "validation", "testA": "testA",
                                                 "testB": "testB"}),
                             ("refcocop", "plus_unc", {"val": "validation", "testA": "testA",
                                                       "testB": "testB"}),
                             ("refcocog", "g_umd", {"val": "validation", "test": "test"})):
    for alias, split in splits.items():
      common.evaluate(c, a, name, {alias: f"{split}_flat"}, "segmentation",
                      f"{one}|{common.prompt(a.prompt_prefix + '{objects/refs/sentence}')}",
                      data=f"refcoco/{data}", keep=("objects/mask", "objects/bbox"),
                      fraction=0.2 if (name, alias) == ("refcoco", "val") else None)
  common.perplexity(
      c, a, "refcoco_seg", {"minitrain": "train_flat[:5%]", "val": "validation_flat"},
      f"{one}|refcoco_mask2str|{asked}", data="refcoco/combined")
  return c
