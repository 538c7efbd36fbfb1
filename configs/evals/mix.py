"""The mix checkpoints as they are: MMVP, POPE and GQA; no transfer.

  python -m evaluators.run --config configs/evals/mix.py:res=448 --workdir OUT \\
    --init google/paligemma-3b-mix-448

The scores are of PaliGemma's model card, which calls GQA's split test; here it is testdev. For the
mix checkpoints of PaliGemma 2 none are published.
"""
from configs.evals import common
from configs.transfers import common as transfers
from pp.names import pick

PUBLISHED = transfers.table("""
                           paligemma_3b
                             224    448
mmvp/test/pair_accuracy    46.00  45.33
pope/random/accuracy       88.00  89.37
pope/popular/accuracy      86.63  88.40
pope/adversarial/accuracy  85.67  87.47
gqa/testdev/accuracy       65.20  65.47
""")
TASKS = {"mmvp": "vqav2", "pope": "vqav2", "gqa/testdev": "gqa"}
VARIANTS = ("", "res=448", "res=448,model=paligemma2_28b")


def get_config(arg=None):
  a = transfers.parse(arg)
  _, name = pick(transfers.MODELS, a.model, "model")
  return common.suite(a, name.replace("-pt-", "-mix-"), TASKS,
                      transfers.at(PUBLISHED, a.model, a.res))
