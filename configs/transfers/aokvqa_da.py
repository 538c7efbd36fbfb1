"""A-OKVQA, direct answers: questions that need outside knowledge, with ten answers each."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=10, lr=5e-6, batch_size=128) for res in (224, 448)}
PUBLISHED = common.table("""
                         pg1-224 pg1-448  3b-224 3b-448  10b-224 10b-448  28b-224 28b-448
aokvqa_da/val/accuracy      61.1    65.7    64.2   67.9     68.9    70.8     70.2    71.2
aokvqa_da/test/accuracy     61.9    63.2       -      -        -       -        -       -
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=32)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = f"{common.image(a, antialias=True)}|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.part(
      a, "aokvqa", "train+val" if a.final_split else "train",
      f"{ask}|choice_no_replacement(inkey='direct_answers', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "val": "val"}
  kw = dict(data="aokvqa", pp=f"{ask}|copy('direct_answers', 'answers')")
  common.evaluate(c, a, "aokvqa_da", splits, "vqa", rule="aokvqa_da", fraction=1/4,
                  keep=("answers", "direct_answer_is_difficult", "question_id"), **kw)
  common.evaluate(c, a, "aokvqa_da", {"test": "test"}, "store", keep=("question_id",),
                  format="aokvqa_da", **kw)
  common.perplexity(c, a, "aokvqa_da", splits, f"{ask}|{common.first('direct_answers')}",
                    data="aokvqa")
  return c
