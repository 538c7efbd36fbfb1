"""COCO-35L: captions of COCO photographs in 35 languages; evaluated on Crossmodal-3600 too."""
from configs.transfers import common

SETTINGS = {res: dict(examples=5 * 566_435, lr=1e-5, wd=0.1) for res in (224, 448)}
PUBLISHED = common.table("""
                     paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                       224    448     224    448      224    448      224    448
coco35l/en/cider     139.2  141.2   138.4  140.4    140.8  142.4    142.4  142.3
coco35l/avg34/cider  113.7  115.8   113.9  115.8    115.8  117.2    116.5  117.2
xm3600/en/cider       78.0   80.0    79.8   80.3     80.7   81.5     81.0   81.0
xm3600/avg35/cider    41.9   42.4    42.8   43.2     44.5   44.6     45.2   45.2
""")
LANGUAGES = (
    "ar bn cs da de el en es fa fi fil fr he hi hr hu id it ja ko mi nl no pl pt ro ru sv sw te th "
    "tr uk vi zh").split()
OFTEN = ("ar", "bn", "en", "id", "sw", "tr", "zh")  # the others are evaluated at the end


def get_config(arg=None):
  a = common.parse(arg, sampler="greedy")
  c = common.transfer(a, SETTINGS, PUBLISHED)
  image = "decode|resize"
  write = "choice_no_replacement(inkey='captions', outkey='suffix')"
  prompt = {lang: f"{image}|{common.prompt(f'caption {lang}')}" for lang in [*LANGUAGES, "quz"]}
  c.input.mixture = [common.component(a, "coco35l", f"train_{lang}", f"{prompt[lang]}|{write}",
                                      name=f"coco35l_{lang}") for lang in LANGUAGES]
  for data, prefix, languages in (("coco35l", "dev_", LANGUAGES), ("xm3600", "", prompt)):
    for lang in languages:
      common.evaluate(c, a, data, {lang: prefix + lang}, "caption", prompt[lang],
                      keep=("image/id", "captions"), language=lang, sampler=a.sampler,
                      batch_size=1024, fraction=0.25 if lang in OFTEN else None)
    others = [f"{data}/{lang}" for lang in languages if lang != "en"]
    common.mean(c, f"{data}/avg{len(others)}", others, "cider")
  common.perplexity(
      c, a, "coco35l", {"minitrain": "train_en[:2%]", "minival": "dev_en[:5%]", "val": "dev_en"},
      f"{prompt['en']}|{common.first('captions')}")
  return c
