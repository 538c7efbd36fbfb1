"""TextVQA: questions on text in photographs."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=5, lr=3e-6), 448: dict(epochs=10, lr=3e-6, wd=0.1),
            896: dict(epochs=10, lr=3e-6)}
PUBLISHED = common.table("""
                       pg1-224 pg1-448 pg1-896 3b-224 3b-448 10b-224 10b-448 28b-224 28b-448
textvqa/val/accuracy      59.0    74.6       -   59.6   75.2    64.0    76.6    64.7    76.2
textvqa/test/accuracy     55.5    73.2    76.5      -      -       -       -       -       -
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=32)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = f"{common.image(a, antialias=True)}|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.part(a, "textvqa", "train+val" if a.final_split else "train",
                                 f"{ask}|choice_no_replacement(inkey='answers', outkey='suffix')")]
  common.evaluate(c, a, "textvqa", {"minitrain": "train[:5120]", "val": "val"}, "vqa", ask,
                  keep=("answers", "question_id"), rule="textvqa", fraction=1/8)
  common.evaluate(c, a, "textvqa", {"test": "test"}, "store", ask, keep=("question_id",),
                  format="textvqa")
  common.perplexity(c, a, "textvqa", {"minitrain": "train[:5%]", "val": "val"},
                    f"{ask}|{common.first('answers')}")
  return c
