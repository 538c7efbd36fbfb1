"""Tuning end to end: a model of random parameters, the tiny scenes."""
import json
import os
import re

import jax
import numpy as np
import pytest

from big_vlm.checkpoints.steps import Checkpoints
from big_vlm.data import loader, mixture
from big_vlm.training import setup
from configs import common
from trainers import answers, train, tune

TUNE = dict(algorithm="reinforce", samples=2, prompt_len=16, max_new_tokens=4,
            rewards=[dict(name="trainers.tune_test:length")])


def length(answer, example):
  """A reward that hardly any two answers share."""
  return len(answer.encode()) + example["id"].count("1") / 7


def same(answer, example):
  del answer, example
  return 0.1


def make(data_dir, tokenizer, **changes):
  c = common.train(total_steps=4, log_steps=1, checkpoint_steps=2, tokenizer=tokenizer,
                   text_len=20, tune={**TUNE, **changes})
  c.model.img, c.model.llm = dict(variant="tiny"), dict(variant="tiny", vocab_size=1632)
  c.loss.loss_normalization = "sequence"
  c.optimizer.update(lr=1e-3, schedule=((".*", dict(decay="constant")),))
  c.mesh = dict(data=1, fsdp=1, tensor=1)
  c.input.batch_size, c.input.threads = 4, 1
  c.input.mixture = [dict(
      data=dict(name="digits/tiny", split="train", data_dir=data_dir),
      pp="flatten|decode|resize|detect|text_layout(keep=('id', 'prefix', 'suffix'))")]
  return c


@pytest.fixture
def one_device(monkeypatch):
  devices = jax.devices()[:1]
  monkeypatch.setattr(jax, "devices", lambda *args: devices)


@pytest.fixture
def config(data_dir, tokenizer):
  return make(data_dir, tokenizer)


def params(folder, step):
  s = Checkpoints(folder)
  with s:
    import orbax.checkpoint as ocp
    tree = ocp.PyTreeCheckpointer().restore(str(s.folder(step) / "params"))
  return jax.tree.map(np.asarray, tree)


def test_a_tuning_resumes_to_the_bit(data_dir, tokenizer, tmp_path, one_device):
  """With all that a step can have: adapters, several updates, and the start to compare with."""
  config = make(data_dir, tokenizer, algorithm="grpo", updates=2, kl=0.1)
  config.lora.rank, config.grad_accum_steps = 2, 2
  row = train.train(config, tmp_path / "straight", answers_of=answers.of_config)
  assert row["reward"] == pytest.approx(row["reward/length"]) and row["reward_std"] > 0
  rows = [json.loads(line) for line in (tmp_path / "straight/samples/4.jsonl").open()]
  assert len(rows) == 8 and rows[0]["id"] == rows[1]["id"]
  assert rows[0]["reward"] == pytest.approx(length(rows[0]["prediction"], rows[0]), rel=1e-6)
  assert rows[0]["advantage"] == pytest.approx(-rows[1]["advantage"])
  assert "<html" in (tmp_path / "straight/samples.html").read_text()
  # Another run, of which only the first checkpoint is left.
  os.makedirs(tmp_path / "resumed/checkpoints")
  (tmp_path / "straight/checkpoints/2").rename(tmp_path / "resumed/checkpoints/2")
  train.train(config, tmp_path / "resumed", answers_of=answers.of_config)
  want, got = (params(tmp_path / name, 4) for name in ("straight", "resumed"))
  jax.tree.map(np.testing.assert_array_equal, got, want)
  assert row["kl"] > 0 and {"clipped", "weighted_likelihood"} <= set(row)


def sampled(config, size=4, params_seed=0):
  """The rows of step 1 by one device and random parameters."""
  config.input.batch_size = size
  s = setup.make(config)
  made = answers.of_config(config, s)
  with jax.set_mesh(s.mesh):
    state = setup.start(config, s)
    batch, host = loader.split_batch(next(loader.train_batches(
        mixture.from_config(config), size, threads=1)))
    return made(1, state, batch, host)


def test_rows_answer_their_prompts_whatever_the_batch(config, one_device):
  four, host, metrics = sampled(config, 4)
  two, _, _ = sampled(config, 2)
  for key, rows in two.items():
    np.testing.assert_array_equal(four[key][:4], rows, err_msg=key)
  assert host["_id"][0] == host["_id"][1] != host["_id"][2]
  assert four["image"].shape == (8, 16, 16, 3)
  written = four["mask_loss"].sum(axis=1)
  assert written.mean() == metrics["answer_tokens"] and written.max() <= 4
  assert not (four["text"][:, :3] == 0).any() and (four["advantage"].sum() == 0)


def test_equal_rewards_say_so(data_dir, tokenizer, one_device):
  config = make(data_dir, tokenizer, rewards=[dict(name="trainers.tune_test:same")])
  batch, _, metrics = sampled(config)
  assert metrics["same_reward"] == 1 and not batch["advantage"].any()


def test_seeds_differ():
  found = np.concatenate([answers.seeds(0, step, 8, 4) for step in range(9)])
  assert len(set(found.tolist())) == len(found)
  np.testing.assert_array_equal(answers.seeds(0, 1, 2, 3), answers.seeds(0, 1, 4, 3)[:6])


def test_pairs_become_rows(data_dir, tokenizer, one_device):
  config = make(data_dir, tokenizer, algorithm="dpo", rewards=[], max_new_tokens=9)
  s = setup.make(config)
  made = answers.of_config(config, s)
  config.input.mixture[0]["pp"] = (
      "flatten|decode|resize|detect|copy('ocr', 'chosen')|strfmt('no', outkey='rejected')|"
      "text_layout(keep=('chosen', 'rejected'))")
  batch, host = loader.split_batch(next(loader.train_batches(
      mixture.from_config(config), 4, threads=1)))
  rows, ids, more = made(1, None, batch, host)
  assert rows["text"].shape == (8, 25) and not more and "advantage" not in rows
  tok = made._tokenizer
  for i in range(8):
    text = tok.to_str(rows["text"][i][rows["mask_loss"][i] > 0].tolist(), stop_at_eos=True)
    assert text == (host["chosen"][i // 2] if i % 2 == 0 else "no")
  with pytest.raises(ValueError, match="has no 'chosen'"):
    made(1, None, batch, {"_id": host["_id"]})
  missing = re.escape(f"the example {host['_id'][2]!r} has no 'rejected'")
  with pytest.raises(ValueError, match=missing):
    made(1, None, batch, host | {"rejected": ["no", "no", None, "no"]})
  for text, message in (7, "expected one string, got int '7'"), ("9 " * 9, "19 tokens, more than"):
    with pytest.raises(ValueError, match=f"'chosen' of the example '.*{message}"):
      made(1, None, batch, host | {"chosen": [text] * 4})


@pytest.mark.parametrize("change, message", [
    (lambda c: c.tune.update(max_new_tokens=10**5), "more than the .* that the model takes"),
    (lambda c: c.input.update(packing="buckets"), "packing='buckets' is of given answers"),
    (lambda c: c.loss.update(z_loss=1e-4), "leave them 0"),
    (lambda c: c.model.llm.update(dropout=.1), "leave the dropout"),
    (lambda c: c.update(tokenizer=""), "needs a tokenizer")])
def test_configs_that_cannot_be_tuned(config, change, message, one_device):
  config.model.llm.dropout = 0.
  change(config)
  with pytest.raises(ValueError, match=message):
    answers.of_config(config, setup.make(config))


def test_a_prompt_that_is_cut_is_an_error(data_dir, tokenizer, one_device):
  with pytest.raises(ValueError, match="has more than config.tune.prompt_len=4 tokens"):
    sampled(make(data_dir, tokenizer, prompt_len=4))


def test_the_commands_know_their_configs(tmp_path):
  with pytest.raises(ValueError, match="has no config.tune"):
    tune.main(["--config", "configs/digits.py:tiny", "--workdir", str(tmp_path)])
  with pytest.raises(ValueError, match="Take python -m trainers.tune"):
    train.main(["--config", "configs/tune/detect.py", "--workdir", str(tmp_path)])


def test_the_start_to_compare_with_stays_that_of_the_beginning(tmp_path):
  answers.check_reference(tmp_path, 0, 7)
  answers.check_reference(tmp_path, 2, 7)
  with pytest.raises(ValueError, match="config.init has other parameters than when this run began"):
    answers.check_reference(tmp_path, 2, 8)
