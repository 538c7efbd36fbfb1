"""MSRVTT-QA: questions on short videos."""
from configs.transfers import common

SETTINGS = {224: dict(epochs=1, lr=1e-5, batch_size=128, freeze_img=True)}
PUBLISHED = common.table("""
                         paligemma_3b  paligemma2_3b  paligemma2_10b
                                  224            224             224
msrvtt_qa/test/accuracy          50.1           50.5            51.9
""")


def get_config(arg=None):
  a = common.parse(arg, text_len=64, num_frames=16, stride=9)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  prompt = f"{common.video(a)}|{common.prompt('answer en {question}')}"
  common.video_task(c, a, "msrvtt_qa", "msrvtt/qa", "vqa", prompt,
                    answer="copy('answer', 'suffix')", keep=("answer", "question_id"),
                    metric="exact")
  return c
