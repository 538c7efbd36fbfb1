import jax
import jax.numpy as jnp
import numpy as np
import pytest

from big_vlm.decode import generate, samplers
from big_vlm.decode.search import Request
from big_vlm.families import paligemma

SIZE, N = 16, 8
SAMPLERS = ["greedy", "temperature(1.5)", "top_k(k=3, t=2.)", "top_p(.7)|temperature(3.)",
            "min_p(.2)", "beam(n=3)", "contrastive(k=3, alpha=.5)"]


@pytest.fixture(scope="module", params=["tiny", "gemma3_tiny"])
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


def run(model_and_params, batch, n=N, stops=(), sampler="greedy", seeds=None, limit=None, **args):
  """The State, numpy, at the end."""
  rows = len(batch["text"])
  request = Request(
      seed=np.zeros(rows, np.uint32) if seeds is None else np.asarray(seeds, np.uint32),
      limit=np.full(rows, n, np.int32) if limit is None else np.int32(limit),
      stops=np.asarray(stops or [-1], np.int32))
  state, = generate.decode(*model_and_params, batch, request, samplers.build(sampler),
                           new=max(n, 1), **args)
  return state


def rows(batch, index):
  return {k: v[index] for k, v in batch.items()}


@pytest.fixture(scope="module")
def forward(model_and_params):
  """(prompt ids, answer ids, image) -> log-probabilities [answer + 1, V], without a cache."""
  model, params = model_and_params

  @jax.jit
  def logprobs(text, mask_ar, valid, image):
    hidden = model.apply({"params": params}, text, mask_ar, image, valid)
    return jax.nn.log_softmax(model.apply({"params": params}, hidden, method="logits"))[0]

  def run(prompt, answer, image):
    text, mask_ar, valid = np.zeros((3, 1, 7 + N + 1), np.int32)
    length = len(prompt) + len(answer)
    text[0, :length], valid[0, :length] = [*prompt, *answer], 1
    mask_ar[0, len(prompt):] = 1
    return np.asarray(logprobs(text, mask_ar, valid, image[None]))[len(prompt) - 1:length]
  return run


def each(batch):
  for text, valid, image in zip(batch["text"], batch["mask_input"], batch["image"]):
    yield text[valid == 1].tolist(), image


def test_greedy_equals_the_full_forward(model_and_params, forward, rng):
  batch = prompts(rng, [3, 7, 5])
  got, want = run(model_and_params, batch), []
  for i, (prompt, image) in enumerate(each(batch)):
    answer, logprobs = [], []
    for _ in range(N):
      last = forward(prompt, answer, image)[-1]
      answer.append(int(last.argmax()))
      logprobs.append(last.max())
    assert got.tokens[i].tolist() == answer
    np.testing.assert_allclose(got.logprobs[i], logprobs, atol=1e-4)
    want += answer
  assert len(set(want)) > 3  # a model that repeats one token would show little


def beam_by_full_forward(forward, prompt, image, n, stops):
  """big_vision's beam search, a list of (score, tokens) at a time."""
  live, best = [(0., [])], (-np.inf, [])
  for _ in range(N):
    grown = []
    for score, tokens in live:
      last = forward(prompt, tokens, image)[-1]
      for stop in stops:
        best = max(best, (score + last[stop], [*tokens, stop]))
      grown += [(score + last[t], [*tokens, t]) for t in range(len(last)) if t not in stops]
    live = sorted(grown, reverse=True)[:n]
    if best[0] > live[0][0]:
      break
  return best if stops else live[0]


@pytest.mark.parametrize("n,stops", [(1, []), (3, []), (3, [17, 40]), (2, [17])])
def test_beam_search_equals_its_definition(model_and_params, forward, rng, n, stops):
  batch = prompts(rng, [3, 6])
  got = run(model_and_params, batch, sampler=f"beam({n})", stops=stops)
  for i, (prompt, image) in enumerate(each(batch)):
    score, tokens = beam_by_full_forward(forward, prompt, image, n, stops)
    assert got.tokens[i][:got.length[i]].tolist() == tokens
    np.testing.assert_allclose(got.logprobs[i].sum(), score, atol=1e-4)


def test_the_best_beams_come_best_first(vlm, image):
  ask = lambda prompts, n: vlm.generate(prompts, image, sampler="hf_beam(3, length_penalty=.5)",
                                        num_samples=n, stop=(17, 40), max_new_tokens=6)
  beams = ask(["ocr", "caption en"], 3)
  for of_prompt in (beams[:3], beams[3:]):
    scores = [sum(g.logprobs) / len(g.tokens)**.5 for g in of_prompt]
    assert scores == sorted(scores, reverse=True)
    assert len({tuple(g.tokens) for g in of_prompt}) == 3
  assert [g.tokens for g in ask("caption en", 1)] == [beams[3].tokens]


def test_a_beam_of_one_without_stops_is_greedy(model_and_params, rng):
  batch = prompts(rng, [3, 6])
  np.testing.assert_array_equal(run(model_and_params, batch, sampler="beam(1)").tokens,
                                run(model_and_params, batch).tokens)


def test_contrastive_search_equals_its_definition(model_and_params, rng):
  model, params = model_and_params
  batch = rows(prompts(rng, [5]), [0])
  got = run(model_and_params, batch, sampler="contrastive(k=4, alpha=.6)", n=4)

  @jax.jit
  def read(text, mask_ar):
    x, tokens = model.apply({"params": params}, text, mask_ar, batch["image"], method="embed")
    hidden, _ = model.apply({"params": params}, x, tokens, method=lambda m, *a: m.llm(*a))
    return hidden[0], model.apply({"params": params}, hidden[0, -1], method="logits")

  text = batch["text"][0, :5].tolist()
  for t in range(4):
    ids = lambda x: (np.array([x]), np.array([[0] * 5 + [1] * (len(x) - 5)]))
    hidden, logits = read(*ids(text))
    best, probs = (-np.inf, None), np.asarray(jax.nn.softmax(logits))
    for token in np.argsort(probs)[-4:]:
      after = np.asarray(read(*ids([*text, int(token)]))[0])
      unit = after / np.linalg.norm(after, axis=-1, keepdims=True)
      best = max(best, (0.4 * probs[token] - 0.6 * (unit[:-1] @ unit[-1]).max(), int(token)))
    assert got.tokens[0, t] == best[1]
    text.append(best[1])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_row_does_not_depend_on_its_batch(model_and_params, rng, sampler):
  batch, seeds = prompts(rng, [7, 2, 5, 3, 6]), np.arange(5) + 9
  five = run(model_and_params, batch, sampler=sampler, seeds=seeds)
  for index in ([3], [4, 1], [2, 2, 0, 1, 3]):  # single, reordered, repeated
    some = run(model_and_params, rows(batch, index), sampler=sampler, seeds=seeds[index])
    np.testing.assert_array_equal(some.tokens, five.tokens[index])
    # Tokens are equal; log-probabilities of some -6 nats are up to float32 rounding (2e-5 seen).
    np.testing.assert_allclose(some.logprobs, five.logprobs[index], rtol=1e-5, atol=2e-5)


def test_padding_changes_nothing(model_and_params, rng):
  batch = prompts(rng, [7, 2, 5])
  wider = {k: np.pad(v, ((0, 0), (0, 4))) if v.ndim == 2 else v for k, v in batch.items()}
  np.testing.assert_array_equal(run(model_and_params, wider).tokens,
                                run(model_and_params, batch).tokens)


@pytest.mark.parametrize("sampler", ["greedy", "contrastive(3)"])
def test_a_stop_is_the_last_token(model_and_params, rng, sampler):
  batch = prompts(rng, [3, 7, 5])
  free = run(model_and_params, batch, sampler=sampler)
  stops = [int(free.tokens[0, 2]), int(free.tokens[1, 4])]
  out = run(model_and_params, batch, stops=stops, sampler=sampler)
  for i in range(3):
    ends = [t for t in range(N) if free.tokens[i, t] in stops]
    length = ends[0] + 1 if ends else N
    assert out.length[i] == length and out.finished[i]
    np.testing.assert_array_equal(out.tokens[i, :length], free.tokens[i, :length])
    assert not out.tokens[i, length:].any() and not out.logprobs[i, length:].any()


def test_ends_early_when_all_are_done_and_does_not_wait_for_filling_rows(model_and_params, rng):
  batch = prompts(rng, [3, 4])
  stop = int(run(model_and_params, batch).tokens[0, 1])
  out = run(model_and_params, batch, stops=[stop], n=1000, limit=[1000, 0])
  assert out.step == out.length[0] <= 2 and not out.tokens[1].any()


def test_nothing_asked_is_nothing_said(model_and_params, rng):
  for sampler in ("greedy", "beam(2)", "contrastive(2)"):
    out = run(model_and_params, prompts(rng, [3]), n=0, sampler=sampler)
    assert out.length.tolist() == [0] and not out.tokens.any()


def test_numbers_and_stops_compile_nothing(model_and_params, rng):
  args = lambda t, stop: dict(sampler=f"top_p(p={t / 2}, t={t})", stops=[stop], seeds=[stop, 4])
  run(model_and_params, prompts(rng, [3, 4]), **args(1., 5))
  before = generate.prefill()._cache_size(), generate.advance()._cache_size()
  run(model_and_params, prompts(rng, [7, 1]), **args(.3, 9))
  assert (generate.prefill()._cache_size(), generate.advance()._cache_size()) == before


@pytest.mark.parametrize("dtype,atol", [("bfloat16", 0.15), ("int8", 0.3)])
def test_a_small_cache_stays_close(model_and_params, rng, dtype, atol):
  batch = prompts(rng, [3, 7, 5, 6])
  whole = run(model_and_params, batch, n=3)
  small = run(model_and_params, batch, n=3, cache_dtype=dtype)
  same = np.cumprod(small.tokens == whole.tokens, axis=1).astype(bool)
  assert same[:, 0].sum() >= 3  # a near tie may fall otherwise
  np.testing.assert_allclose(small.logprobs[same], whole.logprobs[same], atol=atol)
  assert np.abs(small.logprobs - whole.logprobs).max() > 0  # it is in use


def test_images_by_index_are_those_of_the_rows(model_and_params, rng):
  model, params = model_and_params
  batch = prompts(rng, [3, 7, 4])
  batch["image"] = batch["image"][[0, 1, 0]]
  index = {**batch, "image": batch["image"][:2], "image_index": np.array([[0], [1], [0]])}
  np.testing.assert_array_equal(run(model_and_params, index).tokens,
                                run(model_and_params, batch).tokens)
  # A place without an image is no token: row 1 has one image here, and one of two there.
  two = {**index, "image_index": np.array([[0, 1], [1, -1], [-1, -1]])}
  out = run(model_and_params, two)
  np.testing.assert_array_equal(out.tokens[1], run(model_and_params, batch).tokens[1])
  text_only = {k: v for k, v in rows(batch, [2]).items() if k != "image"}
  np.testing.assert_array_equal(out.tokens[2], run(model_and_params, text_only).tokens[0])


def test_a_bfloat16_model_reads_its_own_cache(model_and_params, rng):
  model, params = model_and_params
  half = paligemma.PaliGemma(paligemma.with_dtype(model.config, "bfloat16"))
  out = run((half, params), prompts(rng, [3]), cache_dtype="bfloat16")
  assert jnp.isfinite(out.logprobs).all()
