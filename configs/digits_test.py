import numpy as np
import pytest

from big_vlm.batch import check_batch
from big_vlm.data import loader, mixture, source
from big_vlm.families import paligemma
from configs import digits
from evaluators import common
from pp.builder import get_preprocess_fn
from pp.tokenizer import get_tokenizer, train_sentencepiece
from tools import plan


@pytest.fixture
def config(data_dir, monkeypatch):
  monkeypatch.setattr(digits, "DATA_DIR", data_dir)
  return digits.get_config("tiny")


@pytest.mark.parametrize("size", ["small", "tiny"])
def test_the_config_builds(size):
  config = digits.get_config(size)
  parts = [*config.input.mixture, *config.evals.to_dict().values()]
  assert {part["data"]["name"] for part in parts} == {f"digits/{size}"}
  model = paligemma.config(**config.model.to_dict() | {"dtype": "float32"})
  assert model.img.out_width == model.llm.width


def test_another_size_is_refused_by_name():
  with pytest.raises(ValueError, match="size .tini.. Did you mean .tiny."):
    digits.get_config("tini")


def test_the_default_is_small():
  assert digits.get_config().to_json() == digits.get_config("small").to_json()


def test_no_training_example_is_cut(config):
  tok = get_tokenizer(config.tokenizer)
  assert tok.vocab_size == config.model.llm.vocab_size
  stream, prompts = mixture.from_config(config), set()
  length = digits.TEXT_LEN + 1  # the model reads all but the last, predicts all but the first
  for i in range(500):
    x = stream[i]
    assert x["text"].shape == x["mask_ar"].shape == x["mask_loss"].shape == (length,)
    (eos,) = np.flatnonzero(x["text"] == tok.eos_token)
    answer = np.flatnonzero(x["mask_loss"])
    assert answer[-1] == eos and (x["text"][eos + 1:] == tok.pad_token).all()
    assert answer.tolist() == list(range(answer[0], eos + 1))  # the whole suffix, nothing else
    np.testing.assert_array_equal(x["mask_ar"], np.arange(length) >= answer[0])
    prompts.add(tok.to_str(x["text"][:answer[0]]).split()[0])
  assert prompts == {"answer", "ocr", "detect", "caption"}


def test_a_batch_keeps_the_contract(config):
  stream = mixture.from_config(config)
  batch, _ = loader.split_batch(next(loader.train_batches(stream, config.input.batch_size)))
  check_batch(batch, train=True, vocab_size=config.model.llm.vocab_size)
  assert batch["image"].shape == (16, 32, 32, 3)


def test_evaluations_cut_neither_prompt_nor_answer(config):
  tok = get_tokenizer(config.tokenizer)
  for name, task in config.evals.items():
    context = common.context_for(mixture.context_of(config), **task)
    preprocess, examples = get_preprocess_fn(task.pp, context), source.get(**task.data)
    for i in range(len(examples)):
      x = preprocess(examples[i])
      assert len(x["text"]) == digits.PROMPT_LEN
      assert tok.to_str(x["text"][x["mask_input"] == 1]) == x["prefix"] + "\n", name
      assert len(tok.to_int(x["suffix"], eos=True)) <= task.max_new_tokens, (name, x["suffix"])


@pytest.mark.parametrize("field, value", [
    ("text_len", 24), ("image_size", 16), ("tokenizer", None)])
def test_a_field_changes_everything_that_depends_on_it(config, field, value, tmp_path):
  if field == "image_size":
    config.model.img.image_size = value
  else:
    if field == "tokenizer":
      train_sentencepiece(["other texts altogether", "ocr", "answer en"] * 9, tmp_path / "m", 300)
      value = f"sp('{tmp_path}/m', tokensets=('loc', 'seg'))"
    config[field] = value
  context = mixture.context_of(config)
  row = mixture.from_config(config)[0]
  task = config.evals.ocr.to_dict()
  asked = get_preprocess_fn(task["pp"], common.context_for(context, **task))(
      source.get(**task["data"])[0])
  tok = get_tokenizer(config.tokenizer)
  for x in (row, asked):
    assert x["image"].shape == (context.image_size, context.image_size, 3)
    assert x["text"][0] == tok.bos_token and x["text"].max() < tok.vocab_size
  assert len(row["text"]) == config.text_len + 1 == plan.text_length(config) + 1
  assert tok.to_str(asked["text"][asked["mask_input"] == 1]) == "ocr\n"
