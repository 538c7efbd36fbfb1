"""One file per task that PaliGemma and PaliGemma 2 were transferred to, in the published settings.

  python -m trainers.train --config configs/transfers/okvqa.py:model=paligemma2_10b --workdir W
"""
