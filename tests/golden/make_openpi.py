"""Writes tests/golden/openpi/NAME.zip, checkpoints as openpi writes them, and NAME.npz, what openpi
computes with them, float32:

  python tests/golden/make_openpi.py OPENPI       a checkout of Physical-Intelligence/openpi

in a venv with what openpi pins (jax 0.5.3, flax 0.10.2, orbax-checkpoint 0.11.13, augmax,
jaxtyping, beartype, ml_collections, optax). Torch and the data loader are not needed here:
stand-ins take their places.

  pi0        step 100 as its training saves it (checkpoints.save_state), float32: the leaves of the
             parameters are named .../value
  pi05, fast the parameters alone, as they were released, bfloat16
  pi0_lora   as pi0, LoRA variants of both decoders, frozen weights bfloat16

The tower is So400m/14 in kind, but of width 32 and depth 2, images are of 28 pixels, and there are
320 tokens. Logits are of float32 parameters: openpi rounds embeddings of a bfloat16 table, and
scales them by a bfloat16 sqrt(D). Parameters are random and representable in bfloat16, so that
files shrink. NAME.npz has "images" uint8 [B, 3, H, W, 3], "tokens" and "mask_ar" [B, T], and
"logits" [B, T, V] of the text.
"""
# ruff: noqa: E402
import dataclasses
import pathlib
import re
import shutil
import sys
import tempfile
import types

import ml_collections
import numpy as np

HERE = pathlib.Path(__file__).parent / "openpi"
VOCAB, SIZE, TEXT = 320, 28, 6
TOWER = dict(width=32, depth=2, mlp_dim=48, num_heads=4, patch_size=(14, 14))


def stand_in(name):
  def attribute(attribute):
    if attribute.startswith("__"):
      raise AttributeError(attribute)
    return type(attribute, (), {})
  module = types.ModuleType(name)
  module.__getattr__ = attribute
  sys.modules[name] = module
  parent, _, child = name.rpartition(".")
  if parent in sys.modules:
    setattr(sys.modules[parent], child, module)


sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "src"))
for name in ("torch", "torch.nn", "torch.nn.functional", "openpi.training.data_loader",
             "openpi.models_pytorch", "openpi.models_pytorch.pi0_pytorch"):
  stand_in(name)

import flax.nnx as nnx
import jax
import jax.numpy as jnp
import openpi.models.gemma as gemma
import openpi.models.gemma_fast as gemma_fast
import openpi.models.lora as lora
import openpi.models.model as models
import openpi.models.siglip as siglip
import openpi.training.checkpoints as checkpoints
import openpi.training.utils as training
import optax
import orbax.checkpoint as ocp
from openpi.models import pi0, pi0_config, pi0_fast
from openpi.shared import normalize

jax.config.update("jax_default_matmul_precision", "highest")
siglip.decode_variant = lambda variant: TOWER
models.IMAGE_RESOLUTION = (SIZE, SIZE)
gemma.PALIGEMMA_VOCAB_SIZE = VOCAB
smaller = dataclasses.replace(gemma.get_config("dummy"), width=32, depth=2, mlp_dim=48, num_heads=4,
                              head_dim=8)
ADAPTERS = {"attn": lora.LoRAConfig(rank=4, alpha=4.0), "ffn": lora.LoRAConfig(rank=4, alpha=4.0)}
gemma.get_config = {
    "gemma_2b": smaller, "gemma_300m": dataclasses.replace(smaller, width=16),
    "gemma_2b_lora": dataclasses.replace(smaller, lora_configs=ADAPTERS),
    "gemma_300m_lora": dataclasses.replace(smaller, width=16, lora_configs=ADAPTERS)}.__getitem__
gemma_fast.get_config = lambda variant: ml_collections.ConfigDict(dict(
    variant=variant, width=32, depth=2, mlp_dim=48, num_heads=4, num_kv_heads=1, head_dim=8,
    norm_eps=1e-6, vocab_size=VOCAB, scan=True, remat_policy="nothing_saveable"))


def randomize(model, seed):
  """Random parameters, also where openpi starts from zeros."""
  rng, state = np.random.default_rng(seed), nnx.state(model)

  def leaf(path, x):
    name, fan_in = "/".join(map(str, path)), max(1, x.shape[-2] if x.ndim > 1 else 1)
    std = 0.6 if "input_embedding" in name else (
        0.3 if re.search("(?i)norm|bias|pos_embedding", name) else 1 / np.sqrt(fan_in))
    values = rng.normal(1. if "LayerNorm" in name and "scale" in name else 0., std, x.shape)
    return jnp.asarray(values.astype(jnp.bfloat16).astype(np.float32))
  nnx.update(model, jax.tree_util.tree_map_with_path(
      lambda path, x: leaf([getattr(k, "key", k) for k in path], x), state))


def inputs(spec, seed):
  rng = np.random.default_rng(seed)
  pixels = rng.integers(0, 256, (2, 3, SIZE, SIZE, 3)).astype(np.uint8)
  images = pixels.astype(np.float32) / 255 * 2 - 1
  tokens = rng.integers(4, VOCAB, (2, TEXT)).astype(np.int32)
  mask_ar = np.zeros_like(tokens)
  observation = models.Observation(
      images={name: jnp.asarray(images[:, i]) for i, name in enumerate(spec.images)},
      image_masks={name: jnp.ones(2, bool) for name in spec.images},
      state=jnp.zeros((2, spec.state.shape[-1])), tokenized_prompt=jnp.asarray(tokens),
      tokenized_prompt_mask=jnp.ones(tokens.shape, bool), token_ar_mask=jnp.asarray(mask_ar),
      token_loss_mask=jnp.ones(tokens.shape, bool))
  return observation, dict(images=pixels, tokens=tokens, mask_ar=mask_ar)


def text_of_pi0(model, observation):
  """pi0 decodes no text: its table read as the head."""
  tokens, mask, mask_ar = model.embed_prefix(observation)
  positions = jnp.cumsum(mask, axis=1) - 1
  (hidden, _), _ = model.PaliGemma.llm(
      [tokens, None], mask=pi0.make_attn_mask(mask, mask_ar), positions=positions)
  table = nnx.state(model)["PaliGemma"]["llm"]["embedder"]["input_embedding"].value
  return (hidden @ table.T)[:, -TEXT:]


def text_of_fast(model, observation):
  """Text as its training has it: the first two tokens are the prompt."""
  observation = dataclasses.replace(observation, token_ar_mask=observation.token_ar_mask.at[
      :, 2:].set(1))
  embedded, mask, mask_ar = model.embed_inputs(observation)
  logits, _, _ = model.PaliGemma.llm(
      embedded_prefix=embedded, mask=pi0_fast.make_attn_mask(mask, mask_ar))
  return logits[:, -TEXT:]


def save_training(folder, model, step=100):
  """As train.py does, with statistics of states and actions beside."""
  state = training.TrainState(
      step=jnp.int32(step), params=nnx.state(model), model_def=nnx.graphdef(model),
      opt_state=(), tx=optax.identity(), ema_decay=None, ema_params=None)
  manager, _ = checkpoints.initialize_checkpoint_dir(
      folder, keep_period=None, overwrite=False, resume=False)
  row = lambda: normalize.NormStats(*(np.zeros(2),) * 4)
  loader = types.SimpleNamespace(data_config=lambda: types.SimpleNamespace(
      norm_stats={"state": row(), "actions": row()}, asset_id="robot"))
  checkpoints.save_state(manager, state, loader, step)
  manager.wait_until_finished()
  shutil.rmtree(folder / str(step) / "train_state")


def save_parameters(folder, model):
  pure = jax.tree.map(lambda x: x.astype(jnp.bfloat16), nnx.state(model).to_pure_dict())
  with ocp.PyTreeCheckpointer() as writer:
    writer.save(folder / "params", {"params": pure})


def main():
  HERE.mkdir(exist_ok=True)
  small = dict(action_dim=4, action_horizon=2, max_token_len=TEXT, dtype="float32")
  frozen = lambda name: "/llm/" in name and "lora" not in name
  made = {
      "pi0": pi0_config.Pi0Config(**small),
      "pi0_lora": pi0_config.Pi0Config(
          **small, paligemma_variant="gemma_2b_lora", action_expert_variant="gemma_300m_lora"),
      "pi05": pi0_config.Pi0Config(**small, pi05=True),
      "fast": pi0_fast.Pi0FASTConfig(**small)}
  for seed, (name, config) in enumerate(made.items()):
    model = config.create(jax.random.key(0))
    randomize(model, seed)
    observation, arrays = inputs(config.inputs_spec()[0], seed)
    logits = (text_of_fast if name == "fast" else text_of_pi0)(model, observation)
    if name == "fast":
      arrays["mask_ar"][:, 2:] = 1
    np.savez_compressed(HERE / f"{name}.npz", **arrays, logits=np.asarray(logits, np.float32))
    if name == "pi0_lora":
      state = nnx.state(model)
      flat = {path: x.replace(x.value.astype(jnp.bfloat16)) if frozen("/".join(map(str, path)))
              else x for path, x in state.flat_state().items()}
      nnx.update(model, nnx.State.from_flat_path(flat))
    with tempfile.TemporaryDirectory() as folder:
      folder = pathlib.Path(folder) / name
      (save_training if name.startswith("pi0") and name != "pi05" else save_parameters)(
          folder, model)
      shutil.make_archive(HERE / name, "zip", folder)
    print(name, float(np.abs(logits).max()), [p.stat().st_size for p in HERE.glob(f"{name}.*")])


if __name__ == "__main__":
  main()
