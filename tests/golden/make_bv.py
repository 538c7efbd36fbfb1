"""Writes tests/golden/bv/checkpoint.zip, a work folder as big_vision's PaliGemma trainer leaves it,
and logits.npz, what big_vision computes with its parameters, float32:

  python tests/golden/make_bv.py BIG_VISION       a checkout of google-research/big_vision

in a venv with requirements.txt. TensorFlow is not needed: of it big_vision's utils take tf.io.gfile
alone, for which a stand-in on the local disk does. Steps 2 (kept) and 3 ("-tmp") are there;
checkpoint.bv-LAST names step 3. The parameters of step 3 are twice those of step 2.
logits.npz has "image" uint8, "text" and "mask_ar" [B, T], "logits" [B, T, V], of step 3.
"""
# ruff: noqa: E402, F401
import os
import pathlib
import shutil
import sys
import tempfile
import types

import flax.training.checkpoints  # before the stand-in, which it would look into

HERE = pathlib.Path(__file__).parent / "bv"
sys.path.insert(0, sys.argv[1])
gfile = types.ModuleType("tensorflow.io.gfile")
gfile.makedirs = lambda path: os.makedirs(path, exist_ok=True)
gfile.GFile, gfile.exists, gfile.rmtree = open, os.path.exists, shutil.rmtree
gfile.listdir = os.listdir
gfile.rename = lambda a, b, overwrite=False: os.replace(a, b)
tensorflow, tensorflow_io = types.ModuleType("tensorflow"), types.ModuleType("tensorflow.io")
tensorflow.io, tensorflow_io.gfile = tensorflow_io, gfile
sys.modules |= {"tensorflow": tensorflow, "tensorflow.io": tensorflow_io,
                "tensorflow.io.gfile": gfile}

import big_vision.models.proj.paligemma.paligemma as paligemma
import big_vision.optax as bv_optax
import big_vision.utils as u
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.experimental.array_serialization import serialization

for name in [n for n in sys.modules if n.startswith("tensorflow")]:
  del sys.modules[name]  # einops would take it for the whole
jax.config.update("jax_default_matmul_precision", "highest")
IMG = dict(width=32, depth=2, mlp_dim=24, num_heads=4, patch_size=(4, 4), pool_type="none",
           scan=True, posemb="learn", head_zeroinit=False, num_classes=32)
LLM = dict(width=32, depth=2, mlp_dim=24, num_heads=4, num_kv_heads=1, head_dim=8,
           norm_eps=1e-6, vocab_size=128, scan=True, remat_policy="none")


def main():
  HERE.mkdir(exist_ok=True)
  from big_vision.models.ppp import gemma
  gemma.get_config = lambda variant: ml_collections.ConfigDict(LLM | {"variant": variant})
  model = paligemma.Model(img=dict(IMG), llm=dict(variant="tiny", vocab_size=128))
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
  text = rng.integers(4, 128, (2, 6)).astype(np.int32)
  mask_ar = (np.arange(6) >= 3).astype(np.int32)[None].repeat(2, 0)
  pixels = image.astype(np.float32) / 255 * 2 - 1
  params = model.init(jax.random.key(0), pixels, text, mask_ar)["params"]
  params = u.tree_map_with_names(lambda name, x: jnp.asarray((rng.normal(
      1. if "LayerNorm" in name and "scale" in name else 0., 0.3, x.shape)
      ).astype(jnp.bfloat16).astype(np.float32)) if "MAPHead" not in name else x, params)
  config = ml_collections.ConfigDict(dict(
      lr=1e-3, optax_name="scale_by_adam", optax=dict(b2=0.999), grad_clip_norm=1.0,
      schedule=[("img/.*", None), (".*", dict(decay_type="cosine"))]))
  tx, _ = bv_optax.make(config, params, sched_kw=dict(total_steps=10, batch_size=2, data_size=10))
  opt = tx.init(params)
  manager = serialization.GlobalAsyncCheckpointManager()
  with tempfile.TemporaryDirectory() as folder:
    for step, scale in ((2, 0.5), (3, 1.0)):
      here = jax.tree.map(lambda x, scale=scale: x * scale, params)
      state = {"params": here, "opt": opt, "chrono": {"accum_train_time": jnp.float32(1.0)}}
      u.save_checkpoint_ts(manager, state, f"{folder}/checkpoint.bv", step, keep=step == 2)
      manager.wait_until_finished()
    for path in pathlib.Path(folder).glob("*/opt~*"):  # only one step's, to keep the file small
      if "000000002" in str(path):
        shutil.rmtree(path)
    shutil.make_archive(HERE / "checkpoint", "zip", folder)
  logits, _ = model.apply({"params": params}, pixels, text, mask_ar)
  np.savez_compressed(HERE / "logits.npz", image=image, text=text, mask_ar=mask_ar,
                      logits=np.asarray(logits, np.float32))
  print(float(jnp.abs(logits).max()), [p.stat().st_size for p in HERE.iterdir()])


if __name__ == "__main__":
  main()
