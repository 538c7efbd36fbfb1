"""Every pp string of big_vision's PaliGemma configs parses, runs, and gives big_vision's results.

tests/golden/make_pp_strings.py writes the strings and, by running big_vision, the results.
"""
import ast
import json
import pathlib
import re

import jax
import numpy as np
import pytest

from pp import mask_codes
from pp.builder import PreprocessError, get_preprocess_fn, random_ops
from pp.tokenizer import GEMMA_MODEL
from tests.golden.pp_examples import EXAMPLES, example

TOKENIZER = 'gemma(tokensets=("loc", "seg"))'
GOLDEN = pathlib.Path(__file__).parent / "golden"
LINES = [line.split("\t") for line in (GOLDEN / "pp_strings.txt").read_text().splitlines()]
STRINGS = [(config, ast.literal_eval(string)) for config, string in LINES]
NUMBERED = [pytest.param(n, id=f"{n}-{STRINGS[n][0]}") for n in range(len(STRINGS))]
EVAL = [n for n, (_, string) in enumerate(STRINGS) if "mask_input" in string]
with np.load(GOLDEN / "pp_strings.npz") as file:
  RESULTS = {k.replace("+", "/"): file[k] for k in file.files}
RUN_BY_BIG_VISION = sorted({int(k.split("|")[0]) for k in RESULTS})


@pytest.fixture(autouse=True, scope="module")
def models(tmp_path_factory):
  """The environment names a tiny tokenizer for "gemma" and a tiny mask model for "oi"."""
  path = tmp_path_factory.mktemp("models") / "vae-oid.npz"
  with np.load(GOLDEN / "vqvae.npz") as golden:
    np.savez(path, **{k.removeprefix("params/"): golden[k] for k in golden.files
                      if k.startswith("params/")})
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv(GEMMA_MODEL, str(GOLDEN / "tokenizers/gemma/tokenizer.model"))
    patch.setenv(mask_codes.MODEL, str(path))
    yield path


def run(string, data, random=True):
  if random:
    data = {"_epoch": 0, "_rng": np.random.default_rng(0), **data}
  return get_preprocess_fn(string)(data)


def test_all_configs_are_there():
  assert len(STRINGS) >= 80 and {config for config, _ in STRINGS} == set(EXAMPLES)


@pytest.mark.parametrize("n", NUMBERED)
def test_each_string_runs(n):
  config, string = STRINGS[n]
  got = run(string, EXAMPLES[config], random=n not in EVAL)  # an evaluation has no generator
  length = int(re.search(r"tolen\((\d+)", string)[1])
  size = int(re.search(r"(?:resize|video_decode|random_crop|inception_crop)\((\d+)", string)[1])
  frames = re.search(r'video_ensure_shape\("image", \((\d+)', string)
  assert got["image"].shape == (*([int(frames[1])] if frames else []), size, size, 3)
  assert got["image"].dtype == np.float32 and np.abs(got["image"]).max() <= 1 + 1e-6
  third = "mask_input" if n in EVAL else "mask_loss"
  for key in ("text", "mask_ar", third):
    assert got[key].dtype == np.int32 and got[key].shape == (length,)
  assert {k for k in got if k[0] != "_"} == set(ast.literal_eval(
      re.search(r"keep(\(.*?\))$", string)[1]))


@pytest.mark.parametrize("n", [pytest.param(n, id=f"{n}-{STRINGS[n][0]}")
                               for n in RUN_BY_BIG_VISION])
def test_the_results_are_those_of_big_vision(n):
  config, string = STRINGS[n]
  string = re.sub(r"(?<=resize\()(224|448|896)|(?<=video_decode\()224|224(?=, 3)|224(?=, 224)",
                  "16", string)
  got = run(string, EXAMPLES[config])
  want = {k.split("|")[1]: v for k, v in RESULTS.items() if k.startswith(f"{n}|")}
  assert {k for k in got if k[0] != "_"} == set(want)
  for key, value in want.items():
    if key == "image":
      image = got[key][:2] if got[key].ndim == 4 else got[key]
      assert image.shape == value.shape
      assert np.abs(image - value).max() <= 2 / 255 and np.abs(image - value).mean() < 1e-3
    elif value.dtype.kind == "U":  # strings, as JSON
      assert np.asarray(got[key], object).tolist() == json.loads(value.item())
    else:
      np.testing.assert_array_equal(got[key], value)


def test_an_evaluation_has_no_random_op_but_one_choice_of_one():
  for n in EVAL:
    ops = random_ops(STRINGS[n][1])
    assert not ops or STRINGS[n][0] == "refcoco_seg" and all(o.startswith("choice(") for o in ops)


def test_where_refcocos_evaluation_would_choose_it_says_so():
  [n] = [n for n in EVAL if STRINGS[n][0] == "refcoco_seg"]
  one = EXAMPLES["refcoco_seg"]["objects"]
  two = {"mask": np.repeat(one["mask"], 2, 0), "bbox": np.repeat(one["bbox"], 2, 0),
         "refs": {"sentence": np.repeat(one["refs"]["sentence"], 2)}}
  with pytest.raises(PreprocessError, match="random op 'choice'.*must not be random.*getidx"):
    run(STRINGS[n][1], {**EXAMPLES["refcoco_seg"], "objects": two}, random=False)


def test_the_answer_leaks_into_big_visions_forkme_but_not_into_our_prompts():
  [n] = [n for n in EVAL if STRINGS[n][0] == "forkme" and "'id'" not in STRINGS[n][1]][:1]
  data = EXAMPLES["forkme"]
  with_answer = run(STRINGS[n][1], data)
  without = run(STRINGS[n][1], {k: v for k, v in data.items() if k != "suffix"})
  assert with_answer["mask_input"].sum() > without["mask_input"].sum()
  tokens = f"text_layout(tokenizer={TOKENIZER!r}, text_len=128, train=False)"
  ours = run(f"decode|resize(224)|strfmt('caption en', outkey='prefix')|{tokens}", data)
  np.testing.assert_array_equal(ours["text"], without["text"])
  np.testing.assert_array_equal(ours["mask_input"], without["mask_input"])


@pytest.mark.parametrize("name, instead", [
    ("rag_tensor", "pad with `tolen`"), ("tokenize(16, 'yes')", "`tok\\(key="),
    ("clip_i1k_label_names", "getidx"), ("i21k_label_names", "getidx")])
def test_what_is_not_here_says_what_to_write(name, instead):
  with pytest.raises(ValueError, match=f"does not exist here. Write instead: .*{instead}"):
    get_preprocess_fn(f"decode|{name}")


def encode_by_jax(params, masks):
  """mask_codes.encode by JAX's convolutions, which pad as TensorFlow's SAME does."""
  def conv(name, x, stride=1):
    return params[f"{name}.bias"] + np.asarray(jax.lax.conv_general_dilated(
        x, params[f"{name}.weight"], (stride, stride), "SAME", precision="highest",
        dimension_numbers=("NHWC", "OIHW", "NHWC")))
  x = 2 * masks - 1
  for n in (0, 2, 4, 6):
    x = np.maximum(conv(f"encoder.{n}", x, 2), 0)
  for n in (8, 9):
    y = np.maximum(conv(f"encoder.{n}.net.0", x), 0)
    x = x + conv(f"encoder.{n}.net.4", np.maximum(conv(f"encoder.{n}.net.2", y), 0))
  x = conv("encoder.10", x).astype(np.float64).reshape(len(masks), 16, 1, -1)
  return np.argmin(np.sum((x - params[mask_codes.CODEBOOK])**2, axis=-1), axis=-1)


def test_masks_get_the_same_codes_as_from_jax(models):
  with np.load(GOLDEN / "vqvae.npz") as golden:
    masks, codes = golden["masks"] / np.float32(255), golden["codes"]
  np.testing.assert_array_equal(mask_codes.encode(mask_codes.load("oi"), masks), codes)
  rng = np.random.default_rng(0)
  masks = (rng.random((20, 8, 8, 1)) > 0.5).repeat(8, 1).repeat(8, 2).astype(np.float32)
  np.testing.assert_array_equal(mask_codes.encode(mask_codes.load(str(models)), masks),
                                encode_by_jax(mask_codes.load(str(models)), masks))


@pytest.mark.parametrize("kernel", [3, 4, 5, 6])  # of strides 2, where the padding may be odd
def test_masks_get_the_same_codes_whatever_the_kernel(kernel, models):
  rng, params = np.random.default_rng(kernel), dict(mask_codes.load("oi"))
  for name in mask_codes.CONVOLUTIONS[:4]:
    outputs, inputs = params[f"{name}.weight"].shape[:2]
    params[f"{name}.weight"] = rng.normal(
        0, (inputs * kernel**2) ** -0.5, (outputs, inputs, kernel, kernel)).astype(np.float32)
  params[mask_codes.CODEBOOK] = rng.normal(0, 0.3, (64, 16)).astype(np.float32)
  masks = (rng.random((9, 8, 8, 1)) > 0.5).repeat(8, 1).repeat(8, 2).astype(np.float32)
  codes = mask_codes.encode(params, masks)
  np.testing.assert_array_equal(codes, encode_by_jax(params, masks))
  assert len(np.unique(codes)) > 4


def test_refcoco_with_a_box_of_no_pixels():
  objects = {**EXAMPLES["refcoco_seg"]["objects"],
             "bbox": np.array([[0.5, 0.5, 0.501, 0.501]], np.float32)}
  got = run("flatten|choice(key=['objects/mask', 'objects/bbox', 'objects/refs/sentence'])|"
            "choice(key='objects/refs/sentence')|refcoco_mask2str", example(objects=objects))
  assert got["prefix"] == "the left one" and got["suffix"].count("<seg") == 16
