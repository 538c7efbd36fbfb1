import copy
import dataclasses
import inspect
import io
import math
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import big_vlm
from big_vlm.decode import generate
from big_vlm.decode.session import GenerationConfig
from big_vlm.families import paligemma
from big_vlm.training import fit
from big_vlm.vlm import VLM

PROMPTS = ["ocr", "answer en how many digits are there?", "detect 3 ; 7", "caption de", "ocr en"]
SAMPLERS = ["greedy", "top_k(5)|top_p(.9)|temperature(2.)", "best_of(2, 'min_p(.1)')", "beam(2)",
            "contrastive(3)"]


@pytest.fixture
def images(image):
  return [image, image[::-1], image[:, ::-1], image[:5], None]


def tokens_of(found):
  return [g.tokens for g in found]


def test_one_prompt_and_one_image(vlm, image):
  answer, = vlm.generate("ocr", image, max_new_tokens=5)
  assert len(answer.tokens) == len(answer.logprobs) <= 5
  assert answer.finish_reason in ("eos", "length")
  assert answer.text == vlm.tokenizer.to_str(answer.tokens)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_batch_changes_no_answer(vlm, images, sampler):
  ask = lambda index: vlm.generate([PROMPTS[i] for i in index], [images[i] for i in index],
                                   max_new_tokens=8, sampler=sampler, seed=3, stop=())
  together = ask(range(5))
  assert len({tuple(t) for t in tokens_of(together)}) > 2
  for index in ([3], [0, 4], [2, 2, 2, 1, 0, 0, 4, 3]):
    some = ask(index)
    assert tokens_of(some) == [together[i].tokens for i in index]
    for g, i in zip(some, index):
      np.testing.assert_allclose(g.logprobs, together[i].logprobs, rtol=1e-5, atol=2e-5)


def test_a_seed_draws_for_each_request(vlm, image):
  draw = lambda seed, n=1: tokens_of(vlm.generate(
      ["ocr", "caption en"], image, max_new_tokens=8, sampler="temperature(2.)", seed=seed,
      num_samples=n))
  assert draw(1) == draw(1) != draw(2)
  three = draw(1, 3)  # the samples of a prompt stand side by side
  assert three[0] == draw(1)[0] and three[3] == draw(1)[1]
  assert len({tuple(t) for t in three[:3]}) == 3
  assert draw([1, 2]) == [draw(1)[0], draw(2)[1]]


def test_best_of_is_the_best_of_the_samples(vlm, image):
  args = dict(max_new_tokens=6, seed=4)
  best, = vlm.generate("ocr", image, sampler="best_of(5, 'temperature(2.)')", **args)
  samples = vlm.generate("ocr", image, sampler="temperature(2.)", num_samples=5, **args)
  assert best.tokens == max(samples, key=lambda g: sum(g.logprobs)).tokens


def test_the_stream_is_the_answer(vlm, images):
  args = dict(max_new_tokens=30, sampler="temperature(2.)", seed=1)
  want = vlm.generate(PROMPTS, images, num_samples=2, **args)
  got = [""] * 10
  for i, piece in vlm.stream(PROMPTS, images, num_samples=2, **args):
    assert piece
    got[i] += piece
  assert got == [g.text for g in want]
  pieces = list(vlm.stream("ocr", images[0], strip_prompt=False, **args))
  assert pieces[0] == "ocr\n" and "".join(pieces[1:]) == want[0].text and len(pieces) > 3


def test_an_answer_that_was_started_is_continued(vlm, images):
  ask = dict(max_new_tokens=8, stop=())
  whole = vlm.generate(PROMPTS[:3], images[:3], **ask)
  starts = [g.tokens[:n] for g, n in zip(whole, (3, 1, 0))]
  rest = vlm.generate(PROMPTS[:3], images[:3], answer_start=starts, **ask)
  for g, start, more in zip(whole, starts, rest):
    count = len(g.tokens) - len(start)
    assert more.tokens[:count] == g.tokens[len(start):]
    np.testing.assert_allclose(more.logprobs[:count], g.logprobs[len(start):], atol=2e-5)
  shown = vlm.generate("ocr", images[0], answer_start="12", strip_prompt=False, **ask)[0]
  assert shown.text.startswith("ocr\n12")
  assert "".join(vlm.stream("ocr", images[0], answer_start="12", strip_prompt=False,
                            **ask)) == shown.text


def test_stops_by_token_and_by_string(vlm, image):
  free, = vlm.generate("ocr", image, max_new_tokens=20, stop=())
  assert len(free.tokens) == 20 and free.finish_reason == "length"
  at = 5
  stop = free.tokens[at]
  first = free.tokens.index(stop) + 1
  answer, = vlm.generate("ocr", image, max_new_tokens=20, stop=[stop])
  assert answer.tokens == free.tokens[:first] and answer.finish_reason == "stop"
  assert answer.text == vlm.tokenizer.to_str(free.tokens[:first - 1], stop_at_eos=False)

  text = free.text[3:5]
  answer, = vlm.generate("ocr", image, max_new_tokens=20, stop=("eos", text))
  assert answer.text == free.text[:free.text.index(text)] and answer.finish_reason == "stop"
  assert answer.tokens == free.tokens[:len(answer.tokens)]
  assert text in vlm.tokenizer.to_str(answer.tokens)
  assert text not in vlm.tokenizer.to_str(answer.tokens[:-1])
  assert "".join(vlm.stream("ocr", image, max_new_tokens=20, stop=("eos", text))) == answer.text


def test_an_eos_is_the_last_token_and_no_text(vlm, image):
  first = vlm.generate("ocr", image, max_new_tokens=1, stop=())[0].tokens
  tokenizer = copy.copy(vlm.tokenizer)
  tokenizer.eos_token, = first
  ends = dataclasses.replace(vlm, tokenizer=tokenizer)
  for answer in ends.generate(["ocr"] * 3, image):
    assert (answer.text, answer.tokens, answer.finish_reason) == ("", first, "eos")
  assert list(ends.stream("ocr", image)) == []
  assert ends.generate("ocr", image, max_new_tokens=3, stop=())[0].finish_reason == "length"


def test_limits(vlm, image):
  for n in (0, 1, 7):
    answer, = vlm.generate("ocr", image, max_new_tokens=n, stop=())
    assert len(answer.tokens) == n and answer.finish_reason == "length"
  assert vlm.generate("ocr", image, max_new_tokens=0)[0].text == ""
  prompt = [2, 5, 6, 7]
  assert len(vlm.generate(prompt, image, max_length=9, stop=())[0].tokens) == 5
  whole, = vlm.generate("ocr", image, max_new_tokens=4, strip_prompt=False)
  assert whole.text == "ocr\n" + vlm.generate("ocr", image, max_new_tokens=4)[0].text
  bare, = vlm.generate("<image>ocr\n", image, max_new_tokens=0, strip_prompt=False)
  assert bare.text == "ocr\n"


def test_prompts_of_any_kind(vlm, text_only, image):
  ids = vlm.tokenizer.to_int("ocr", bos=True) + vlm.tokenizer.to_int("\n")
  want = vlm.generate("ocr", image, max_new_tokens=6)[0].tokens
  for prompts in (ids, [ids], np.array(ids), np.array([ids], np.int32), ["ocr"], (tuple(ids),)):
    assert vlm.generate(prompts, image, max_new_tokens=6)[0].tokens == want
  answers = text_only.generate([[2, 5, 6], [2, 9]], max_new_tokens=6, stop=())
  assert [len(g.tokens) for g in answers] == [6, 6] and answers[0].text == ""


def test_images_of_any_kind(vlm, image, tmp_path):
  picture = Image.fromarray(image)
  picture.save(tmp_path / "cat.png")
  png = io.BytesIO()
  picture.save(png, "png")
  kinds = [image, picture, png.getvalue(), tmp_path / "cat.png", str(tmp_path / "cat.png"),
           jnp.asarray(image)]
  want = vlm.generate("ocr", image, max_new_tokens=6)[0]
  for kind in kinds:
    assert vlm.generate("ocr", kind, max_new_tokens=6)[0].tokens == want.tokens
  small = np.asarray(picture.resize((16, 16), Image.Resampling.NEAREST))
  floats = small.astype(np.float32) / 127.5 - 1  # beside bytes, in one batch
  both = vlm.generate(["ocr"] * 3, [floats, small, image], max_new_tokens=6)
  assert both[0].tokens == both[1].tokens and both[2].tokens == want.tokens
  batch = np.stack([small, small[::-1]])
  assert tokens_of(vlm.generate(["ocr"] * 2, batch, max_new_tokens=6)) == tokens_of(
      vlm.generate(["ocr"] * 2, list(batch), max_new_tokens=6))


def test_several_images_of_a_prompt(vlm, image):
  flipped = image[::-1]
  two, = vlm.generate("ocr", [[image, flipped]], max_new_tokens=8)
  assert two.tokens != vlm.generate("ocr", [[flipped, image]], max_new_tokens=8)[0].tokens
  mixed = vlm.generate(["ocr"] * 4, [[image, flipped], image, None, [image] * 3], max_new_tokens=8)
  assert mixed[0].tokens == two.tokens
  assert mixed[1].tokens == vlm.generate("ocr", image, max_new_tokens=8)[0].tokens
  assert mixed[2].tokens == vlm.generate("ocr", [None], max_new_tokens=8)[0].tokens


def test_one_image_is_encoded_once(vlm, image):
  packed = big_vlm.inputs.pack_requests(
      ["a", "b", "c"], big_vlm.inputs.by_prompt(image, 3), vlm.tokenizer,
      big_vlm.inputs.model_limits(vlm.config))
  assert packed.batch["image"].shape == (1, 16, 16, 3)
  assert packed.batch["image_index"].tolist() == [[0], [0], [0], [-1]]


def test_nothing_compiles_anew_over_fifty_mixed_requests(vlm, images, rng):
  """Sizes fall into buckets, all else is data: 50 requests of 1 to 4 prompts, three samplers."""
  samplers = [lambda x: "greedy", lambda x: f"temperature({x})", lambda x: f"top_p({x}, t={x})"]
  def ask(n, kind):
    words = " ".join(rng.choice(["one", "two", "three"], rng.integers(1, 4)))
    stop = int(rng.integers(300))
    vlm.generate([words] * n, images[:n], max_new_tokens=int(rng.integers(1, 16)),
                 sampler=samplers[kind](float(rng.uniform(.1, 1.))), stop=("eos", stop),
                 seed=stop)
  for n in (1, 2, 4):
    for kind in range(3):
      ask(n, kind)
  compiled = lambda: (generate.prefill()._cache_size(), generate.advance()._cache_size())
  before, events = compiled(), []
  listen = lambda name, *_, **__: events.append(name) if "backend_compile" in name else None
  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    for _ in range(50):
      ask(int(rng.integers(1, 5)), int(rng.integers(3)))
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
  assert compiled() == before and not events


def test_all_devices_answer_as_one(source, vlm, image, stirred):
  """Parameters are cut over 8 devices, none of which holds them all."""
  rules = [(".*/input_embedding", ("fsdp", None)), (".*/gating_einsum", (None, None, None, "fsdp")),
           (".*/mlp/linear", (None, "fsdp", None)), (".*", "replicate")]
  everywhere = stirred(big_vlm.from_preset(source, load_weights=False, rules=rules))
  table = everywhere.params["llm"]["embedder"]["input_embedding"]
  assert table.addressable_shards[0].data.shape == (1632 // 8, 32)
  for sampler in ("greedy", "beam(2)"):
    args = dict(max_new_tokens=6, sampler=sampler)
    assert tokens_of(everywhere.generate(PROMPTS[:3], image, **args)) == tokens_of(
        vlm.generate(PROMPTS[:3], image, **args))
  totals, _ = everywhere.score(PROMPTS[:3], ["7", "a caption", "3"], image)
  np.testing.assert_allclose(totals, vlm.score(PROMPTS[:3], ["7", "a caption", "3"], image)[0],
                             rtol=1e-5)


def test_detect_answers_are_well_formed_with_a_grammar(vlm, image):
  answers = vlm.generate(["detect 3 ; 7", "detect 5", "ocr"], image, max_new_tokens=40, seed=1,
                         grammar="auto", sampler="temperature(1.5)", no_repeat_ngram=5)
  for answer, labels in zip(answers, ({"3", "7"}, {"5"})):
    found = vlm.detections(answer, image)
    if answer.finish_reason == "eos":
      assert len(found) == (answer.text.count(";") + 1 if answer.text else 0)
    assert {o.label for o in found} <= labels
    for o in found:
      assert 0 <= o.box_score * o.label_score <= 1 and max(o.box) <= 30
  assert answers[2].tokens == vlm.generate("ocr", image, max_new_tokens=40, seed=1,
                                           sampler="temperature(1.5)", no_repeat_ngram=5)[0].tokens


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_do_not_depend_on_the_batch(source, mesh1, rng, dtype):
  vlm = big_vlm.from_preset(source, load_weights=False, mesh=mesh1, dtype=dtype)
  tokens = rng.integers(4, 1632, (3, 5)).astype(np.int32)
  images = rng.integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
  together = np.asarray(vlm.logits(tokens, images))
  assert together.shape == (3, 5, 1632) and together.dtype == np.float32
  np.testing.assert_array_equal(together[1:2], vlm.logits(tokens[1:2], images[1:2]))
  causal = np.asarray(vlm.logits(tokens, images, mask_ar=np.ones_like(tokens)))
  shorter = vlm.logits(tokens[:, :2], images, mask_ar=np.ones((3, 2), np.int32))
  np.testing.assert_allclose(causal[:, :2], shorter, atol=1e-5 if dtype == "float32" else 0.05)


@pytest.mark.parametrize("sampler", ["greedy", "temperature(2.)"])
def test_score_is_the_sum_of_what_generate_says(vlm, images, sampler):
  answers = vlm.generate(PROMPTS, images, max_new_tokens=6, sampler=sampler, stop=())
  totals, each = vlm.score(PROMPTS, tokens_of(answers), images)
  for answer, total, logprobs in zip(answers, totals, each):
    np.testing.assert_allclose(logprobs, answer.logprobs, atol=1e-4)
    assert math.isclose(total, sum(answer.logprobs), abs_tol=1e-4)


def test_score_equals_the_full_forward(vlm, image):
  suffixes = ["3", "three digits", "ocr"]
  totals, each = vlm.score("answer en how many?", suffixes, image)
  small = vlm.preprocess(image)[None]
  prompt = vlm.tokenizer.to_int("answer en how many?", bos=True) + vlm.tokenizer.to_int("\n")
  for suffix, total, logprobs in zip(suffixes, totals, each):
    ids = vlm.tokenizer.to_int(suffix, eos=True)
    mask_ar = [[0] * len(prompt) + [1] * len(ids)]
    full = jax.nn.log_softmax(vlm.logits([prompt + ids], small, mask_ar))[0]
    want = [full[len(prompt) - 1 + t, token] for t, token in enumerate(ids)]
    np.testing.assert_allclose(logprobs, want, atol=1e-4)
    assert math.isclose(total, sum(want), abs_tol=1e-4)


def test_adapters_begin_as_the_base_and_merge_back(vlm, image):
  tokens, small = [[2, 5, 6]], vlm.preprocess(image)[None]
  base = np.asarray(vlm.logits(tokens, small))
  lora = vlm.with_lora(rank=2, targets=".*attn.*|.*mlp.*|img/head/.*")
  np.testing.assert_array_equal(lora.logits(tokens, small), base)
  with pytest.raises(ValueError, match="Call merge_lora"):
    lora.export("nowhere")
  np.testing.assert_array_equal(lora.merge_lora().logits(tokens, small), base)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_quantized_it_answers_and_trains_adapters(vlm, image, kind):
  small = vlm.quantize(kind)
  tokens, pixels = [[2, 5, 6]], vlm.preprocess(image)[None]
  error = np.abs(small.logits(tokens, pixels) - vlm.logits(tokens, pixels)).max()
  assert 0 < error < (0.5 if kind == "int8" else 5)
  assert len(small.generate("ocr", image, max_new_tokens=4, stop=())[0].tokens) == 4
  lora = small.with_lora(rank=4)
  history = lora.fit([{"image": image, "prefix": "ocr", "suffix": "3 7"}], steps=8, batch_size=1,
                     lr=1e-2, log_every=0)
  assert history["loss"][-1] < history["loss"][0]


def test_fit_then_generate(source, mesh1, image):
  vlm = big_vlm.from_preset(source, load_weights=False, mesh=mesh1)
  history = vlm.fit([{"image": image, "prefix": "ocr", "suffix": "37"}], steps=30, batch_size=1,
                    lr=3e-3, log_every=0)
  assert history["loss"][-1] < history["loss"][0]
  answer, = vlm.generate("ocr", image)
  assert (answer.text, answer.finish_reason) == ("37", "eos")


def test_prompts_are_laid_out_as_in_training(vlm):
  batch = vlm.tokenize(["ocr"])
  real = batch["text"][0][batch["mask_input"][0] == 1].tolist()
  assert real == [2, *vlm.tokenizer.to_int("ocr"), vlm.tokenizer.to_int("\n")[0]]
  assert batch["text"].shape == (1, 16)


@pytest.mark.parametrize("args,message", [
    (dict(prompts=[]), "There are 0 prompts"),
    (dict(prompts=["a", "b"], images=["one"]), "2 prompts and 1 images"),
    (dict(prompts=["ocr " * 9000]), "but the model takes 8192 in all"),
    (dict(prompts="a", images=np.zeros((2, 2), np.uint8)), r"\[H, W, 3\], not \[2, 2\]"),
    (dict(prompts="a", images=[np.zeros((1, 2, 2, 3, 3), np.uint8)]), r"not \[1, 2, 2, 3, 3\]"),
    (dict(prompts="a", images=np.full((2, 2, 3), 200.)), "values in .-1, 1., not 200"),
    (dict(prompts="a", images="no.png"), "Cannot read the image no.png"),
    (dict(prompts="a", images=b"junk"), "cannot decode image: 4 bytes"),
    (dict(prompts=[2.5]), "A prompt is a string or a flat list of token ids"),
    (dict(prompts=np.zeros((1, 2, 8))), "Embeddings in the place of ids are for score_tokens"),
    (dict(prompts={"inputs_embeds": np.zeros((1, 2, 8))}), "layer_intercept_fn.* for i == -1"),
    (dict(prompts=[[]]), "Prompt 0 is empty"),
    (dict(prompts=[[2, 99_999]]), "id 99999, which is not in the vocabulary of 1632"),
    (dict(prompts="a", sampler="top_p(p=2)"), "from 1e-09 to 1"),
    (dict(prompts="a", sampler="greddy"), "Did you mean 'greedy'"),
    (dict(prompts="a", max_new_tokens=-1), "max_new_tokens=-1"),
    (dict(prompts="a", stop=[1.5]), "stop takes token ids and strings"),
    (dict(prompts="a", sampler="beam(2)", stop="x"), "give stop as token ids"),
    (dict(prompts="a", seed=[1, 2]), "1 prompts and 2 seeds"),
    (dict(prompts="a", cache_dtype="int3"), "cache_dtype='int3'"),
    (dict(prompts="a", grammar="detekt"), "Did you mean 'detect'"),
    (dict(prompts="a", images=None), "give images, or images=.None."),
    (dict(prompts=None), "The prompts are a NoneType"),
    (dict(prompts=np.zeros((4, 4, 3), np.uint8), images="caption en"), "Prompts come first"),
    (dict(prompts="cat.png", images="caption en"), "caption en: No such file.*Prompts come first"),
    (dict(prompts={"image": b"", "prefix": "a"}), "keys 'image', 'prefix' is not understood"),
    (dict(prompts={"input_ids": [[2]], "pixel_values": 0}), "processor hold placeholders"),
    (dict(prompts={"token_ids": [[2, 5]], "padding_mask": [1]}), r"not \[1, 2\] and \[1\]"),
    (dict(prompts={"prompts": "a", "response_mask": [[0, 1]]}), "marks tokens of an answer"),
    (dict(prompts={"token_ids": [[2, 5, 0, 0], [2]]}, images=[None] * 2), "Prompt 0 has padding"),
    (dict(prompts=[[2, 5, 0, 0]]), "Prompt 0 has padding .id 0. at an end"),
    (dict(prompts="caption <image> en"), "1 times '<image>', and there are 0 images"),
    (dict(prompts="a", images=np.linspace(0, 1, 48).reshape(4, 4, 3)), "give x . 2 - 1"),
    (dict(prompts="a", images="https://a.b/cat.png"), "is a URL, and images are not fetched"),
    (dict(prompts="a", images="/"), "Cannot read the image /: Is a directory"),
    (dict(prompts=[2, 5, 6, 7], max_length=4), "prompt 0 has 4 tokens. max_new_tokens"),
    (dict(prompts="a", num_samples=3, sampler="beam(3)"), "would be one answer again and again"),
    (dict(prompts="a", num_samples=3, sampler="hf_beam(2)"), "there are 2 beams"),
    (dict(prompts="a", sampler="hf_beam(5000)"), "more beams than half of the"),
    (dict(prompts=[[5, -1]]), "has the token id -1, which is not in the vocabulary"),
    (dict(prompts="a", answer_start=["b", "c"]), "1 prompts and 2 starts of answers"),
    (dict(prompts="detect a", answer_start="b", grammar="auto"), "a grammar is of whole answers"),
    (dict(prompts="a", answer_start="b", grammar=["b", "c"]), "leave answer_start out"),
    (dict(prompts="a", sampler="temperature('hot')"), "a finite number of 1e-09 or more"),
    (dict(prompts="a", sampler="temperature(1e999)"), "a finite number of 1e-09 or more"),
    (dict(prompts="a", sampler="top_k(2.5)"), "k is a number of tokens"),
    (dict(prompts="a", sampler=0.7), "A sampler is a string such as"),
    (dict(prompts="a", stop=True), "stop takes token ids and strings"),
])
def test_errors(vlm, args, message):
  with pytest.raises((ValueError, OSError), match=message):
    vlm.generate(**{"images": [None] * 1, **args})


@pytest.mark.parametrize("ask", [
    dict(prompts="ocr\n"), dict(prompts=["<image>ocr"]), dict(prompts={"prompts": ["ocr\n"]}),
    dict(prompts={"text": "ocr"}), dict(prompts={"token_ids": [2, 5, 6]}, like=[2, 5, 6]),
    dict(prompts="ocr", stop="auto"),
    dict(prompts="ocr", stop=("<eos>",)), dict(prompts="ocr", stop=("eos", np.int64(1))),
    dict(prompts={"token_ids": np.array([[0, 2, 5, 6, 0, 0]]),
                  "padding_mask": np.array([[0, 1, 1, 1, 0, 0]])}, like=[2, 5, 6]),
], ids=str)
def test_requests_in_the_form_of_other_frameworks(vlm, image, ask):
  like = ask.get("like", "ocr")
  answer, = vlm.generate(images=image, max_new_tokens=6,
                         **{k: v for k, v in ask.items() if k != "like"})
  assert answer.tokens == vlm.generate(like, image, max_new_tokens=6)[0].tokens


def test_images_are_read_as_they_are_needed(vlm, image, monkeypatch):
  monkeypatch.setattr("big_vlm.decode.session.MAX_PROMPTS", 2)
  read = []
  def pictures():
    for i in range(4):
      read.append(i)
      yield image
  pieces = vlm.stream(["ocr"] * 4, pictures(), max_new_tokens=2)
  next(pieces)
  assert read == [0, 1]
  with pytest.raises(ValueError, match="5 prompts and 4 images"):
    vlm.generate(["ocr"] * 5, pictures(), max_new_tokens=1)


@pytest.mark.parametrize("call,message", [
    (lambda v: v.score_tokens([[2, 5]], mode="loss", targets=[[5, -100]]), "targets have -100"),
    (lambda v: v.score_tokens([[2, 5]], mode="loss", targets=[[5, 9999]]), "targets have 9999"),
    (lambda v: v.logits([[2, 9999]]), "tokens have 9999, which is not in the vocabulary"),
    (lambda v: v.logits([[2., 5.]]), "whole numbers, not float64"),
    (lambda v: v.logits([[2, 5]], np.full((1, 16, 16, 3), 200.)), "not 200..200"),
    (lambda v: v.score("a", "b"), "give images, or images=.None."),
    (lambda v: v.export("x", format="pefd"), "Did you mean 'peft'"),
    (lambda v: v.export("x", base="google/y"), "base belongs to format='peft'"),
])
def test_errors_of_logits_scores_and_exports(vlm, call, message):
  with pytest.raises(ValueError, match=message):
    call(vlm)


def test_errors_of_a_model_without_tokenizer_or_tower(text_only, vlm, image):
  with pytest.raises(ValueError, match="came without a tokenizer: give token ids"):
    text_only.generate("hello")
  with pytest.raises(ValueError, match="no image tower"):
    text_only.generate([[2, 5]], image)
  with pytest.raises(ValueError, match="came without a tokenizer: give the ids"):
    text_only.generate([[2, 5]], stop="x")
  with pytest.raises(ValueError, match="changes its mind"):
    list(vlm.stream("ocr", image, sampler="beam(2)"))
  with pytest.raises(ValueError, match="needs targets .2, 3."):
    text_only.score_tokens([[2, 5, 6]] * 2, mode="loss")


@pytest.mark.parametrize("call", [
    lambda v, image: v.generate("a", image), lambda v, image: list(v.stream("a", image)),
    lambda v, image: v.score("a", "b", image), lambda v, image: v.tokenize("a"),
    lambda v, image: v.logits([[2, 5]], image[None]),
    lambda v, image: v.score_tokens([[2, 5]], image[None]),
    lambda v, image: v.outputs([[2, 5]], image[None]),
    lambda v, image: v.prefill([[2, 5]], image[None]),
    lambda v, image: v.fit([{"image": image, "prefix": "a", "suffix": "b"}]),
])
def test_a_siglip_says_that_it_reads_no_text(mesh1, image, call):
  model = paligemma.PaliGemma(paligemma.config(img=dict(variant="tiny")))
  with pytest.raises(ValueError, match="a vision tower alone.*vlm.image_features"):
    call(VLM(model, {}, None, mesh1, None, "test"), image)


def test_the_arguments_of_generate_are_the_options():
  keywords = list(inspect.signature(big_vlm.VLM.generate).parameters.values())[3:]
  assert [(k.name, k.default) for k in keywords] == [
      (f.name, f.default) for f in dataclasses.fields(GenerationConfig)]


def test_the_arguments_of_fit_are_those_of_training():
  of = lambda f: {k: p.default for k, p in inspect.signature(f).parameters.items()}
  assert list(of(big_vlm.VLM.fit).items())[2:] == list(of(fit.fit).items())[2:]


def test_a_model_is_five_lines(vlm):
  assert len(repr(vlm).splitlines()) == 5 and len(repr(vlm)) < 500 and "images 16" in repr(vlm)


def test_adapters_that_were_dropped_are_not_a_full_training(vlm, image):
  other = dataclasses.replace(vlm)
  other.with_lora(2)
  with pytest.raises(ValueError, match="vlm = vlm.with_lora"):
    other.fit([{"image": image, "prefix": "ocr", "suffix": "3"}], steps=1)


def test_the_dtype_of_a_preset_is_one_of_three(source):
  with pytest.raises(ValueError, match="quantize.'int8'."):
    big_vlm.from_preset(source, dtype="int8")


def test_a_folder_without_a_checkpoint_is_named(source, tmp_path):
  with pytest.raises(ValueError, match="is not a checkpoint that can be read"):
    big_vlm.from_preset(tmp_path)
  with pytest.raises(FileNotFoundError, match="no finished checkpoint yet"):
    big_vlm.from_preset(source)


def test_using_a_model_imports_neither_training_nor_plots():
  folder = pathlib.Path(__file__).parents[1] / "tests/golden/hf_gemma"
  code = (f"import sys, big_vlm; vlm = big_vlm.from_preset({str(folder)!r})\n"
          "vlm.generate([[2, 5]], max_new_tokens=1, stop=()); vlm.score([[2, 5]], [[7]])\n"
          "assert not [m for m in sys.modules if m.startswith('big_vlm.training') or\n"
          "            m.partition('.')[0] in ('matplotlib', 'grain', 'orbax', 'evaluators')]")
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                        cwd=folder.parents[2])
  assert done.returncode == 0, done.stderr[-2000:]


def test_objects_is_the_old_name_of_detections():
  assert big_vlm.VLM.objects is big_vlm.VLM.detections
