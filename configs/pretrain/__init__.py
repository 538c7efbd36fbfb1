"""Pretraining of PaliGemma and PaliGemma 2 (arXiv 2407.07726, 2412.03555) on a pod of 256 TPU v5e.

  configs/pretrain/stage1.py               224 pixels, a billion examples, from SigLIP and Gemma
  configs/pretrain/stage2.py               448 pixels, 50 million more
  configs/pretrain/stage2.py:res=896       896 pixels, 10 million more, from the one before
  configs/pretrain/mix.py:res=448          a fine-tuned model for many tasks

tasks.py says which data they take and from which open sets it can be made.
"""
