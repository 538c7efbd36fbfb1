"""SigLIP as it is: zero-shot ImageNet, and retrieval on COCO, Flickr30k and XM3600; no training.

  python -m evaluators.run --config configs/evals/siglip.py:sets=coco --workdir OUT \\
    --init google/siglip2-base-patch16-256
  configs/evals/siglip.py:model=siglip2_l16_512,sets=imagenet,class_names=imagenet.txt

model: big_vision's name. class_names: a file with OpenAI's names of ImageNet's classes, one a line
(https://github.com/openai/CLIP, notebooks).
"""
from big_vlm.datasets.xm3600 import LANGUAGES
from big_vlm.families.siglip import presets
from configs import common
from configs.evals import siglip_scores
from configs.transfers import common as transfers
from pp.names import pick

SETS = dict.fromkeys(("imagenet", "coco", "flickr30k", "xm3600"))
MODELS = {name: config for name, uri, config in presets.released()
          if uri.startswith("gs:") and not config["img"].get("naflex")}
VARIANTS = ("", "model=siglip2_so400m14_384", "model=webli_en_l16_256_60552751,sets=coco+flickr30k")


def get_config(arg=None):
  a = transfers.parse(arg, model="siglip2_b16_256", sets="+".join(SETS),
                      class_names="imagenet_classes.txt")
  chosen = [pick(dict(zip(SETS, SETS)), name, "set of images") for name in a.sets.split("+")]
  c = common.train()
  model = pick(MODELS, a.model, "SigLIP with published scores")
  c.init.model, side = a.model, model["img"]["image_size"]
  c.model.update({part: dict(value) for part, value in model.items() if value})
  retrieval = lambda data, split: dict(
      type="retrieval", data=transfers.source(a, data, split), batch_size=256,
      pp="decode|resize|keep('image', 'image/id', 'captions')")
  if "imagenet" in chosen:
    c.evals.imagenet = dict(
        type="zero_shot_classification", data=transfers.source(a, "imagenet", "val"),
        pp=f"decode|resize({int(side / 0.875)})|central_crop({side})|keep('image', 'label')",
        class_names=a.class_names, same_names="first", batch_size=256)
  if "coco" in chosen:
    c.evals.coco = retrieval("cococap", "test")
  if "flickr30k" in chosen:
    c.evals.flickr30k = retrieval("flickr30k", "test")
  if "xm3600" in chosen:
    c.evals.update({f"xm3600/{lang}": retrieval("xm3600", lang) for lang in LANGUAGES})
    for way in ("txt2img", "img2txt"):
      transfers.mean(c, f"xm3600/{way}", [f"xm3600/{lang}" for lang in LANGUAGES],
                     f"{way}_recall@1")
  scores = siglip_scores.of(a.model)
  c.published.update({k: v for k, v in scores.items() if k.rpartition("/")[0] in c.evals})
  return c
