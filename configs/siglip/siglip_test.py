"""Every config of this folder: its model has the shapes of a release and a step at full size, its
pipelines run; and a tiny one trains, evaluates and resumes."""
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from big_vlm.batch import check_batch
from big_vlm.data import loader, mixture
from big_vlm.families import paligemma
from big_vlm.training import setup
from configs.siglip import pretrain
from evaluators import common as evaluation
from pp.tokenizer import get_tokenizer
from trainers import train

TOKENIZER = str(pathlib.Path(__file__).parents[2] / "tests/golden/tokenizers/gemma/tokenizer.model")
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


def check_config(c, parameters):
  """Its parameters, a step of its shapes on 8 devices, a batch of its data."""
  model = paligemma.config(**c.model.to_dict() | {"dtype": "bfloat16"})
  assert sum(np.prod(x.shape) for x in paligemma.param_shapes(model).values()) == parameters
  s = setup.make(c, note=lambda line: None)
  side, rows = model.img.image_size, c.input.batch_size
  batch = {"text": jax.ShapeDtypeStruct((rows, model.txt.length), jnp.int32),
           "image": jax.ShapeDtypeStruct((rows, side, side, 3), jnp.uint8)}
  with jax.set_mesh(s.mesh):
    state, metrics = jax.eval_shape(s.step, s.shapes, batch)
  assert metrics["loss"].shape == metrics["temperature"].shape == ()
  assert jax.tree.structure(state) == jax.tree.structure(s.shapes)
  return s


@pytest.mark.parametrize("model, parameters", [
    ("siglip2_b16_256", 375_234_050), ("siglip2_g-opt16_256", 1_871_393_906),
    ("google/siglip-so400m-patch14-224", 877_360_306)])
def test_pretrain_has_the_shapes_of_a_release(model, parameters):
  check_config(pretrain.get_config(f"model={model},tokenizer={TOKENIZER}"), parameters)


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


def test_it_trains_evaluates_and_resumes_to_the_bit(config, tmp_path, capsys):
  train.train(config(), str(tmp_path / "a"))
  said = capsys.readouterr().out
  for steps in (2, 4):
    train.train(config(total_steps=steps), str(tmp_path / "b"))
  assert "resuming from step 2" in capsys.readouterr().out
  rows, resumed = ([row | {k: 0 for k in row if k.endswith(TIMED)} for row in map(
      json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())] for name in "ab")
  assert rows == resumed and {"loss", "lr", "val/loss", "cut"} <= {k for row in rows for k in row}
  np.testing.assert_allclose([rows[0]["temperature"], rows[0]["bias"]], [10, -10], rtol=1e-6)
  assert rows[0]["negatives"] < 0 and rows[0]["positives"] < 0
  assert f"cut {rows[0]['cut']:.0f} of 8 texts to the length of the text tower" in said


def test_the_eval_is_the_loss_of_its_batches(config):
  c = config()
  s = setup.make(c, jax.devices()[:2], note=lambda line: None)
  state = setup.start(c, s)
  evaluator, = evaluation.evaluators(c, s.model, c.tokenizer, s.mesh)
  predictions = evaluator.predict(state.params)
  found = evaluator.score(predictions)
  examples = [evaluator.preprocess(x) for x in mixture.source.get(**evaluator.data)]
  losses = []
  for batch in (examples[:8], examples[8:]):  # the second has four, and four padding rows
    text, image = (np.stack([x[k] for x in batch]) for k in ("text", "image"))
    zt, zi = s.model.apply({"params": state.params}, text, image, method="towers")
    logits = np.asarray(s.model.apply({"params": state.params}, zi, zt, method="similarity"))
    losses += np.logaddexp(0, np.where(np.eye(len(batch)), -logits, logits)).sum(axis=1).tolist()
  np.testing.assert_allclose([p["loss"] for p in predictions], losses, rtol=1e-4)
  np.testing.assert_allclose(found["val/loss"], np.mean(losses), rtol=1e-5)
  assert predictions[0]["suffix"] == "a red image"
