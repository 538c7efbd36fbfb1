"""OCR-VQA: questions on book covers."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=3, lr=lr, batch_size=128)
            for res, lr in ((224, 3e-6), (448, 3e-6), (896, 1e-5))}
PUBLISHED = common.table("""
                       pg1-224 pg1-448 pg1-896 3b-224 3b-448 10b-224 10b-448 28b-224 28b-448
ocrvqa/test/accuracy      72.3    74.6    74.9   73.4   75.7    74.7    76.3    75.3    76.6
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=32)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = f"{common.image(a, antialias=True)}|{common.prompt('answer en {question}')}"
  answer = f"{ask}|copy('answer', 'suffix')"
  # The validation split has 100,000 questions: more than are needed to validate.
  c.input.mixture = [common.part(a, "ocrvqa", "train+val" if a.final_split
                                 else "train+val[20_000:]", answer)]
  splits = {"minitrain": "train[:5120]", "minival": "val[:20_000]", "test": "test"}
  for (alias, split), fraction in zip(splits.items(), (1/8, 1/4, None)):
    common.evaluate(c, a, "ocrvqa", {alias: split}, "vqa", ask, keep=("answer", "int_id"),
                    rule="exact", to_lower=True, fraction=fraction)
  common.perplexity(c, a, "ocrvqa", splits, answer, fraction=0.1)
  return c
