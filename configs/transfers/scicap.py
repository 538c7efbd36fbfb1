"""SciCap: captions of figures in scientific papers, their first sentence, normalised."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=80, lr=3e-5, label_smoothing=0.1, dropout=0.1) for res in (224, 448)}
RATES = dict.fromkeys(common.RATES, 3e-5)  # best for every model, unlike in all other tasks
PUBLISHED = common.table("""
                   paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                     224    448     224    448      224    448      224    448
scicap/test/cider  162.3  181.5   165.1  183.3    159.5  177.2    156.9  172.7
scicap/test/bleu4   19.2   21.1       -      -        -      -        -      -
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=96)
  c = common.transfer(a, SETTINGS, PUBLISHED, RATES)
  caption = "caption/lowercase_and_token_and_remove_figure_index"
  prompt = f"decode|resize|{common.prompt('caption en')}"
  answer = f"{prompt}|copy('{caption}', 'suffix')"
  name = "scicap/first_sentence_subfig_no"
  c.input.mixture = [common.component(a, name, "train+val" if a.train_on_val else "train", answer)]
  splits = {"minitrain": "train[:5%]", "val": "val", "test": "test"}
  common.evaluate(c, a, "scicap", splits, "caption",
                  f"{prompt}|reshape([1], inkey='{caption}', outkey='captions')", data=name,
                  keep=("image/id", "captions"), batch_size=1024, fraction=0.3)
  common.perplexity(c, a, "scicap", splits, answer, data=name)
  return c
