"""A-OKVQA, direct answers: questions that need outside knowledge, with ten answers each."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=10, lr=5e-6, batch_size=128) for res in (224, 448)}
PUBLISHED = common.table("""
                         paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                            224   448      224   448       224   448       224   448
aokvqa_da/val/accuracy     61.1  65.7     64.2  67.9      68.9  70.8      70.2  71.2
aokvqa_da/test/accuracy    61.9  63.2        -     -         -     -         -     -
""")


def get_config(arg=None):
  a = common.parse(arg)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize(antialias=True)|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.component(
      a, "aokvqa", "train+val" if a.train_on_val else "train",
      f"{prompt}|choice_no_replacement(inkey='direct_answers', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "val": "val"}
  kw = dict(data="aokvqa", pp=f"{prompt}|copy('direct_answers', 'answers')")
  common.evaluate(c, a, "aokvqa_da", splits, "vqa", metric="aokvqa_da", fraction=1/4,
                  keep=("answers", "direct_answer_is_difficult", "question_id"), **kw)
  common.evaluate(c, a, "aokvqa_da", {"test": "test"}, "submission", keep=("question_id",),
                  format="aokvqa_da", **kw)
  common.perplexity(c, a, "aokvqa_da", splits, f"{prompt}|{common.first('direct_answers')}",
                    data="aokvqa")
  return c
