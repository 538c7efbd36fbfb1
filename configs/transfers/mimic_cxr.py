"""MIMIC-CXR: the findings and impression of a chest radiograph, given what it was taken for."""
from configs.transfers import common

SETTINGS = {res: dict(epochs=8, lr=5e-6) for res in (224, 448, 896)}  # lr: of 448
PUBLISHED = common.table("""
                            paligemma2_3b  paligemma2_10b
                                      896             896
mimic_cxr/test/cider                 19.9            17.4
mimic_cxr/test/bleu4                 14.6            15.0
mimic_cxr/test/rouge_l               31.9            32.4
mimic_cxr/test/radgraph_f1           28.8            29.5
""")


def get_config(arg=None):
  a = common.parse(arg, res=896, model="paligemma2_3b", text_len=512)
  c = common.transfer(a, SETTINGS, PUBLISHED, rates=None)
  # The report trained and scored without mentions of earlier studies, which an LLM took out.
  prompt = "decode|resize(antialias=True)|copy('indication', 'prefix')"
  answer = f"{prompt}|copy('report', 'suffix')"
  c.input.mixture = [common.component(a, "mimic_cxr/frontal", "train", answer)]
  splits = {"minitrain": "train[:1024]", "val": "validate", "test": "test"}
  common.evaluate(c, a, "mimic_cxr", splits, "caption",
                  f"{prompt}|reshape([1], inkey='report', outkey='captions')",
                  data="mimic_cxr/frontal", keep=("captions", "dicom_id"), prompt_len=128,
                  batch_size=64, fraction=1/8)
  common.perplexity(c, a, "mimic_cxr", splits, answer, data="mimic_cxr/frontal")
  return c
