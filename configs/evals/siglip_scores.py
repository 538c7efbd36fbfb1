"""Published scores of SigLIP and SigLIP 2 (arXiv 2502.14786, table 1), in percent.

Those of XM3600 are means over its 36 languages.
"""
METRICS = ("imagenet/accuracy", "coco/txt2img_recall@1", "coco/img2txt_recall@1",
           "xm3600/txt2img/txt2img_recall@1", "xm3600/img2txt/img2txt_recall@1")
PUBLISHED = """
webli_en_b16_224_63724782         76.2 47.2 64.5 22.4 29.3
webli_en_b16_256_60500360         76.7 47.4 65.1 22.5 29.9
webli_en_b16_384_68578854         78.6 49.7 67.5 23.3 30.3
webli_en_b16_512_68580893         79.2 50.4 67.6 23.5 30.5
webli_en_l16_256_60552751         80.5 51.2 69.6 30.9 40.1
webli_en_l16_384_63634585         82.1 52.8 70.5 31.4 39.7
webli_en_so400m_224_57633886      82.2 50.8 69.0 16.0 22.8
webli_en_so400m_384_58765454      83.2 52.0 70.2 17.8 26.6
webli_i18n_so400m_16_256_78061115 80.8 49.4 68.6 50.0 62.8
siglip2_b32_256                   74.0 47.2 63.7 38.3 49.0
siglip2_b16_224                   78.2 52.1 68.9 40.3 50.7
siglip2_b16_256                   79.1 53.2 69.7 40.7 51.0
siglip2_b16_384                   80.6 54.6 71.4 41.2 51.6
siglip2_b16_512                   81.2 55.2 71.2 41.4 52.0
siglip2_l16_256                   82.5 54.7 71.5 46.5 56.5
siglip2_l16_384                   83.1 55.3 71.4 47.1 56.3
siglip2_l16_512                   83.5 55.2 72.1 47.4 56.7
siglip2_so400m14_224              83.2 55.1 71.5 47.9 57.5
siglip2_so400m14_384              84.1 55.8 71.7 48.4 57.5
siglip2_so400m16_256              83.4 55.4 71.5 48.1 57.5
siglip2_so400m16_384              84.1 56.0 71.2 48.3 57.5
siglip2_so400m16_512              84.3 56.0 71.3 48.3 57.6
siglip2_g-opt16_256               84.5 55.7 72.5 48.2 58.2
siglip2_g-opt16_384               85.0 56.1 72.8 48.6 57.9
"""


def of(model):
  """{metric: score} of a model by big_vision's name; {} where none is known."""
  rows = (line.split() for line in PUBLISHED.strip().splitlines())
  scores = {name: map(float, values) for name, *values in rows}
  return dict(zip(METRICS, scores.get(model, ())))
