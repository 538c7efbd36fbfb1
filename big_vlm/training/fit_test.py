import functools
import os
import signal
import threading
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm import sharding, trees
from big_vlm.adapt import lora, quantize
from big_vlm.data import loader, mixture
from big_vlm.families import paligemma
from big_vlm.training import fit as fit_module
from big_vlm.training import optim, schedules
from big_vlm.training import step as steps
from big_vlm.training.fit import fit
from big_vlm.vlm import VLM
from pp.context import Context
from pp.tokenizer import get_tokenizer

LLM = dict(variant="tiny", vocab_size=1632)
PAIRS = [{"prefix": "ocr", "suffix": " 7 3"}, {"prefix": "caption en", "suffix": " two"}]
THREE = dict(steps=3, lr=1e-3, schedule="constant", warmup=0, log_every=0)


@functools.cache  # fit() leaves the arrays that it is given as they are: all tests may share them
def fresh(images, dtype):
  net = paligemma.PaliGemma(paligemma.config(dict(variant="tiny") if images else None, LLM))
  return net, jax.jit(lambda: jax.tree.map(
      lambda x: x.astype(dtype), paligemma.init_params(net, jax.random.key(0))))()


def make(tokenizer, mesh, images=False, dtype="float32"):
  """A VLM of random parameters, as far as fit() looks at it."""
  net, params = fresh(images, dtype)
  return types.SimpleNamespace(
      model=net, params=params, mesh=mesh, config=net.config, tokenizer_name=tokenizer,
      tokenizer=get_tokenizer(tokenizer), image_size=net.config.img and net.config.img.image_size)


@pytest.fixture
def vlm(tokenizer, mesh1):
  return make(tokenizer, mesh1, images=True)


@pytest.fixture
def text_vlm(tokenizer, mesh1):
  return make(tokenizer, mesh1)


@pytest.fixture(scope="module")
def three(tokenizer, mesh1):
  """(history, parameters) of three steps of the text-only model, which nothing disturbs."""
  vlm = make(tokenizer, mesh1)
  return fit(vlm, PAIRS, **THREE), vlm.params


@pytest.fixture
def examples(rng):
  image = lambda: rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)
  return [{"image": image(), "prefix": "ocr", "suffix": suffix} for suffix in "7 34 12 90".split()]


def answers(vlm, prompts, images=None):
  model = VLM(vlm.model, vlm.params, vlm.tokenizer, vlm.mesh, vlm.tokenizer_name, "")
  return [answer.text for answer in model.generate(prompts, images, max_new_tokens=5)]


def changed(before, after):
  """Names of the leaves that differ by a bit."""
  pairs = zip(trees.names(before), jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
  return {name for name, a, b in pairs
          if a.dtype != b.dtype or np.asarray(a).tobytes() != np.asarray(b).tobytes()}


def test_four_examples_are_learnt_by_heart(vlm, examples, capsys):
  history = fit(vlm, examples, steps=40, batch_size=4, lr=1e-2, optimizer="muon")
  assert history["step"] == list(range(1, 41)) and set(map(len, history.values())) == {40}
  assert history["loss"][-1] < 0.05 < 2 < history["loss"][0]
  assert max(history["lr"]) == pytest.approx(1e-2) and history["lr"][-1] < 1e-3
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith("part") and "parameters train (100.00%)" in lines[-12]
  assert lines[-11] == "fit: 4 examples of 16 text tokens and an image each, 40 steps of 4"
  suffixes = [x["suffix"] for x in examples]
  assert answers(vlm, ["ocr"] * 4, [x["image"] for x in examples]) == suffixes


def test_a_rate_of_0_is_no_default(text_vlm):
  before = text_vlm.params
  assert fit(text_vlm, PAIRS, **{**THREE, "lr": 0.})["lr"] == [0., 0., 0.]
  assert not changed(before, text_vlm.params)


def test_a_text_only_model_learns_to_go_on(text_vlm):
  fit(text_vlm, [*PAIRS, "two 5"], steps=40, batch_size=3, lr=1e-2, log_every=0)
  assert answers(text_vlm, [x["prefix"] for x in PAIRS] + [""]) == [
      *(x["suffix"] for x in PAIRS), "two 5"]


def as_the_trainer(vlm, examples, pp, n):
  """(parameters, losses) after n steps as trainers.train takes them."""
  optimizer = optim.make(vlm.params, schedules.TrainingHorizon(n), lr=1e-3,
                         schedule=dict(decay="constant"))
  step = jax.jit(steps.make_train_step(vlm.model, optimizer, 0))
  stream = mixture.Mixture([dict(data=dict(name="memory", examples=examples), pp=pp)], 0,
                           context=Context(vlm.tokenizer_name, 16, 16))
  state, losses = steps.start(vlm.params, optimizer), []
  for _, batch in zip(range(n), loader.train_batches(stream, 8)):
    state, metrics = step(state, loader.split_batch(batch)[0])
    losses.append(float(metrics["loss"]))
  return state.params, losses


def test_the_numbers_are_those_of_the_trainer(vlm, examples):
  pp = "decode|resize(antialias=True)|text_layout"
  params, losses = as_the_trainer(vlm, examples, pp, 3)
  history = fit(vlm, examples, **THREE)
  np.testing.assert_allclose(history["loss"], losses, rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), vlm.params, params)


def test_only_what_is_trainable_changes(vlm, examples):
  before = vlm.params
  fit(vlm, examples, trainable="img/.*", **THREE)
  assert changed(before, vlm.params) == {n for n in trees.names(before) if n.startswith("img/")}
  # The arrays that were there are not used up: another VLM may share them.
  assert not any(x.is_deleted() for x in jax.tree.leaves(before))


@pytest.mark.parametrize("kind,trainable", [("int8", None), ("int4", r".*/lora_[ab]")])
def test_adapters_alone_train_over_a_quantized_base(text_vlm, kind, trainable, capsys):
  base = quantize.quantize(text_vlm.model, text_vlm.params, kind)
  text_vlm.params = before = lora.add(text_vlm.model, base, rank=4)
  history = fit(text_vlm, PAIRS, steps=8, warmup=0, schedule="constant", trainable=trainable)
  assert "fit: lr 0.003 for adapters of 0.1 M parameters; PaliG" in capsys.readouterr().out
  adapters = {n for n in trees.names(before) if n.endswith(("/lora_a", "/lora_b"))}
  assert changed(before, text_vlm.params) == adapters
  assert history["lr"][0] == pytest.approx(3e-3) and history["loss"][-1] < history["loss"][0]


def test_bfloat16_parameters_train_in_float32(tokenizer, mesh1):
  vlm = make(tokenizer, mesh1, dtype="bfloat16")
  before = vlm.params
  # A step of 1e-4 is lost on a bfloat16 of 0.125 and more, whose neighbours are 1e-3 away.
  fit(vlm, PAIRS, **{**THREE, "steps": 20, "lr": 1e-4})
  assert {x.dtype for x in jax.tree.leaves(vlm.params)} == {jnp.dtype("bfloat16")}
  w, new = (p["llm"]["layers"]["mlp"]["linear"].astype(jnp.float32) for p in (before, vlm.params))
  large = jnp.abs(w) > 0.125
  assert jnp.mean(w != new, where=large) > 0.5


def test_several_images(vlm, examples):
  pairs = [{"images": [x["image"], y["image"]], "prefix": "ocr", "suffix": "7"}
           for x, y in zip(examples, examples[1:])]
  history = fit(vlm, pairs, epochs=4, log_every=0)
  assert history["step"] == [1, 2] and np.isfinite(history["loss"]).all()  # 4 x 3 over 8


def test_eight_devices_train_as_one(tokenizer, three):
  vlm = make(tokenizer, sharding.make_mesh())
  np.testing.assert_allclose(fit(vlm, PAIRS, **THREE)["loss"], three[0]["loss"], atol=1e-5)
  assert all(x.sharding.mesh == vlm.mesh for x in jax.tree.leaves(vlm.params))
  with pytest.raises(ValueError, match="batch of 4 does not divide over the 8 devices"):
    fit(vlm, PAIRS, batch_size=4)


def test_an_interrupt_keeps_the_last_step(text_vlm, three, monkeypatch, capsys):
  signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job has none
  begin, calls = fit_module._Step.__init__, []

  def interrupted(self, *args):
    begin(self, *args)
    update = self._jitted

    def call(*args):  # comes when the old state is gone and the new one has no name yet
      out = update(*args)
      calls.append(args)
      if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGINT)
      return out
    call.lower = update.lower
    self._jitted = call
  monkeypatch.setattr(fit_module._Step, "__init__", interrupted)
  assert fit(text_vlm, PAIRS, **{**THREE, "steps": 50}) == three[0]
  assert not changed(three[1], text_vlm.params)
  assert "interrupted; the parameters are those of step 3 of 50" in capsys.readouterr().out
  assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_on_the_way_keeps_the_last_step_too(text_vlm, three, monkeypatch):
  put, calls = sharding.make_global_array, []

  def fails(*args):
    calls.append(args)
    if len(calls) == 4:  # one a step
      raise OSError("the cable is out")
    return put(*args)
  monkeypatch.setattr(sharding, "make_global_array", fails)
  with pytest.raises(OSError, match="cable"):
    fit(text_vlm, PAIRS, **{**THREE, "steps": 50})
  assert not changed(three[1], text_vlm.params)


def test_a_loss_that_is_not_finite_ends_it(text_vlm, three, monkeypatch):
  text_vlm.params = {**text_vlm.params, "llm": {
      **text_vlm.params["llm"], "final_norm": {"scale": jnp.full(32, jnp.nan)}}}
  with pytest.raises(ValueError, match="Step 1: the loss is nan.*parameter llm/final_norm/scale"
                                       ".*vlm.params took nothing of it.*lower lr") as caught:
    fit(text_vlm, PAIRS, **THREE)
  assert text_vlm.params is not None and "checkpoint" not in str(caught.value)


def test_it_runs_in_a_thread(text_vlm, three, tmp_path):
  worker = threading.Thread(target=fit, args=(text_vlm, PAIRS), kwargs=THREE)
  worker.start()
  worker.join()
  assert not changed(three[1], text_vlm.params)


GOOD = {"image": np.zeros((4, 4, 3), np.uint8), "prefix": "ocr", "suffix": "7"}


@pytest.mark.parametrize("bad,message", [
    ({"image": GOOD["image"], "prefix": "ocr"}, "Example 2: 'suffix' is missing"),
    ({**GOOD, "prefix": None}, "Example 2: 'prefix' is a NoneType, not a string"),
    ({**GOOD, "image": b"no image"}, "Example 2: cannot decode image"),
    ({**GOOD, "image": "nowhere.png"}, "Example 2: Cannot read the image nowhere.png: No such"),
    ({**GOOD, "image": None}, "Example 2: .* image, got NoneType"),
    ({"prefix": "ocr", "suffix": "7"}, "Example 2 has no image but example 0 has one 'image'"),
    ({"images": [GOOD["image"]] * 2, "prefix": "ocr", "suffix": "7"},
     "Example 2 has 2 'images' but example 0 has one 'image'"),
    ({**GOOD, "suffix": "seven " * 99}, r"Example 2 has \d+ tokens, more than text_len=20"),
    (["ocr", "7"], "Example 2 is a list, not a dict"),
])
def test_a_bad_example_is_named_before_the_first_step(vlm, bad, message):
  before = vlm.params
  with pytest.raises((ValueError, OSError), match=message):
    fit(vlm, [GOOD, GOOD, bad], text_len=20)
  assert vlm.params is before


@pytest.mark.parametrize("kw,message", [
    (dict(examples=[]), "list is empty"),
    (dict(examples=GOOD), "columns for fit.. has no 'image'. Did you mean 'images'"),
    (dict(steps=0), "would take 0 steps of 8"),
    (dict(batch_size=0, steps=1), "would take 1 steps of 0"),
    (dict(trainable="imgs/.*"), "trainable rule 'imgs/.*' matches no parameter"),
    (dict(optimizer="adam"), "Unknown optimizer 'adam'. Did you mean 'adamw'"),
    (dict(warmup=9, steps=8), "warm-up of 9 steps and a cool-down of 0 do not fit a training of 8"),
])
def test_wrong_arguments(vlm, kw, message):
  with pytest.raises(ValueError, match=message):
    fit(vlm, **{"examples": [GOOD], **kw})


def test_wrong_models(vlm, text_vlm):
  with pytest.raises(ValueError, match="Example 0 has an image, but this model is text-only"):
    fit(text_vlm, [GOOD])
  vlm.tokenizer_name = None
  with pytest.raises(ValueError, match="needs a tokenizer"):
    fit(vlm, [GOOD])
