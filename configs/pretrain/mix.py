"""The mix models: one model for many tasks, fine-tuned at 224 or 448 pixels.

Which tasks, in what proportion and for how long is not published. Here are the transfers of single
images, all with a task word in the prompt, by the square root of their size in thousands of
examples.
"""
import importlib

from configs.transfers import common, gqa, vqav2

SETTINGS = {res: dict(examples=10e6, lr=1e-5, batch_size=1024) for res in (224, 448)}
PUBLISHED = common.table("""
                           paligemma_3b
                             224    448
pope/random/accuracy       88.00  89.37
pope/popular/accuracy      86.63  88.40
pope/adversarial/accuracy  85.67  87.47
mmvp/test/pair_accuracy    46.00  45.33
gqa/testdev/accuracy       65.20  65.47
""")
TASKS = dict(
    ai2d=3, aokvqa_da=4, aokvqa_mc=4, chartqa=5, coco35l=20, coco_detection=11, cococap=11, docci=3,
    docvqa=6, gqa=31, infovqa=5, ocrvqa=28, okvqa=3, refcoco_seg=10, rsvqa_hr=25, rsvqa_lr=8,
    science_qa=3, scicap=10, screen2words=4, stvqa=5, tallyqa=16, textcaps=5, textvqa=6,
    vizwizvqa=5, vqav2=25, widgetcap=7)
PREFIXES = dict(chartqa="answer en ", docvqa="answer en ", refcoco_seg="segment ")
EVALS = ("pope/", "mmvp/", "gqa/testdev")


def get_config(arg=None):
  a = common.parse(arg, text_len=0)
  a.text_len = a.text_len or (256 if a.res == 224 else 512)
  c = common.transfer(a, SETTINGS, PUBLISHED)
  given = ",".join(f"{k}={v}" for k, v in vars(a).items() if v is not None and k != "res")
  for name, weight in TASKS.items():
    args = f"{given},res={a.res}"
    args += f",prompt_prefix={PREFIXES[name]}" if name in PREFIXES else ""
    module = importlib.import_module(f"configs.transfers.{name}")
    c.input.mixture += components(module, args, weight)
  for module in (vqav2, gqa):
    evals = module.get_config(f"{given},res={a.res}").evals.to_dict()
    c.evals.update({k: v for k, v in evals.items() if k.startswith(EVALS)})
  return c


def components(module, args, weight):
  """The mixture components of a transfer, whose weights add up to `weight`."""
  found = module.get_config(args).input.mixture
  total = sum(each.get("weight", 1.) for each in found)
  return [{**each, "weight": weight * each.get("weight", 1.) / total} for each in found]
