"""VATEX: captions of ten-second videos."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=10, lr=3e-6, wd=0.1, batch_size=128)}
PUBLISHED = common.table("""
                      paligemma_3b  paligemma2_3b  paligemma2_10b
                               224            224             224
vatex_cap/test/cider          79.7           80.8            82.7
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=64, num_frames=16, stride=7)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"{common.video(a)}|{common.prompt('caption en')}"
  common.video_task(c, a, "vatex_cap", "vatex", "caption", prompt,
                    answer="choice(inkey='captions', outkey='suffix')",
                    fixed_answer=common.first("captions"), keep=("video_id", "captions"))
  return c
