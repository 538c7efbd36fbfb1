"""GrandStaff: the notes of a system of piano music, as kern."""
from configs.transfers import common

SETTINGS = {res: dict(steps=30_000, lr=1e-4, label_smoothing=0.1) for res in (224, 448, 896)}
PUBLISHED = common.table("""
                     paligemma2_3b
                               896
grandstaff/test/cer            1.6
grandstaff/test/ser            2.3
grandstaff/test/ler            6.7
""")


def get_config(arg=None):
  a = common.parse(arg, res=896, model="paligemma2_3b", text_len=1024)
  c = common.transfer(a, SETTINGS, PUBLISHED, rates=None)
  # The report has no example of the prompt.
  prompt = f"decode|resize(antialias=True)|{common.prompt('music')}"
  answer = f"{prompt}|copy('bekern', 'suffix')"
  c.input.mixture = [common.component(a, "grandstaff", "train", answer)]
  splits = {"minitrain": "train[:512]", "val": "val", "test": "test"}
  common.evaluate(c, a, "grandstaff", splits, "sequence_error",
                  f"{prompt}|copy('bekern', 'answer')", keep=("answer", "image/id"),
                  prompt_len=16, batch_size=64, fraction=0.1)
  common.perplexity(c, a, "grandstaff", splits, answer)
  return c
