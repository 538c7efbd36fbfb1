"""Every config of transfers/ and pretrain/, at each of its resolutions and models: it builds, its
pp strings run on an example with the features of its builder, its step has shapes at full size."""
import functools
import importlib
import io
import json
import pathlib
import re
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from big_vlm.batch import check_batch
from big_vlm.data import loader, mixture
from big_vlm.data import source as data_source
from big_vlm.data import tfds as data
from big_vlm.training import setup
from configs.pretrain import tasks
from configs.transfers import common
from evaluators import common as evaluation
from evaluators import perplexity
from evaluators.predictions import to_json
from pp import builder, mask_codes, tokenizer

HERE = pathlib.Path(__file__).parent
GOLDEN = HERE.parent / "tests/golden"
LINES = 50
TABLE = "<html><body><table><tr><td>x</td></tr></table></body></html>"
WORDS = [json.dumps([[.1, .2], [.9, .2], [.5, .6]])] * 2
# What evaluations are particular about, in the two rows of an example.
ROWS = {"question_id": (1, 2), "image/filename": ("a/1.jpg", "a/2.jpg"), "html": (TABLE, TABLE),
        "objects/polygon": (WORDS, WORDS), "ignored/polygon": (WORDS, WORDS), "width": (8, 8),
        "height": (6, 6), "issimple": (1, 0), "question_type": ("comp", "count"),
        "choices": (["x", "y"], ["x", "z"]), "example_id": ("dev-1-0-1", "dev-1-1-1")}
# RadGraph's own model and people say these.
UNSCORED = ("mimic_cxr/test/radgraph_f1", "docci/test/nes")


def cases():
  for folder in ("transfers", "pretrain"):
    for path in sorted((HERE / folder).glob("*.py")):
      if path.stem.endswith("_test"):
        continue
      module = importlib.import_module(f"configs.{folder}.{path.stem}")
      args = [f"res={res},model={model}" for res in getattr(module, "SETTINGS", ())
              for model in common.MODELS]
      args += ["train_on_val"] * (folder == "transfers" and bool(args))
      for arg in (*args, *getattr(module, "VARIANTS", ())):
        yield pytest.param(module, arg, id=f"{path.stem}:{arg}")


@pytest.mark.parametrize("module, arg", list(cases()))
def test_config(module, arg):
  assert len(pathlib.Path(module.__file__).read_text().splitlines()) <= LINES
  c = module.get_config(arg)
  evals = c.evals.to_dict()
  assert json.loads(c.to_json_best_effort())["optimizer"]["lr"] > 0
  mixture.shares(c.input.mixture)
  context = mixture.context_of(c)
  for component in c.input.mixture:
    assert set(component) <= {"name", "data", "pp", "weight"}
    rows = run(component["pp"], component["data"], context)
    assert rows["text"].shape[1] == c.text_len + 1
    assert rows["image"].shape[-3:-1] == (c.model.img.image_size,) * 2
    check_batch(rows, train=True, vocab_size=c.model.llm.vocab_size)
  step_at_full_size(c, rows)
  metrics = {}
  for evaluator in evaluation.evaluators(c, None, c.tokenizer, None):
    if evaluator.type == "mean":
      metrics |= evaluator.score(metrics)
    else:
      task = evals[evaluator.name]
      metrics |= scores(evaluator, task, context, c.model.llm.vocab_size)
  servers = tuple(f"{name}/" for name, task in evals.items() if task["type"] == "submission")
  for metric in c.published:
    assert metric in metrics or metric.startswith(servers) or metric in UNSCORED, metric


def scores(evaluator, task, context, vocab_size):
  """What an eval says of two rows whose answer is "x": its pp string keeps what the kind needs."""
  likelihood = task["type"] == "perplexity"
  batch = run(task["pp"], task["data"], evaluation.context_for(context, **task), evaluates=True)
  check_batch(batch, train=likelihood, vocab_size=vocab_size)
  assert ("mask_loss" in batch) == likelihood
  args = {k: v for k, v in task.items() if k not in ("data", "fraction", "batch_size")}
  key = repr((args, sorted(task["data"].items())))
  found = _scores(key, Uncompared((evaluator, batch, task["type"], task.get("metric"))))
  return {f"{evaluator.name}/{metric}": value for metric, value in found.items()}


@functools.cache
def _scores(key, asked):
  del key
  evaluator, batch, kind, metric = asked.value
  device, host = loader.split_batch(batch)
  rows = []
  for i in range(2):
    row = to_json({k: v[i] for k, v in host.items()})
    row |= {k: values[i] for k, values in ROWS.items() if k in row}
    row |= {"answer": ("yes", "no")[i]} if metric == "pope" else {}
    if kind == "caption" and i:  # CIDEr has no value where all images have the same captions
      row |= {"captions": ["y"]} if "captions" in row else {"suffix": "y"}
    row |= dict(id=f"x:{i}", image_size=[8, 8], prediction="x", tokens=[5], logprobs=[-1.],
                finish_reason="eos")
    if kind == "perplexity":
      row |= perplexity.row(np.ones(device["text"].shape[1] - 1),
                            {k: v[i] for k, v in device.items()},
                            tokenizer.get_tokenizer(common.TOKENIZER))
    rows.append(row)
  metrics = evaluator.score(rows)
  assert all(np.isfinite(list(metrics.values()))) and all("references" in row for row in rows)
  assert evaluator.baseline(rows).keys() <= metrics.keys()
  assert kind != "submission" or len(evaluator.submission(rows)) == 2
  return {name.removeprefix(evaluator.name + "/"): value for name, value in metrics.items()}


def run(pp, source, context, evaluates=False):
  """The batch that a pp string makes of two examples of a data set."""
  source = {k: v for k, v in source.items() if k != "data_dir"}
  return _run(pp, tuple(sorted(source.items())), context, evaluates)


@functools.cache
def _run(pp, source, context, evaluates):
  preprocess = builder.get_preprocess_fn(pp, context)
  example = {"_id": "x:0", **example_of(**dict(source))}
  if not evaluates:
    made = [preprocess({**example, "_rng": np.random.default_rng(i), "_epoch": i})
            for i in range(2)]
  else:
    made = [{**preprocess(example), "_mask": np.bool_(True)}] * 2
  rows = loader.collate(made)
  assert rows["image"].dtype == np.uint8 or np.abs(rows["image"]).max() <= 1
  return rows


@functools.cache
def example_of(name, split=None, path=None, **kw):
  """What big_vlm.data.source gives: of a builder from its features, of JSONL as documented."""
  if name == "jsonl":
    with tempfile.TemporaryDirectory() as folder:
      pathlib.Path(folder, "1.jpg").write_bytes(picture("JPEG"))
      task = tasks.table(everything=False)[pathlib.Path(path).parent.name]
      pathlib.Path(folder, "1.jsonl").write_text(json.dumps(task.example))
      return data_source.get(name, path=f"{folder}/{pathlib.Path(path).name}", **kw)[0]
  b = data.builder(name)
  tfds.core.ReadInstruction.from_spec(split)
  assert set(re.sub(r"\[.*?\]", "", split).split("+")) <= set(b.splits), (split, b.splits)
  return data._columns(b.info.features, fake(b.info.features))


def fake(feature):
  """A value of a TFDS feature as a data source reads it, sequences with two entries."""
  f = tfds.features
  if isinstance(feature, f.FeaturesDict):
    return {key: fake(inner) for key, inner in feature.items()}
  if isinstance(feature, f.Sequence):
    inner = feature.feature
    if isinstance(inner, f.FeaturesDict):
      return {key: fake(f.Sequence(one)) for key, one in inner.items()}
    if isinstance(inner, f.Sequence) and isinstance(inner.feature, f.FeaturesDict):
      return {key: fake(f.Sequence(f.Sequence(one))) for key, one in inner.feature.items()}
    return [fake(inner), fake(inner)]
  if isinstance(feature, f.Text):
    return b"x"
  if isinstance(feature, f.Image):
    return picture("JPEG")
  if isinstance(feature, f.BBoxFeature):
    return np.array([0.1, 0.2, 0.6, 0.9], np.float32)
  if feature.np_dtype == np.object_:
    return picture("GIF")  # a video
  return np.zeros([n or 2 for n in feature.shape], feature.np_dtype)[()]


@functools.cache
def picture(format):
  out, image = io.BytesIO(), Image.new("RGB", (8, 6), (200, 100, 50))
  frames = dict(save_all=True, append_images=[image.rotate(90)]) if format == "GIF" else {}
  image.save(out, format, **frames)
  return out.getvalue()


def step_at_full_size(c, rows):
  """Shapes through a training step of the model as it is, on 8 devices: the names that rules match,
  images against the tower, tokens against what the decoder can take."""
  model = c.model.to_dict()
  model["llm"]["dropout"] = bool(model["llm"].get("dropout")) / 10
  o = c.optimizer
  tokens = _step(repr((model, c.mesh, o.schedule, o.weight_decay_mults, o.lr_mults)),
                 rows["image"].shape[1:], Uncompared((c, model)))
  assert tokens + rows["text"].shape[1] - 1 <= 8192  # what Gemma and Gemma 2 were trained on


class Uncompared:
  """An argument that functools.cache does not look at."""

  def __init__(self, value):
    self.value = value

  def __eq__(self, other):
    return True

  def __hash__(self):
    return 0


@functools.cache
def _step(key, image, config):
  """Image tokens of an example."""
  del key
  c, model = config.value
  c = type(c)(c.to_dict() | dict(model=model))
  if c.total_epochs:  # how long an epoch is, is known once the data are there
    c.update(total_epochs=None, total_steps=1000)
  s = setup.make(c, note=lambda line: None)
  batch = {k: jax.ShapeDtypeStruct((8, 33), jnp.int32) for k in ("text", "mask_ar", "mask_loss")}
  batch["image"] = jax.ShapeDtypeStruct((8, *image), jnp.uint8)
  with jax.set_mesh(s.mesh):
    state, metrics = jax.eval_shape(s.step, s.shapes, batch)
  assert metrics["loss"].shape == ()
  assert jax.tree.structure(state) == jax.tree.structure(s.shapes)
  return s.model.config.img.tokens * (image[0] if len(image) == 4 else 1)


@pytest.fixture(autouse=True, scope="module")
def golden_models(tmp_path_factory):
  """Gemma's tokenizer and the masks' encoder, both tiny."""
  encoder = tmp_path_factory.mktemp("masks") / "vae-oid.npz"
  with np.load(GOLDEN / "vqvae.npz") as golden:
    np.savez(encoder, **{name.removeprefix("params/"): golden[name] for name in golden.files
                          if name.startswith("params/")})
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv(tokenizer.GEMMA_MODEL, str(GOLDEN / "tokenizers/gemma/tokenizer.model"))
    patch.setenv(mask_codes.MODEL, str(encoder))
    yield
