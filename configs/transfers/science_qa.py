"""ScienceQA: multiple-choice questions from school science, those with an image."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=20, lr=1e-5, batch_size=128, freeze_img=True) for res in (224, 448)}
PUBLISHED = common.table("""
                          pg1-224 pg1-448  3b-224 3b-448  10b-224 10b-448  28b-224 28b-448
science_qa/test/accuracy     95.4    95.9    96.1   96.2     98.2    98.5     98.2    98.6
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=512)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  image = common.image(a)
  ask = common.prompt("Question: {question}\nContext: {hint}\nOptions: {indexed_choices}\nAnswer:")
  answer = "strfmt('The answer is {{indexed_answer}}.', outkey='{}')".format
  c.input.mixture = [common.part(
      a, "science_qa", "train+val" if a.final_split else "train",
      f"{image}|sci_qa_choices_shuffle|{ask}|{answer('suffix')}")]
  splits = {"minitrain": "train[:5%]", "val": "val", "test": "test"}
  # The rule compares the letters in "The answer is (letter)."
  common.evaluate(c, a, "science_qa", splits, "vqa", f"{image}|{ask}|{answer('answer')}",
                  keep=("answer",), rule="science_qa", batch_size=1024, fraction=1/8)
  common.perplexity(c, a, "science_qa", {k: splits[k] for k in ("minitrain", "val")},
                    f"{image}|{ask}|{answer('suffix')}")
  return c
