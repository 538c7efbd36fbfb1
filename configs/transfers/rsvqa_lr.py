"""RSVQA, low resolution: questions on aerial images; without those that ask for numbers."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=3, lr=3e-6, label_smoothing=0.2) for res in (224, 448)}
PUBLISHED = common.table("""
                        pg1-224 pg1-448  3b-224 3b-448  10b-224 10b-448  28b-224 28b-448
rsvqa_lr/test/accuracy     92.6    93.1    93.0   92.7     92.8    93.1     93.5    93.7
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=32)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = f"lower(key='answers')|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.part(
      a, "rsvqa_lr/nonum", "train+val" if a.final_split else "train",
      f"{common.image(a, antialias=True)}|{ask}|"
      "choice_no_replacement(inkey='answers', outkey='suffix')")]
  # Evaluated without antialiasing, unlike training: so are the published scores.
  ask = f"{common.image(a)}|{ask}"
  common.evaluate(c, a, "rsvqa_lr", {"minitrain": "train[:1280]", "val": "val", "test": "test"},
                  "vqa", ask, data="rsvqa_lr/nonum",
                  keep=("answers", "question_type", "question_id"), rule="rsvqa", to_lower=True,
                  batch_size=1024, fraction=0.1)
  common.perplexity(c, a, "rsvqa_lr", {"minitrain": "train[:1280]", "val": "val"},
                    f"{ask}|{common.first('answers')}", data="rsvqa_lr/nonum", fraction=0.1)
  return c
