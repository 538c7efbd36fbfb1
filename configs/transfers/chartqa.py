"""ChartQA: questions on charts, written by people (human) and made by a model (augmented)."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=30, lr=1e-5, wd=0.1, label_smoothing=0.2, dropout=0.1)
            for res in (224, 448)}
PUBLISHED = common.table("""
                                        paligemma_3b paligemma2_3b paligemma2_10b paligemma2_28b
                                           224   448      224  448       224  448       224  448
chartqa/human/test/relaxed_accuracy       40.0  54.2     42.0 54.0      48.4 66.4      46.8 61.3
chartqa/augmented/test/relaxed_accuracy   74.2  88.5     74.4 89.2      74.2 90.1      68.9 85.1
chartqa/mean/relaxed_accuracy            57.08 71.36        -    -         -    -         -    -
""")
SIZES = {"human": 7398, "augmented": 20901}  # a component weighs by its examples


def get_config(arg=None):
  a = common.parse(arg, text_len=48, prompt_prefix="")  # the bare question
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"decode|resize(antialias=True)|{common.prompt(a.prompt_prefix + '{question}')}"
  answer = f"{prompt}|copy('answer', 'suffix')"
  c.input.mixture = [common.component(
      a, f"chartqa/{kind}", "train+val" if a.train_on_val else "train",
      answer, weight=float(size)) for kind, size in SIZES.items()]
  splits = {"minitrain": "train[:5%]", "val": "val", "test": "test"}
  for kind in SIZES:
    common.evaluate(c, a, f"chartqa/{kind}", splits, "vqa", prompt, keep=("answer", "question_id"),
                    metric="relaxed", to_lower=True, batch_size=1024, fraction=0.1)
    common.perplexity(c, a, f"chartqa/{kind}", splits, answer)
  common.mean(c, "chartqa/mean", [f"chartqa/{kind}/test" for kind in SIZES], "relaxed_accuracy")
  return c
