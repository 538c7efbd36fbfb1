"""MSVD-QA: questions on short videos."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=1, lr=3e-6, wd=0.1, batch_size=128)}
PUBLISHED = common.table("""
                       paligemma_3b  paligemma2_3b  paligemma2_10b
                                224            224             224
msvd_qa/test/accuracy          60.2           61.1            62.5
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=64, num_frames=8, stride=26)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"{common.video(a)}|{common.prompt('answer en {question}')}"
  common.video_task(c, a, "msvd_qa", "msvd_qa", "vqa", prompt,
                    answer="copy('answer', 'suffix')", keep=("answer", "question_id"),
                    metric="exact")
  return c
