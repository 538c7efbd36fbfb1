"""A-OKVQA, multiple choice: questions that need outside knowledge, with four options."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=15, lr=5e-6, batch_size=128) for res in (224, 448)}
PUBLISHED = common.table("""
                         paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                            224   448      224   448       224   448       224   448
aokvqa_mc/val/accuracy     78.5  80.3     79.7  82.5      83.7  85.9      84.7  87.0
aokvqa_mc/test/accuracy    76.4  76.9        -     -         -     -         -     -
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=128)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  options = "multiple_choice_possible_answers"
  right = lambda key: f"getidx('{options}', 'multiple_choice_correct_idx', outkey='{key}')"
  prompt = (f"decode|resize(antialias=True)|strjoin(' \\t ', inkey='{options}', outkey='options')|"
            + common.prompt("answer en  {question} choose from: {options}"))
  c.input.mixture = [common.component(a, "aokvqa", "train+val" if a.train_on_val else "train",
                                      f"{prompt}|{right('suffix')}")]
  splits = {"minitrain": "train[:5%]", "val": "val"}
  common.evaluate(c, a, "aokvqa_mc", splits, "vqa", f"{prompt}|{right('answer')}", data="aokvqa",
                  keep=("answer", options, "multiple_choice_correct_idx", "question_id"),
                  metric="aokvqa_mc", fraction=1/4)
  # The test split tells no right option, so none is looked up.
  common.evaluate(c, a, "aokvqa_mc", {"test": "test"}, "submission", prompt, data="aokvqa",
                  keep=("question_id",), format="aokvqa_mc")
  common.perplexity(c, a, "aokvqa_mc", splits, f"{prompt}|{right('suffix')}", data="aokvqa")
  return c
