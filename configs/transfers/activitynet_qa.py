"""ActivityNet-QA: questions on videos."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=1, lr=1e-5, wd=0.1, batch_size=128)}
PUBLISHED = common.table("""
                              paligemma_3b  paligemma2_3b  paligemma2_10b
                                       224            224             224
activitynet_qa/test/accuracy          50.8           51.3            53.2
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=64, num_frames=16, stride=70)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"{common.video(a)}|{common.prompt('answer en {question}')}"
  common.video_task(c, a, "activitynet_qa", "activitynet/qa", "vqa", prompt,
                    answer="copy('answer', 'suffix')", keep=("answer", "question_id"),
                    metric="exact")
  return c
