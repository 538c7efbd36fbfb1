"""ActivityNet-QA: questions on videos."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=1, lr=1e-5, wd=0.1, batch_size=128)}
PUBLISHED = common.table("""
                              pg1-224  3b-224 10b-224
activitynet_qa/test/accuracy     50.8    51.3    53.2
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=64, num_frames=16, stride=70)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = f"{common.video(a)}|{common.prompt('answer en {question}')}"
  c.input.mixture = [common.part(a, "activitynet/qa", "train+valid" if a.final_split else "train",
                                 f"{ask}|copy('answer', 'suffix')")]
  splits = {"minitrain": "train[:5%]", "minival": "valid[:25%]", "val": "valid", "test": "test"}
  kw = dict(type="vqa", pp=ask, keep=("answer", "question_id"), rule="exact",
            data="activitynet/qa", batch_size=128)
  for (alias, split), fraction in zip(splits.items(), (1/8, 1/4, None, None)):
    common.evaluate(c, a, "activitynet_qa", {alias: split}, fraction=fraction, **kw)
  common.perplexity(c, a, "activitynet_qa", {k: splits[k] for k in ("minitrain", "minival")},
                    f"{ask}|copy('answer', 'suffix')", data="activitynet/qa", fraction=1/8)
  return c
