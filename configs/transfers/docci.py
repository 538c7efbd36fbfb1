"""DOCCI: long, precise descriptions of photographs."""
from configs.transfers import common

# Learning rate and epochs are not published. Of the published figures nes is the share of sentences
# (in fraction) that people found not to follow from the image: no program gives it.
SETTINGS = {res: dict(epochs=10, lr=1e-5) for res in (224, 448)}
PUBLISHED = common.table("""
                      paligemma_3b  paligemma2_3b  paligemma2_10b
                               448            448             448
docci/test/chars               535            529             521
docci/test/sentences           8.9            7.7             7.5
docci/test/nes                34.3           28.4            20.3
""")


def get_config(arg=None):
  a = common.parse(arg, res=448, model="paligemma2_3b", text_len=512)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize(antialias=True)|{common.prompt('caption en')}"
  answer = f"{prompt}|copy('description', 'suffix')"
  c.input.mixture = [common.component(a, "docci", "train", answer)]
  splits = {"minitrain": "train[:5%]", "val": "qual_dev", "test": "test"}
  common.evaluate(c, a, "docci", splits, "caption",
                  f"{prompt}|reshape([1], inkey='description', outkey='captions')",
                  keep=("captions", "example_id"), lengths=True, prompt_len=16,
                  max_new_tokens=192, fraction=1/4)
  common.perplexity(c, a, "docci", splits, answer)
  return c
