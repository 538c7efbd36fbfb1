"""OCR-VQA: questions on book covers."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=3, lr=lr, batch_size=128)
            for res, lr in ((224, 3e-6), (448, 3e-6), (896, 1e-5))}
PUBLISHED = common.table("""
                          paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                       224   448   896      224   448       224   448       224   448
ocrvqa/test/accuracy  72.3  74.6  74.9     73.4  75.7      74.7  76.3      75.3  76.6
""")


def get_config(arg=None):
  a = common.parse(arg)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize(antialias=True)|{common.prompt('answer en {question}')}"
  answer = f"{prompt}|copy('answer', 'suffix')"
  # The validation split has 100,000 questions: more than are needed to validate.
  c.input.mixture = [common.component(a, "ocrvqa", "train+val" if a.train_on_val
                                      else "train+val[20_000:]", answer)]
  splits = {"minitrain": "train[:5120]", "minival": "val[:20_000]", "test": "test"}
  for (alias, split), fraction in zip(splits.items(), (1/8, 1/4, None)):
    common.evaluate(c, a, "ocrvqa", {alias: split}, "vqa", prompt, keep=("answer", "int_id"),
                    metric="exact", to_lower=True, fraction=fraction)
  common.perplexity(c, a, "ocrvqa", splits, answer, fraction=0.1)
  return c
