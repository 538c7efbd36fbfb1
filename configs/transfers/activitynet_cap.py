"""ActivityNet Captions: captions of segments of videos."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=1, lr=1e-5, wd=0.1, batch_size=128, freeze_img=True)}
PUBLISHED = common.table("""
                            pg1-224  3b-224 10b-224
activitynet_cap/test/cider     34.6    34.2    35.9
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=64, num_frames=16, stride=30)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  segment = "start='segment_start', end='segment_end'"
  ask = f"{common.video(a, segment)}|{common.prompt('caption en')}"
  c.input.mixture = [common.part(a, "activitynet/cap", "train+valid" if a.final_split else "train",
                                 f"{ask}|choice(inkey='captions', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "minival": "valid[:25%]", "val": "valid", "test": "test"}
  kw = dict(type="caption", pp=ask, keep=("segment_id", "captions"),
            data="activitynet/cap", batch_size=128)
  for (alias, split), fraction in zip(splits.items(), (1/8, 1/4, None, None)):
    common.evaluate(c, a, "activitynet_cap", {alias: split}, fraction=fraction, **kw)
  common.perplexity(c, a, "activitynet_cap", {k: splits[k] for k in ("minitrain", "minival")},
                    f"{ask}|{common.first('captions')}", data="activitynet/cap", fraction=1/8)
  return c
