import io

import numpy as np
import pytest
from PIL import Image

import big_vlm
from big_vlm.checkpoints import native

MODEL = dict(img=dict(variant="tiny"), llm=dict(variant="tiny", vocab_size=1632))


@pytest.fixture(scope="module")
def source(tmp_path_factory, tokenizer):
  """A work folder as training leaves it, but for the checkpoint itself."""
  folder = tmp_path_factory.mktemp("model")
  native.write_model(folder, MODEL, tokenizer)
  return folder


@pytest.fixture(scope="module")
def vlm(source, mesh1):
  return big_vlm.from_preset(source, load_weights=False, mesh=mesh1)


@pytest.fixture
def image(rng):
  return rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)


def test_one_prompt_and_one_image(vlm, image):
  answer, = vlm.generate("ocr", image, max_new_tokens=5)
  assert len(answer.tokens) == len(answer.logprobs) <= 5
  assert answer.finish_reason in ("eos", "length")
  assert answer.text == vlm.tokenizer.to_str(answer.tokens)


def test_the_batch_changes_no_answer(vlm, image):
  prompts = ["ocr", "answer en how many digits are there?", "detect 3 ; 7", "caption de", "ocr"]
  images = [image, image[::-1], image[:, ::-1], image[:5], image]
  together = vlm.generate(prompts, images, max_new_tokens=8)
  for i in (3, 0, 2):
    alone, = vlm.generate(prompts[i], images[i], max_new_tokens=8)
    assert alone.tokens == together[i].tokens
    np.testing.assert_allclose(alone.logprobs, together[i].logprobs, rtol=1e-5, atol=1e-5)


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


def test_all_devices_answer_as_one(source, vlm, image):
  everywhere = big_vlm.from_preset(source, load_weights=False)  # 8 devices, 3 prompts
  prompts = ["ocr", "caption en", "detect 1"]
  want = vlm.generate(prompts, image, max_new_tokens=6)
  assert [a.tokens for a in everywhere.generate(prompts, image, max_new_tokens=6)] == [
      a.tokens for a in want]


def test_images_as_bytes_pil_or_arrays(vlm, image):
  png = io.BytesIO()
  Image.fromarray(image).save(png, "png")
  kinds = [image, Image.fromarray(image), png.getvalue()]
  pixels = [vlm.preprocess(kind) for kind in kinds]
  assert pixels[0].shape == (16, 16, 3)
  np.testing.assert_array_equal(pixels[0], pixels[1])
  np.testing.assert_array_equal(pixels[0], pixels[2])


def test_prompts_are_laid_out_as_in_training(vlm):
  batch = vlm.tokenize(["ocr"])
  real = batch["text"][0][batch["mask_input"][0] == 1].tolist()
  assert real == [2, *vlm.tokenizer.to_int("ocr"), vlm.tokenizer.to_int("\n")[0]]
  assert batch["text"].shape == (1, 16)


def test_a_seed_gives_the_same_sample(vlm, image):
  draw = lambda seed: vlm.generate(["ocr"] * 2, image, max_new_tokens=8, sampler="temperature(2.)",
                                   seed=seed)
  first = draw(1)
  assert [a.tokens for a in draw(1)] == [a.tokens for a in first]
  assert first[0].tokens != first[1].tokens  # each request has a key of its own
  assert [a.tokens for a in draw(2)] != [a.tokens for a in first]


@pytest.mark.parametrize("prompts,images,message", [
    ([], [], "0 prompts and 0 images"),
    (["a", "b"], ["one"], "2 prompts and 1 images"),
    (["ocr " * 9000], None, "is longer than 8192"),
])
def test_errors(vlm, prompts, images, message):
  with pytest.raises(ValueError, match=message):
    vlm.generate(prompts, images)


def test_a_folder_without_a_checkpoint_is_named(source, tmp_path):
  with pytest.raises(ValueError, match="is no checkpoint that can be read"):
    big_vlm.from_preset(tmp_path)
  with pytest.raises(FileNotFoundError, match="no finished checkpoint yet"):
    big_vlm.from_preset(source)
