"""MSR-VTT: captions of short videos."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=20, lr=1e-5, batch_size=128, freeze_img=True)}
PUBLISHED = common.table("""
                       pg1-224  3b-224 10b-224
msrvtt_cap/test/cider     70.5    68.5    72.1
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=32, num_frames=16, stride=9)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  ask = f"{common.video(a)}|{common.prompt('caption en')}"
  c.input.mixture = [common.part(a, "msrvtt/cap", "train+valid" if a.final_split else "train",
                                 f"{ask}|choice(inkey='captions', outkey='suffix')")]
  splits = {"minitrain": "train[:5%]", "minival": "valid[:25%]", "val": "valid", "test": "test"}
  kw = dict(type="caption", pp=ask, keep=("video_id", "captions"),
            data="msrvtt/cap", batch_size=128)
  for (alias, split), fraction in zip(splits.items(), (1/8, 1/4, None, None)):
    common.evaluate(c, a, "msrvtt_cap", {alias: split}, fraction=fraction, **kw)
  common.perplexity(c, a, "msrvtt_cap", {k: splits[k] for k in ("minitrain", "minival")},
                    f"{ask}|{common.first('captions')}", data="msrvtt/cap", fraction=1/8)
  return c
