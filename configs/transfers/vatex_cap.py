"""VATEX: captions of ten-second videos."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=10, lr=3e-6, wd=0.1, batch_size=128)}
PUBLISHED = common.table("""
                      pg1-224  3b-224 10b-224
vatex_cap/test/cider     79.7    80.8    82.7
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=64, num_frames=16, stride=7)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = f"{common.video(a)}|{common.prompt('caption en')}"
  c.input.mixture = [common.part(a, "vatex", "train+valid" if a.final_split else "train",
                                 f"{ask}|choice(inkey='captions', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "minival": "valid[:25%]", "val": "valid", "test": "test"}
  kw = dict(type="caption", pp=ask, keep=("video_id", "captions"),
            data="vatex", batch_size=128)
  for (alias, split), fraction in zip(splits.items(), (1/8, 1/4, None, None)):
    common.evaluate(c, a, "vatex_cap", {alias: split}, fraction=fraction, **kw)
  common.perplexity(c, a, "vatex_cap", {k: splits[k] for k in ("minitrain", "minival")},
                    f"{ask}|{common.first('captions')}", data="vatex", fraction=1/8)
  return c
