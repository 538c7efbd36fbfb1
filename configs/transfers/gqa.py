"""GQA: questions on photographs, made from scene graphs; evaluated on xGQA's languages too."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=1, lr=1e-5), 448: dict(epochs=1, lr=1e-5, freeze_img=True)}
PUBLISHED = common.table("""
                      paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                         224   448      224   448       224   448       224   448
gqa/testdev/accuracy    65.6  67.0     66.2  68.1      67.2  68.3      67.3  68.3
xgqa/avg7/accuracy      57.3  57.9     58.6  60.4      61.4  62.6      61.1  62.1
""")
XGQA = ("bn", "de", "en", "id", "ko", "pt", "ru", "zh")


def get_config(arg=None):
  a = common.parse(arg)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize|{common.prompt('answer en {question}')}"
  answer = f"{prompt}|copy('answer', 'suffix')"
  split = "train_balanced+val_balanced" if a.train_on_val else "train_balanced"
  c.input.mixture = [common.component(a, "gqa", split, answer)]
  kw = dict(type="vqa", pp=prompt, keep=("answer", "example_id"), metric="exact", batch_size=1024)
  common.evaluate(c, a, "gqa", {"minitrain": "train_balanced[:10000]", "val": "val_balanced"},
                  fraction=1/8, **kw)
  common.evaluate(c, a, "gqa", {"testdev": "testdev_balanced"}, **kw)
  common.evaluate(c, a, "xgqa", {lang: f"test_zs_{lang}" for lang in XGQA}, fraction=1/8, **kw)
  common.mean(c, "xgqa/avg7", [f"xgqa/{lang}" for lang in XGQA if lang != "en"], "accuracy")
  common.perplexity(
      c, a, "gqa", {"minitrain": "train_balanced[:5%]", "minival": "val_balanced[:5%]"}, answer)
  return c
