"""VQAv2: questions on photographs; evaluated on POPE (hallucination) and MMVP (details) too."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=10, lr=1e-5, wd=0.1), 448: dict(epochs=10, lr=1e-5)}
PUBLISHED = common.table("""
                           paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                             224    448      224   448       224   448       224   448
vqav2/minival/accuracy      82.1   84.6     83.0  84.8      84.3  85.8      84.5  85.8
vqav2/test/accuracy         83.2   85.6        -     -         -     -         -     -
pope/random/accuracy       87.80  88.23        -     -         -     -         -     -
pope/popular/accuracy      85.87  86.77        -     -         -     -         -     -
pope/adversarial/accuracy  84.27  85.90        -     -         -     -         -     -
pope/avg3/accuracy          86.0   87.0        -     -         -     -         -     -
mmvp/test/pair_accuracy     47.3   45.3        -     -         -     -         -     -
""")
POPE = ("random", "popular", "adversarial")


def get_config(arg=None):
  a = common.parse(arg)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  image = "decode|resize(antialias=True)"
  prompt = f"{image}|{common.prompt('answer en {question_text}')}"
  c.input.mixture = [common.component(
      a, "vqav2", "train+validation" if a.train_on_val else "train+validation[:-10240]",
      f"{prompt}|choice_no_replacement(inkey='answers', outkey='suffix')")]
  common.evaluate(c, a, "vqav2", {"minitrain": "train[:5120]", "minival": "validation[-10240:]"},
                  "vqa", prompt, keep=("answers", "answer_type", "question_type", "question_id"),
                  metric="vqav2", batch_size=1024, fraction=1/4)
  common.evaluate(c, a, "vqav2", {"test": "test"}, "submission", prompt, keep=("question_id",),
                  format="vqav2", batch_size=1024)
  common.perplexity(
      c, a, "vqav2", {"minitrain": "train[:20_864]", "minival": "validation[-10240:]"},
      f"{prompt}|{common.first('answers')}", fraction=1/4)
  for kind in POPE:  # asked without "answer en" and antialiasing, as released
    common.evaluate(c, a, "pope", {kind: "test"}, "vqa",
                    f"decode|resize|{common.prompt('{question}')}", data=f"pope/{kind}",
                    keep=("answer", "question_id"), metric="pope", max_new_tokens=48)
  common.evaluate(c, a, "mmvp", {"test": "test"}, "vqa",
                  f"{image}|{common.prompt('answer en {question} {options}')}",
                  keep=("answer", "choices", "pair"), metric="mmvp")
  common.mean(c, "pope/avg3", [f"pope/{kind}" for kind in POPE], "accuracy")
  return c
