"""MSR-VTT: captions of short videos."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=20, lr=1e-5, batch_size=128, freeze_img=True)}
PUBLISHED = common.table("""
                       paligemma_3b  paligemma2_3b  paligemma2_10b
                                224            224             224
msrvtt_cap/test/cider          70.5           68.5            72.1
""")


def get_config(arg=None):
  a = common.parse(arg, num_frames=16, stride=9)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"{common.video(a)}|{common.prompt('caption en')}"
  common.video_task(c, a, "msrvtt_cap", "msrvtt/cap", "caption", prompt,
                    answer="choice(inkey='captions', outkey='suffix')",
                    fixed_answer=common.first("captions"), keep=("video_id", "captions"))
  return c
