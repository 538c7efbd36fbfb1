"""Live comparison with PEFT: it opens what we write and gives our numbers, and we read it back."""
import pathlib

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="`make parity` runs these tests in their own venv")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from big_vlm import trees  # noqa: E402
from big_vlm.adapt import lora  # noqa: E402
from big_vlm.adapt import peft as ours  # noqa: E402
from big_vlm.checkpoints import checkpoint, hf, load  # noqa: E402
from big_vlm.families import paligemma  # noqa: E402

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
IMAGE_TOKENS = 4
EVERYTHING = ".*attn.*|.*mlp.*"
TOWER = "|.*encoderblock.*|img/head/kernel|img/embedding/kernel"
CASES = [("hf_gemma2", EVERYTHING), ("hf_gemma_mha", EVERYTHING), ("hf_opt", EVERYTHING),
         ("hf_gemma", ".*kv_einsum/w|.*gating_einsum"), ("hf_paligemma", EVERYTHING + TOWER),
         ("hf_paligemma2", EVERYTHING + TOWER), ("hf_paligemma", "img/head/kernel")]


def adapted(name, targets, folder, seed=0):
  """(model, params with random adapters), with a Hugging Face folder of the base."""
  opened = hf.open_source(GOLDEN / name)
  hf.write(folder / "base", opened, lambda done, total: None)
  model = paligemma.PaliGemma(opened.config)
  whole = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  is_leaf = lambda x: isinstance(x, checkpoint.LazyArray)
  params = load.params(opened.leaves, jax.tree.map(
      lambda _: whole, trees.nested(opened.leaves), is_leaf=is_leaf))
  params = lora.add(model, params, rank=3, targets=targets, alpha=7.5, seed=seed)
  rng = np.random.default_rng(seed)
  return model, trees.map_with_names(
      lambda n, x: x + 0.2 * rng.normal(size=x.shape).astype(np.float32) if "/lora_b" in n else x,
      params)


def logits(model, params, batch):
  def run(params):
    hidden = model.apply({"params": params}, *batch)
    return model.apply({"params": params}, hidden, method="logits")
  return np.asarray(jax.jit(run)(params))


def theirs(folder, cls, batch):
  """Logits of the base with the adapters on, and off, at our text positions."""
  base, info = cls.from_pretrained(folder / "base", dtype=torch.float32,
                                   attn_implementation="eager", output_loading_info=True)
  assert {k: v for k, v in info.items() if v} == {}
  model = peft.PeftModel.from_pretrained(base, folder / "adapter").eval()
  text, mask_ar, image = batch
  args = {"input_ids": torch.tensor(text)}
  if image is not None:
    filled = np.pad(text, ((0, 0), (IMAGE_TOKENS, 0)), constant_values=base.config.image_token_id)
    kinds = np.pad(np.cumsum(mask_ar, axis=1) > 0, ((0, 0), (IMAGE_TOKENS, 0)))
    args = {"input_ids": torch.tensor(filled), "token_type_ids": torch.tensor(kinds).long(),
            "pixel_values": torch.tensor(image).permute(0, 3, 1, 2),
            "attention_mask": torch.ones(filled.shape, dtype=torch.long)}
  with torch.no_grad():
    on = model(**args).logits.numpy()
    with model.disable_adapter():
      off = model(**args).logits.numpy()
  return on[:, -text.shape[1]:], off[:, -text.shape[1]:], model


def inputs(model):
  """int32 text and mask_ar [2, 9] and images for a tower."""
  rng = np.random.default_rng(1)
  text = rng.integers(4, 150, (2, 9)).astype(np.int32)
  if model.config.img is None:
    return text, np.ones_like(text), None
  mask_ar = np.broadcast_to(np.arange(9) >= 6, (2, 9)).astype(np.int32)
  return text, mask_ar, rng.uniform(-1, 1, (2, 14, 14, 3)).astype(np.float32)


@pytest.mark.parametrize("name, targets", CASES)
def test_peft_gives_our_logits(name, targets, tmp_path):
  model, params = adapted(name, targets, tmp_path)
  ours.export(model, params, tmp_path / "adapter", base=tmp_path / "base")
  batch = inputs(model)
  cls = (transformers.AutoModelForImageTextToText if model.config.img else
         transformers.AutoModelForCausalLM)
  on, off, _ = theirs(tmp_path, cls, batch)
  got = logits(model, params, batch)
  wanted = on[..., :got.shape[-1]]
  np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)
  assert np.abs(off[..., :got.shape[-1]] - wanted).max() > 0.1


def test_we_read_what_peft_saved(tmp_path):
  model, params = adapted("hf_paligemma", EVERYTHING + TOWER, tmp_path)
  ours.export(model, params, tmp_path / "adapter")
  _, _, reopened = theirs(tmp_path, transformers.AutoModelForImageTextToText, inputs(model))
  reopened.save_pretrained(tmp_path / "again")
  _, other = adapted("hf_paligemma", EVERYTHING, tmp_path, seed=1)
  read = ours.load(model, lora.merge(other), tmp_path / "again")
  want = dict(zip(trees.names(params), jax.tree.leaves(params)))
  got = dict(zip(trees.names(read), jax.tree.leaves(read)))
  for name in filter(lambda n: "/lora_" in n, want):
    np.testing.assert_array_equal(got[name], want[name], err_msg=name)
  assert set(got) == set(want)
