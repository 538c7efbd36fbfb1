"""Compares gradients with those of transformers, for the same weights and batch.

  PARITY/python -m benchmarks.gradients [--size small] [--batch 4]

PARITY is .venv-parity/bin, which `make parity` sets up.

It writes random weights as a Hugging Face folder, which transformers opens. It saves the gradients
of transformers in place of the weights, and reads them through the same parameter map.
"""
import argparse
import functools
import json
import pathlib
import tempfile

import jax
import numpy as np

from benchmarks import libraries, train_step
from big_vlm import trees
from big_vlm.checkpoints import hf
from big_vlm.checkpoints.checkpoint import Checkpoint, from_array
from big_vlm.families import paligemma
from big_vlm.training import losses, next_token

# The gradient of a key's bias is 0, because the bias adds the same to all logits of a query; only
# rounding errors remain. They are compared with FLOOR of the largest entry of all leaves; the
# errors of other leaves are compared with their own largest entry.
KEY_BIAS, FLOOR = "/key/bias", 1e-3


def ours(source, batch):
  """(loss, {leaf name: numpy gradient}) of a Source's parameters; batch: of big_vlm/batch.py."""
  model = paligemma.PaliGemma(source.config)
  params = trees.nested({n: np.asarray(x.read(()), np.float32) for n, x in source.leaves.items()})
  weights = losses.token_weights(batch["mask_loss"][:, 1:])
  loss, grads = jax.jit(jax.value_and_grad(
      lambda p: next_token.loss_fn(model, p, batch, weights, jax.random.key(0))))(params)
  return float(loss), {n: np.asarray(x) for n, x in zip(trees.names(grads), jax.tree.leaves(grads))}


def theirs(source, data):
  """The same by transformers; data: the arguments of its forward()."""
  import torch
  import transformers
  with tempfile.TemporaryDirectory() as folder:
    weights, gradients = pathlib.Path(folder) / "weights", pathlib.Path(folder) / "gradients"
    hf.write(weights, source, lambda done, total: None)
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        weights, dtype=torch.float32, attn_implementation="eager")
    model.train()
    model.lm_head.register_forward_hook(functools.partial(_unseen, source.config.llm.vocab_size))
    loss = model(**data).loss
    loss.backward()
    with torch.no_grad():
      for p in model.parameters():
        p.copy_(p.grad)
        p.grad = None
    model.save_pretrained(gradients)
    return loss.item(), {n: x.read(()) for n, x in hf.open_source(gradients).leaves.items()}


def _unseen(vocab_size, head, inputs, logits):
  """Excludes the rows of zeros that transformers' table has beyond the vocabulary from softmax."""
  logits[..., vocab_size:] = -1e30
  return logits


def differences(a, b):
  """{name: largest difference as a fraction of the largest entry} of two dicts of gradients."""
  floor = FLOOR * max(np.abs(x).max() for x in b.values())
  scale = {n: floor if n.endswith(KEY_BIAS) else np.abs(x).max() for n, x in b.items()}
  return {n: float(np.abs(a[n] - b[n]).max() / scale[n]) for n in b}


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--size", choices=libraries.SIZES, default="small")
  parser.add_argument("--batch", type=int, default=4)
  parser.add_argument("--out", type=pathlib.Path)
  args = parser.parse_args()
  size = libraries.SIZES[args.size]
  libraries.pin_cores(size)
  model = libraries.our_model(size)
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  source = Checkpoint("fresh", model.config, {
      n: from_array(np.asarray(x)) for n, x in zip(trees.names(params), jax.tree.leaves(params))},
      None)
  loss, grads = ours(source, train_step.our_batch(size, args.batch))
  data = train_step.hf_batch(size, args.batch, size.vocab, "cpu")
  their_loss, their_grads = theirs(source, data)
  parts = differences(grads, their_grads)
  name = max(parts, key=parts.get)
  result = {**libraries.circumstances(args.size, jax.devices()[0].device_kind, None),
            "batch": args.batch, "loss": [loss, their_loss], "largest": [name, parts[name]],
            "leaves": len(parts)}
  print(f"loss {loss:.6f}, theirs {their_loss:.6f}; the largest difference of {len(parts)} leaves "
        f"is {parts[name]:.1e} of the leaf's largest entry: {name}")
  out = args.out or train_step.RESULTS / f"gradients_{args.size}.json"
  out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
  main()
