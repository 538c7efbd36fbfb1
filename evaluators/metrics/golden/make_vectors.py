"""Writes vectors.npz: what big_vision's evaluators of vectors say of random ones.

  python make_vectors.py BIG_VISION     a checkout of google-research/big_vision 0127fb6

  retrieval: zi [30, 8], zt [81, 8], owner [81] of the texts; img2txt, txt2img: recall@1, 5, 10
  zero_shot: prompts [7 * 3, 8], classes [7, 8]: the mean vector of each class
  few_shot: train [60, 8], train_labels, test, test_labels; accuracy [seed, shots, l2] for SHOTS, L2
  templates: SHA-256 of the sorted templates of "clip_paper", "clip_best"

Its functions are run as they are; TensorFlow, which they only import, is a mock.
"""
import hashlib
import pathlib
import sys
from unittest import mock

import numpy as np

SHOTS, L2, SEEDS = (1, 3, 5, 12), (1., 2.**10), 3


def unit(x):
  return x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-8)


def main(checkout):
  sys.path.insert(0, checkout)
  for name in ("tensorflow", "tensorflow.io", "tensorflow.io.gfile", "tensorflow_datasets",
               "einops"):
    sys.modules[name] = mock.MagicMock()
  from big_vision.evaluators import fewshot_lsr
  from big_vision.evaluators.proj.image_text import discriminative_classifier as zero_shot
  from big_vision.evaluators.proj.image_text import image_text_retrieval as retrieval
  from big_vision.evaluators.proj.image_text import prompt_engineering_constants as prompts

  rng, out = np.random.default_rng(0), {}
  normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
  owner = np.concatenate([np.arange(30), rng.integers(0, 30, 51)])
  owner.sort()
  zi = normal(30, 8)
  zt = unit(zi[owner] + 1.5 * normal(81, 8))
  zi = unit(zi)
  similarity = np.dot(zi, zt.T)
  out.update(
      zi=zi, zt=zt, owner=owner,
      img2txt=list(retrieval.image_to_text_retrieval_eval(-similarity, owner).values()),
      txt2img=list(retrieval.text_to_image_retrieval_eval(-similarity, owner).values()))

  vectors = unit(normal(21, 8))
  out.update(prompts=vectors, classes=zero_shot._average_embeddings(
      vectors, labels=np.repeat(np.arange(7), 3), num_classes=7, normalize=True))

  labels, test_labels = rng.integers(0, 6, 60), rng.integers(0, 6, 200)
  centres = normal(6, 8)
  train = centres[labels] + normal(60, 8)
  test = centres[test_labels] + normal(200, 8)
  accuracy = np.zeros((SEEDS, len(SHOTS), len(L2)))
  for k, l2 in enumerate(L2):
    embedded = {"set": (train, labels, test, test_labels, 6)}
    evaluator = mock.Mock(shots=SHOTS, l2_reg=l2, _repr=embedded)
    for seed in range(SEEDS):
      found = fewshot_lsr.Evaluator.compute_fewshot_metrics(evaluator, None, seed, "set", "", "")
      accuracy[seed, :, k] = [found[shots] for shots in SHOTS]
  out.update(train=train, train_labels=labels, test=test, test_labels=test_labels,
             accuracy=accuracy)
  sha = lambda texts: hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()
  out["templates"] = [sha(prompts.CLIP_PAPER_PROMPT_TEMPLATES),
                      sha(prompts.CLIP_BEST_PROMPT_TEMPLATES)]
  np.savez_compressed(pathlib.Path(__file__).parent / "vectors.npz", **out)


if __name__ == "__main__":
  main(sys.argv[1])
