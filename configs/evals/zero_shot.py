"""Sets that no transfer trains on: NoCaps, XM3600, xGQA, MaRVL, POPE, MMVP, CountBenchQA.

  configs/evals/zero_shot.py:res=448,model=paligemma2_3b     all of them
  configs/evals/zero_shot.py:sets=pope+mmvp                  some

The published scores are of models after the transfer to a task next to the set, TASKS: NoCaps after
COCO captions. To compare with them, run one set at a time, on the checkpoint of that transfer.
"""
from configs.evals import common
from configs.transfers import common as transfers
from pp.names import pick

TASKS = {"nocaps": "cococap", "xm3600": "coco35l", "xgqa": "gqa", "marvl": "nlvr2",
         "pope": "vqav2", "mmvp": "vqav2", "countbenchqa": "tallyqa"}
VARIANTS = ("", "res=448,model=paligemma2_10b", "sets=pope+mmvp", "res=896,sets=countbenchqa")


def get_config(arg=None):
  a = transfers.parse(arg, sets="+".join(TASKS))
  tasks = {name: pick(TASKS, name, "zero-shot set") for name in a.sets.split("+")}
  return common.suite(a, transfers.MODELS[a.model][1], tasks)
