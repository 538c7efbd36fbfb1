"""TallyQA: how many of something; evaluated on CountBenchQA too."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=2, lr=1e-5), 448: dict(epochs=2, lr=1e-5, wd=0.1),
            896: dict(epochs=2, lr=7e-6, wd=0.1)}
PUBLISHED = common.table("""
                               paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                                  224   448      224   448       224   448       224   448
tallyqa/test/accuracy/simple     81.7  84.9     81.8  85.3      83.2  86.2      83.4  85.7
tallyqa/test/accuracy/complex    69.6  72.3     70.3  73.6      73.4  76.7      74.2  76.8
countbenchqa/test/accuracy       81.9  83.1     81.0  82.0      84.0  85.3      86.4  87.4
""")


def get_config(arg=None):
  a = common.parse(arg)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize(antialias=True)|{common.prompt('answer en {question}')}"
  count = f"{prompt}|strfmt('{{answer}}', outkey='suffix')"
  c.input.mixture = [common.component(a, "tallyqa", "train", count)]
  kw = dict(pp=f"{prompt}|strfmt('{{answer}}', outkey='answer')", keep=("answer", "issimple"))
  common.evaluate(c, a, "tallyqa", {"minitrain": "train[:5%]"}, "counting", fraction=0.1, **kw)
  common.evaluate(c, a, "tallyqa", {"test": "test"}, "counting", fraction=1/4, **kw)
  common.evaluate(c, a, "countbenchqa", {"test": "huggingface"}, "counting",
                  f"{prompt}|strfmt('{{number}}', outkey='answer')", keep=("answer",), fraction=0.1)
  common.perplexity(c, a, "tallyqa", {"minitrain": "train[:5%]", "test": "test"}, count,
                    fraction=0.1)
  return c
