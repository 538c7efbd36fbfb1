import jax
import numpy as np
import pytest

from big_vlm.decode import generate, samplers
from big_vlm.models import paligemma

SIZE, N = 16, 8


@pytest.fixture(scope="module", params=["tiny", "tiny2"])
def model_and_params(request):
  model = paligemma.PaliGemma(paligemma.config(dict(variant="tiny"), dict(variant=request.param)))
  params = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()
  keys = iter(jax.random.split(jax.random.key(1), 100))
  # Blocks that outweigh the embedding: else every token predicts itself again.
  params["llm"]["layers"], params["img"] = jax.tree.map(
      lambda x: x + 0.5 * jax.random.normal(next(keys), x.shape),
      (params["llm"]["layers"], params["img"]))
  return model, params


def prompts(rng, lengths, width=7):
  text, valid = np.zeros((2, len(lengths), width), np.int32)
  for i, n in enumerate(lengths):
    text[i, :n], valid[i, :n] = rng.integers(4, 128, n), 1
  image = rng.integers(0, 256, (len(lengths), SIZE, SIZE, 3)).astype(np.uint8)
  return dict(text=text, mask_ar=1 - valid, mask_input=valid, image=image)


def run(model_and_params, batch, eos=-1, sampler="greedy", keys=None, n=N):
  keys = jax.random.split(jax.random.key(0), len(batch["text"])) if keys is None else keys
  return jax.device_get(generate.generate(*model_and_params, batch, keys, max_new_tokens=n,
                                          eos=eos, sampler=sampler))


def rows(batch, index):
  return {k: v[index] for k, v in batch.items()}


def by_full_forward(model_and_params, batch, n=N):
  """Greedy decoding without a cache: the whole sequence anew for each token, one row at a time."""
  model, params = model_and_params
  forward = jax.jit(lambda text, mask_ar, image: model.apply({"params": params}, model.apply(
      {"params": params}, text, mask_ar, image), method="logits"))
  out = []
  for i in range(len(batch["text"])):
    length = batch["mask_input"][i].sum()
    text, mask_ar = np.zeros((1, length + n), np.int32), np.ones((1, length + n), np.int32)
    text[0, :length], mask_ar[0, :length] = batch["text"][i, :length], 0
    for t in range(length, length + n):
      text[0, t] = forward(text, mask_ar, batch["image"][i:i + 1])[0, t - 1].argmax()
    out.append(text[0, length:])
  return np.stack(out)


def test_greedy_equals_the_full_forward(model_and_params, rng):
  batch = prompts(rng, [3, 7, 5])
  want = by_full_forward(model_and_params, batch)
  np.testing.assert_array_equal(run(model_and_params, batch)["tokens"], want)
  assert len(np.unique(want)) > 3  # a model that repeats one token would show little


@pytest.mark.parametrize("sampler", ["greedy", "temperature(1.5)"])
def test_a_row_does_not_depend_on_its_batch(model_and_params, rng, sampler):
  batch = prompts(rng, [7, 2, 5, 3, 6])
  keys = jax.random.split(jax.random.key(3), 5)
  five = run(model_and_params, batch, sampler=sampler, keys=keys)
  for index in ([0], [3], [4, 1], [2, 2, 0, 1]):  # single, reordered, repeated
    some = run(model_and_params, rows(batch, index), sampler=sampler, keys=keys[np.array(index)])
    np.testing.assert_array_equal(some["tokens"], five["tokens"][index])
    # Tokens are equal; log-probabilities of some -6 nats are up to float32 rounding (2e-5 seen).
    np.testing.assert_allclose(some["logprobs"], five["logprobs"][index], rtol=1e-5, atol=1e-5)
  wider = {k: np.pad(v, ((0, 0), (0, 4))) if v.ndim == 2 else v for k, v in batch.items()}
  np.testing.assert_array_equal(
      run(model_and_params, wider, sampler=sampler, keys=keys)["tokens"], five["tokens"])


def test_stops_at_eos_and_pads_after_it(model_and_params, rng):
  batch = prompts(rng, [3, 7, 5])
  free = run(model_and_params, batch)
  eos = int(free["tokens"][0, 2])
  out = run(model_and_params, batch, eos=eos)
  first = list(free["tokens"][0]).index(eos)
  assert out["ended"][0] and out["length"][0] == first
  np.testing.assert_array_equal(out["tokens"][0, :first + 1], free["tokens"][0, :first + 1])
  assert not out["tokens"][0, first + 1:].any() and not out["logprobs"][0, first + 1:].any()
  for i in range(3):
    if eos not in free["tokens"][i]:
      assert not out["ended"][i] and out["length"][i] == N


def test_logprobs_are_those_of_the_model(model_and_params, rng):
  model, params = model_and_params
  batch = prompts(rng, [7, 7])
  out = run(model_and_params, batch, sampler="temperature(2.0)")
  text = np.concatenate([batch["text"], out["tokens"]], axis=1)
  mask_ar = np.tile(np.arange(text.shape[1]) >= 7, (2, 1)).astype(np.int32)
  hidden = model.apply({"params": params}, text, mask_ar, batch["image"])
  logprobs = jax.nn.log_softmax(model.apply({"params": params}, hidden, method="logits"))
  want = np.take_along_axis(logprobs[:, 6:-1], out["tokens"][..., None], axis=-1)[..., 0]
  np.testing.assert_allclose(out["logprobs"], want, atol=1e-4)


def test_ends_early_when_all_are_done_and_does_not_wait_for_filling_rows(model_and_params, rng):
  batch = prompts(rng, [3, 4])
  eos = int(run(model_and_params, batch)["tokens"][0, 0])
  batch["_mask"] = np.array([True, False])
  out = run(model_and_params, batch, eos=eos, n=1000)
  assert out["length"][0] == 0 and out["ended"][0]
  assert not out["tokens"][1].any()


def test_two_calls_of_equal_shape_compile_once(model_and_params, rng):
  run(model_and_params, prompts(rng, [3, 4]))
  before = generate.generate._cache_size()
  run(model_and_params, prompts(rng, [7, 1]))
  assert generate.generate._cache_size() == before


def test_bfloat16_cache_stays_close(model_and_params, rng):
  batch = prompts(rng, [3, 7])
  keys = jax.random.split(jax.random.key(0), 2)
  half = generate.generate(*model_and_params, batch, keys, max_new_tokens=1, eos=-1,
                           cache_dtype="bfloat16")
  np.testing.assert_allclose(half["logprobs"], run(model_and_params, batch, n=1)["logprobs"],
                             atol=0.15)


def test_unknown_sampler_and_bad_temperature():
  with pytest.raises(ValueError, match="Unknown sampler 'greddy'. Did you mean 'greedy'"):
    samplers.SAMPLERS.build("greddy")
  with pytest.raises(ValueError, match="must be above 0"):
    samplers.SAMPLERS.build("temperature(0)")
