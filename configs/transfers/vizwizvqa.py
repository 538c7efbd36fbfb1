"""VizWiz-VQA: questions that blind people asked about their own photographs."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=10, lr=1e-5) for res in (224, 448)}
PUBLISHED = common.table("""
                         paligemma_3b  paligemma2_3b  paligemma2_10b  paligemma2_28b
                            224   448      224   448       224   448       224   448
vizwizvqa/val/accuracy     76.4     -     76.4  77.5      78.1  78.6      78.7  78.9
vizwizvqa/test/accuracy    73.7  75.5        -     -         -     -         -     -
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=48)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  # The data set leaves empty answers out: a question may have none.
  prompt = f"setdefault('answers', '')|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.component(
      a, "vizwizvqa", "train+val" if a.train_on_val else "train",
      f"decode|resize(antialias=True)|{prompt}|"
      "choice_no_replacement(inkey='answers', outkey='suffix')")]
  # Evaluated without antialiasing, unlike training: so are the published scores.
  prompt, splits = f"decode|resize|{prompt}", {"minitrain": "train[:5120]", "val": "val"}
  for (alias, split), fraction in zip(splits.items(), (1/8, 0.1)):
    common.evaluate(c, a, "vizwizvqa", {alias: split}, "vqa", prompt, metric="vizwiz",
                    keep=("answers", "image/filename"), batch_size=1024, fraction=fraction)
  common.evaluate(c, a, "vizwizvqa", {"test": "test"}, "submission", prompt,
                  keep=("image/filename",), format="vizwiz", batch_size=1024)
  common.perplexity(c, a, "vizwizvqa", {"minitrain": "train", "val": "val"},
                    f"{prompt}|{common.first('answers')}", fraction=1/8)
  return c
