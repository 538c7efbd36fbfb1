"""Packed and cut batches: the same examples, loss and gradients as batches of one example a row."""
import functools
import itertools

import jax
import ml_collections
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from big_vlm.batch import check_batch
from big_vlm.data import loader, packing
from big_vlm.families import paligemma
from big_vlm.training import losses, next_token
from pp import text_layout

SIZE, TEXT = 16, 24  # pixels, tokens of a row


def example(i, prompt, answer, images=1, frames=False):
  """An example of `prompt` and `answer` tokens, as a pipeline makes it."""
  rng = np.random.default_rng(i)
  ids = rng.integers(4, 128, prompt + answer).tolist()
  row = text_layout.layout(ids[:prompt], ids[prompt:], TEXT, image=True)
  if images:
    shape = (images,) * (frames or images > 1) + (SIZE, SIZE, 3)
    row["image"] = rng.integers(0, 256, shape, np.uint8)
  return row | {"_id": f"x:{i}", "suffix": f"answer {i}"}


SHAPES = [(3, 4), (9, 2), (5, 11), (2, 1), (14, 6), (1, 1), (20, 9), (4, 4)]  # one is cut


def examples(images):
  return [example(i, *shape, images[i % len(images)]) for i, shape in enumerate(SHAPES)]


def layout(mode, n=8, row_examples=1):
  return packing.Layout(n, mode, row_examples, SIZE, 4)


def packed(found, row_examples=4):
  """The packed batch of the examples, cut: only what the devices get."""
  how = layout("pack", len(found), row_examples)
  slots, make = how.reader(range(how.rows))
  return how.cut(loader.split_batch(make([found[i] for i in slots]))[0])


MODELS = {
    "gemma": dict(variant="tiny"), "gemma 2, window": dict(variant="tiny2"),
    "gemma 2, chunked": dict(variant="tiny2", attention="chunked"),
    "gemma 3": dict(variant="gemma3_tiny", sliding_window_mode="prefix_bidirectional"),
    "opt": dict(variant="opt_tiny", max_positions=128)}


@functools.cache
def jitted(model):
  make = jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))
  loss = jax.jit(jax.value_and_grad(lambda params, batch, weights: next_token.loss_fn(
      model, params, batch, weights, jax.random.key(0))))
  return make(), loss


def loss_and_gradients(model, batch, normalization="example"):
  params, loss = jitted(model)
  return loss(params, batch, losses.batch_weights(batch, normalization))


def alike(got, want):
  np.testing.assert_allclose(got[0], want[0], atol=1e-6, rtol=0)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6, rtol=0), got[1], want[1])


def decoder(**kw):
  return paligemma.PaliGemma(paligemma.config(dict(variant="tiny"), dict(variant="tiny") | kw))


@pytest.mark.parametrize("llm, normalization", [
    *((llm, "example") for llm in MODELS), ("gemma", "token")])
def test_loss_and_gradients_are_those_of_one_example_a_row(llm, normalization):
  model, found = decoder(**MODELS[llm]), examples([1])
  batch = packed(found)
  check_batch(batch, train=True, vocab_size=128)
  assert batch["text"].shape[0] == 2 and batch["image"].shape[:2] == (2, 4)
  whole = loader.split_batch(loader.collate(found))[0]
  alike(loss_and_gradients(model, batch, normalization),
        loss_and_gradients(model, whole, normalization))


@pytest.mark.parametrize("images", [[2], [1, 0], [0, 2, 1]])
def test_images_of_any_number_and_texts_without_one(images):
  model, found = decoder(), examples(images)
  batch = packed(found)
  check_batch(batch, train=True)
  # Batches of one example a row have images in all of them, or in none.
  parts = [[e for i, e in enumerate(found) if images[i % len(images)] == n] for n in set(images)]
  each = [jax.tree.map(lambda x, part=part: x * len(part) / len(found), loss_and_gradients(
      model, loader.split_batch(loader.collate(part))[0])) for part in parts]
  alike(loss_and_gradients(model, batch), jax.tree.map(lambda *xs: sum(xs), *each))


def test_no_example_predicts_the_first_token_of_the_next():
  # As "tok(key='text', bos='yes', eos='yes')|masked_concat(['text'], mask_ar=[1], mask_loss=[1])".
  found = [example(i, *shape, images=0) for i, shape in enumerate(SHAPES)]
  for e in found:
    e |= {"mask_ar": np.ones_like(e["text"]), "mask_loss": (e["text"] > 0).astype(np.int32)}
  whole, batch = loader.split_batch(loader.collate(found))[0], packed(found)
  assert batch["mask_loss"].sum() == whole["mask_loss"][:, 1:].sum()
  alike(loss_and_gradients(decoder(), batch), loss_and_gradients(decoder(), whole))


def test_texts_alone_have_no_slots():
  found = [example(i, *shape, images=0) for i, shape in enumerate(SHAPES)]
  assert set(packed(found)) == {*packing.TEXT_KEYS, "segment"}  # in a mixture with images


def test_a_row_is_a_row_whatever_else_a_process_has(monkeypatch):
  found = [example(i, *SHAPES[i % 8], images=i % 3) for i in range(24)]
  how = layout("pack", 24, 2)
  monkeypatch.setattr(packing.distributed, "most", lambda numbers: [40, 4, 0])

  def make(rows):
    slots, collate = how.reader(rows)
    batch, host = loader.split_batch(collate([found[i] for i in slots]))
    return how.cut(batch) | host
  whole = make(range(12))
  assert sorted(sum(whole["_id"], [])) == sorted(e["_id"] for e in found)
  for rows in ([0, 1, 2, 3, 4, 5], [6, 7, 8], [9], [1, 6]):
    part = make(rows)
    for key in (*packing.TEXT_KEYS, "segment", "image", "image_segment"):
      assert part[key].dtype == whole[key].dtype
      np.testing.assert_array_equal(part[key], whole[key][rows])
    assert part["suffix"] == [whole["suffix"][row] for row in rows]


@given(st.integers(1, 5).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(1, 4).flatmap(
    lambda each: st.lists(st.integers(1, 99), min_size=rows * each, max_size=rows * each)))))
def test_rows_are_shared_out_evenly(drawn):
  rows, sizes = drawn
  got = packing.share_out(sizes, rows)
  assert sorted(sum(got, [])) == list(range(len(sizes)))
  assert {len(row) for row in got} == {len(sizes) // rows}
  total = [sum(sizes[i] for i in row) for row in got]
  assert max(total) - min(total) <= max(sizes) * max(len(got[0]) - 1, 1)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_buckets_hold_what_they_must(most, need):
  lengths = packing.buckets(most)
  assert lengths == sorted(set(lengths)) and lengths[-1] == most and len(lengths) <= 8
  assert next(n for n in lengths if n >= min(need, most)) <= max(1.5 * need + 8, most / 8 + 8)


def test_a_batch_is_cut_to_what_it_needs():
  found = [example(i, 3, 4) for i in range(4)]
  whole = loader.split_batch(loader.collate(found))[0]
  how = layout("buckets", 4)
  cut = how.cut(whole)
  assert cut["text"].shape == (4, 9) and how.cut(cut)["text"].shape == (4, 9)
  assert how.tokens(whole) == (4 * 27, 4 * 11) and how.tokens(cut) == (4 * 12, 4 * 11)
  model = decoder()
  alike(loss_and_gradients(model, cut), loss_and_gradients(model, whole))


def test_no_token_of_a_prompt_is_padding():
  # A pad that others see, or that is supervised, is a token; behind the last of them are none.
  row = {"text": np.array([5, 0, 6, 0, 0, 0]), "mask_ar": np.array([0, 0, 0, 0, 1, 1]),
         "mask_loss": np.array([0, 0, 0, 0, 0, 0])}
  assert packing.text_tokens(row).tolist() == [4]
  assert packing.text_tokens(row | {"mask_loss": np.array([0, 0, 0, 0, 1, 0])}).tolist() == [5]
  nothing = {key: np.full((1, 3), key == "mask_ar") for key in row}
  assert packing.text_tokens(nothing).tolist() == [2]


class Stream:
  def __getitem__(self, index):
    return example(index, *SHAPES[index % 8], images=index % 2)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_stream_is_the_same_resumed_on_any_number_of_processes(workers, monkeypatch):
  how = layout("pack", 16, 2)
  monkeypatch.setattr(packing.distributed, "most", lambda numbers: [40, 2, 0])

  def take(count, step=0, rows=range(8)):
    batches = loader.train_batches(Stream(), 16, step=step, rows=rows, workers=workers,
                                   reader=how.reader)
    return [how.cut(loader.split_batch(batch)[0]) | {"_id": batch["_id"]}
            for batch in itertools.islice(batches, count)]
  want = take(3)
  for first, processes in ((1, 1), (0, 2), (2, 4), (1, 8))[:1 if workers else 4]:
    each = 8 // processes
    parts = [take(1, first, range(p * each, (p + 1) * each)) for p in range(processes)]
    for key in ("text", "segment", "image", "image_segment"):
      np.testing.assert_array_equal(np.concatenate([p[0][key] for p in parts]), want[first][key])
  ids = lambda batch: sorted(sum(batch["_id"], []), key=lambda i: int(i[2:]))
  assert [ids(batch) for batch in want] == [[f"x:{i}" for i in range(k, k + 16)]
                                            for k in (0, 16, 32)]  # those of unpacked steps


def config(**fields):
  return ml_collections.ConfigDict(dict(input=dict(
      dict(batch_size=8, packing="pack", row_examples=4, mixture=[]), **fields)))


@pytest.mark.parametrize("fields, complaint", [
    (dict(packing="packed"), "Unknown config.input.packing 'packed'. Did you mean 'pack'"),
    (dict(row_examples=3), "row_examples=3 .* does not divide a batch of 8"),
    (dict(row_examples=0), "row_examples=0 .* does not divide a batch of 8")])
def test_bad_fields_are_named(fields, complaint):
  with pytest.raises(ValueError, match=complaint):
    packing.rows(config(**fields))


@pytest.mark.parametrize("change, complaint", [
    (dict(image=np.zeros((SIZE, SIZE, 3), np.float32)), "x:3 has an image float32"),
    (dict(image=np.zeros((9, 9, 3), np.uint8)), r"x:3 has an image uint8 \(9, 9, 3\)"),
    (text_layout.layout([4], [5], 9), r"'text' is .* in x:3; .*`text_layout` with")])
def test_unlike_examples_are_named(change, complaint):
  found = [example(i, 4, 4) for i in range(4)]
  found[3] |= change
  with pytest.raises(ValueError, match=complaint):
    packed(found)
