"""ScienceQA: multiple-choice questions from school science, those with an image."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=20, lr=1e-5, batch_size=128, freeze_img=True) for res in (224, 448)}
PUBLISHED = common.table("""
                          paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                             224   448      224   448       224   448       224   448
science_qa/test/accuracy    95.4  95.9     96.1  96.2      98.2  98.5      98.2  98.6
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=512)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  image = "decode|resize"
  prompt = common.prompt(
      "Question: {question}\nContext: {hint}\nOptions: {indexed_choices}\nAnswer:")
  answer = "strfmt('The answer is {{indexed_answer}}.', outkey='{}')".format
  c.input.mixture = [common.component(
      a, "science_qa", "train+val" if a.train_on_val else "train",
      f"{image}|sci_qa_choices_shuffle|{prompt}|{answer('suffix')}")]
  splits = {"minitrain": "train[:5%]", "val": "val", "test": "test"}
  # The rule compares the letters in "The answer is (letter)."
  common.evaluate(c, a, "science_qa", splits, "vqa", f"{image}|{prompt}|{answer('answer')}",
                  keep=("answer",), metric="science_qa", batch_size=1024, fraction=1/8)
  common.perplexity(c, a, "science_qa", {k: splits[k] for k in ("minitrain", "val")},
                    f"{image}|{prompt}|{answer('suffix')}")
  return c
