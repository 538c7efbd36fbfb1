"""Every config of this folder: its model has the shapes of a release and a step at full size, its
pipelines run; and a tiny one trains, evaluates and resumes."""
import functools
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

from big_vlm.batch import check_batch
from big_vlm.data import loader, mixture
from big_vlm.families import paligemma
from big_vlm.training import defaults, optim, setup
from configs.siglip import forkme, lit_coco, pretrain, so400m
from evaluators import common as evaluation
from pp import tokenizer as tokenizers
from pp.tokenizer import get_tokenizer
from trainers import train

TOKENIZER = str(pathlib.Path(__file__).parents[2] / "tests/golden/tokenizers/gemma/tokenizer.model")
CACHE = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
TIMED = ("_per_s", "data_wait", "memory_gib", "mfu", "time")  # metrics that no run has twice
WORDS = ("red", "green", "blue", "grey")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
  """A folder with train.jsonl and val.jsonl of 12 pairs; a third of their texts are too long."""
  folder = tmp_path_factory.mktemp("pairs")
  lines = []
  for i, word in enumerate(WORDS * 3):
    Image.new("RGB", (20 + i, 16), word).save(folder / f"{i}.png")
    lines.append({"image": f"{i}.png", "text": [f"A {word} image" + " again" * 9 * (i % 3 == 2)]})
  for name in ("train", "val"):
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
  return folder


def tiny(c, **fields):
  """The config with towers that train in a moment."""
  c.model.img = dict(variant="tiny", depth=1, pool="map")
  c.model.txt = dict(variant="text_tiny", depth=1, length=16, pad_token=c.model.txt.pad_token,
                     vocab_size=get_tokenizer(c.tokenizer).vocab_size)
  c.optimizer.schedule = tuple((regex, rule and dict(decay="constant"))
                               for regex, rule in c.optimizer.schedule)
  c.input.update(batch_size=8, workers=0)
  for unit in ("examples", "epochs", "steps"):
    c[f"total_{unit}"] = None
  c.update_from_flattened_dict(dict(total_steps=4, log_steps=1, checkpoint_steps=2) | fields)
  c.evals = {name: {k: v for k, v in entry.items() if k != "fraction"} | dict(batch_size=8, steps=2)
             for name, entry in c.evals.to_dict().items()}
  return c


def parameters(c):
  model = paligemma.config(**c.model.to_dict() | {"dtype": "bfloat16"})
  return sum(np.prod(x.shape) for x in paligemma.param_shapes(model).values())


def step_at_full_size(c):
  """The TrainSetup on 8 devices, of which a step goes through by its shapes."""
  s = setup.make(c, note=lambda line: None)
  model, rows = s.model.config, c.input.batch_size
  batch = {"text": jax.ShapeDtypeStruct((rows, model.txt.length), jnp.int32),
           "image": jax.ShapeDtypeStruct((rows, *[model.img.image_size] * 2, 3), jnp.uint8)}
  with jax.set_mesh(s.mesh):
    state, metrics = jax.eval_shape(s.step, s.shapes, batch)
  assert metrics["loss"].shape == metrics["temperature"].shape == ()
  assert jax.tree.structure(state) == jax.tree.structure(s.shapes)
  return s


@pytest.mark.parametrize("model, count", [
    ("siglip2_b16_256", 375_234_050), ("siglip2_g-opt16_256", 1_871_393_906),
    ("google/siglip-so400m-patch14-224", 877_360_306)])
def test_pretrain_has_the_shapes_of_a_release(model, count):
  c = pretrain.get_config(f"model={model},tokenizer={TOKENIZER}")
  assert parameters(c) == count
  assert parameters(pretrain.get_config(f"model={model},tokenizer={TOKENIZER},res=64")) < count


def test_so400m_is_that_of_siglip_2():
  c = so400m.get_config(f"tokenizer={TOKENIZER}")
  step_at_full_size(c)
  assert parameters(c) == 1_135_463_602
  assert (c.input.batch_size, c.model.img.image_size) == (32_768, 224)


def test_lit_trains_the_text_tower_alone():
  c = lit_coco.get_config(f"tokenizer={TOKENIZER}")
  img = "google/siglip2-base-patch16-224"
  s = step_at_full_size(c)
  assert parameters(c) == 375_187_970 - 48 * 768  # texts of 16 tokens instead of 64
  assert optim.weight_flops(s.optimizer)["img/"] == 2 and c.model.txt.length == 16
  assert lit_coco.get_config(f"tokenizer={TOKENIZER},init={img}").init.img == img
  assert {"t", "b"} <= s.optimizer.trainable
  decayed = {n for n, group in s.optimizer.groups.items() if group.decay}
  assert decayed and all(name.endswith("/kernel") for name in decayed)


@pytest.mark.parametrize("arg, count, frozen", [
    ("model=siglip2_b16_256", 375_234_050, ()),
    (f"model=google/medsiglip-448,tokenizer={TOKENIZER},freeze=img", 878_300_338, ("img/",)),
    (f"model=webli_i18n_b16_256_66117334,tokenizer={TOKENIZER},freeze=txt,steps=9", 370_626_050,
     ("txt/",))])
def test_forkme_starts_from_any_release(arg, count, frozen, monkeypatch):
  monkeypatch.setenv(tokenizers.GEMMA_MODEL, TOKENIZER)
  c = forkme.get_config(arg)
  if c.total_epochs:  # how many steps that is follows from the data
    c.update(total_epochs=None, total_steps=100)
  assert parameters(c) == count and c.init.model in arg
  of = optim.weight_flops(setup.make(c, note=lambda line: None).optimizer)
  assert tuple(prefix for prefix in ("img/", "txt/") if of[prefix] == 2) == frozen


@pytest.mark.parametrize("get, arg, complaint", [
    (forkme, "model=siglip2_b16", "Unknown model 'siglip2_b16'.*siglip2_b16"),
    (pretrain, "model=pt_3b_224", "is no SigLIP with two towers"),
    (pretrain, "model=google/siglip-base-patch16-224", "needs tokenizer=PATH.*spiece.model"),
    (forkme, "freeze=text", "Unknown part to freeze 'text'"),
    (forkme, "train_on_val", "train_on_val"), (pretrain, "dta=x", "Did you mean 'data'"),
    (forkme, "init=digits", "init=digits is .*no SigLIP with two towers"),
])
def test_wrong_arguments(get, arg, complaint):
  with pytest.raises(ValueError, match=f"(?s){complaint}"):
    get.get_config(arg)


@pytest.fixture(scope="module")
def config(pairs):
  return lambda **fields: tiny(pretrain.get_config(
      f"data={pairs}/train.jsonl,val={pairs}/val.jsonl,tokenizer={TOKENIZER}"), **fields)


def test_pairs_as_a_training_reads_them(config):
  c = config()
  rows = next(loader.train_batches(mixture.from_config(c), 12))
  batch, host = loader.split_batch(rows)
  check_batch(batch, train=True, vocab_size=c.model.txt.vocab_size, pairs=True)
  assert batch["image"].shape == (12, 16, 16, 3) and batch["text"].shape == (12, 16)
  assert sum(host["_cut"]) == 4
  with pytest.raises(ValueError, match="text_len=9, but the text tower reads 16 tokens"):
    mixture.from_config(config(text_len=9))


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
  """Trainings are on one device, and compile a program once: both save most of the time."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(train.setup, "make", functools.partial(setup.make, devices=jax.devices()[:1]))
    old = {name: getattr(jax.config, name) for name in CACHE}
    for name, value in zip(CACHE, (str(tmp_path_factory.mktemp("compiled")), 0.)):
      jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in old.items():
      jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="module")
def trained(config, one_device, tmp_path_factory):
  """The workdir of four steps."""
  workdir = tmp_path_factory.mktemp("trained")
  train.train(config(), str(workdir))
  return workdir


def rows(workdir):
  return [row | {k: 0 for k in row if k.endswith(TIMED)} for row in map(
      json.loads, (workdir / "metrics.jsonl").read_text().splitlines())]


def test_it_trains_evaluates_and_resumes_to_the_bit(trained, config, tmp_path, capsys):
  shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
  shutil.rmtree(tmp_path / "checkpoints/4")
  train.train(config(), str(tmp_path))
  said = capsys.readouterr().out
  assert "resuming from step 2" in said
  assert rows(tmp_path) == (want := rows(trained))
  assert {"loss", "lr", "val/loss", "cut"} <= {k for row in want for k in row}
  np.testing.assert_allclose([want[0]["temperature"], want[0]["bias"]], [10, -10], rtol=1e-6)
  assert want[0]["negatives"] < 0 and want[0]["positives"] < 0
  cut, = (row["cut"] for row in want if row["step"] == 3 and "cut" in row)
  assert f"cut {cut:.0f} of 8 texts to the length of the text tower" in said


def test_forkme_starts_from_a_workdir(trained, pairs, capsys):
  c = forkme.get_config(f"init={trained},data={pairs}/train.jsonl,val=,steps=1")
  assert c.model.txt.length == 16 and c.input.batch_size == 8  # of 12 pairs
  assert "12 examples are 0.0 batches of 256" in defaults.table(c)
  state = setup.start(c, setup.make(c, note=lambda line: None))
  assert "init: model from" in capsys.readouterr().out
  assert state.params["t"] != np.float32(np.log(10)) and int(state.step) == 0
  next(loader.train_batches(mixture.from_config(c), 8))


@functools.partial(jax.jit, static_argnums=0)
def similarity(model, params, text, image):
  zt, zi = model.apply({"params": params}, text, image, method="towers")
  return model.apply({"params": params}, zi, zt, method="similarity")


def test_the_eval_is_the_loss_of_its_batches(config, one_device):
  c = config()
  s = setup.make(c, note=lambda line: None)
  state = setup.start(c, s)
  evaluator, = evaluation.evaluators(c, s.model, c.tokenizer, s.mesh)
  predictions = evaluator.predict(state.params)
  found = evaluator.score(predictions)
  examples = [evaluator.preprocess(x) for x in mixture.source.get(**evaluator.data)]
  losses = []
  for batch in (examples[:8], examples[8:]):  # the second has four, and four padding rows
    text, image = (np.stack([x[k] for x in batch]) for k in ("text", "image"))
    logits = np.asarray(similarity(s.model, state.params, text, image))
    losses += np.logaddexp(0, np.where(np.eye(len(batch)), -logits, logits)).sum(axis=1).tolist()
  np.testing.assert_allclose([p["loss"] for p in predictions], losses, rtol=1e-4)
  np.testing.assert_allclose(found["val/loss"], np.mean(losses), rtol=1e-5)
  assert predictions[0]["suffix"] == "a red image"
