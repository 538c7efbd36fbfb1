"""ActivityNet Captions: captions of segments of videos."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=1, lr=1e-5, wd=0.1, batch_size=128, freeze_img=True)}
PUBLISHED = common.table("""
                            paligemma_3b  paligemma2_3b  paligemma2_10b
                                     224            224             224
activitynet_cap/test/cider          34.6           34.2            35.9
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=64, num_frames=16, stride=30)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  segment = "start='segment_start', end='segment_end'"
  prompt = f"{common.video(a, segment)}|{common.prompt('caption en')}"
  common.video_task(c, a, "activitynet_cap", "activitynet/cap", "caption", prompt,
                    answer="choice(inkey='captions', outkey='suffix')",
                    fixed_answer=common.first("captions"), keep=("segment_id", "captions"))
  return c
