"""A run resumes with its own config and data: other changes have a line, or are refused."""
import json

import pytest

from big_vlm.training import same_run
from configs import common

PRINTS = {"input.mixture[0].data": "abc"}


def config(**changes):
  c = common.train(total_steps=100)
  c.input.mixture = [dict(data=dict(name="jsonl", path="train.jsonl"), pp="decode|resize")]
  c.update_from_flattened_dict(changes)
  return c


@pytest.fixture
def check(tmp_path):
  """A function: whether config(**changes) resumes config(**before) at step 60; [line]."""
  def check(changes, before=None, prints=PRINTS, force=False):
    same_run.write(tmp_path, config(**before or {}), PRINTS, 0)
    lines = []
    same_run.check(tmp_path, config(**changes), prints, 60, force, lines.append)
    return lines
  return check


@pytest.mark.parametrize("changes, lines", [
    ({}, []),
    ({"log_steps": 5., "max_to_keep": 9}, ["log_steps: None -> 5.0", "max_to_keep: 2 -> 9"]),
    ({"mesh.fsdp": 2, "input.workers": 3}, ["input.workers: 0 -> 3", "mesh.fsdp: -1 -> 2"]),
    ({"evals": {"x": {"type": "vqa"}}}, ["evals.x.type: (none) -> vqa"])])
def test_what_may_change_has_a_line(check, changes, lines):
  assert sorted(check(changes)) == [f"changed config.{line}" for line in lines]


@pytest.mark.parametrize("changes, said", [
    ({"seed": 1}, "config.seed: 0 -> 1"),
    ({"optimizer.lr": 1e-3}, "config.optimizer.lr: 1e-05 -> 0.001"),
    ({"input.batch_size": 8}, "config.input.batch_size: 32 -> 8"),
    ({"model.img": {"variant": "B/16"}}, r"config.model.img.variant: \(none\) -> B/16"),
    ({"tokenizer": "sp('\x1b.model')"}, r"config.tokenizer:  -> sp\('\\u001b.model'\)"),
    ({"text_len": 64}, "config.text_len: None -> 64"),
    ({"total_steps": 200.}, "config.total_steps: 100.0 -> 200.0")])  # the cosine would be another
def test_what_makes_it_another_run_is_refused_unless_forced(check, changes, said):
  with pytest.raises(ValueError, match=f"step 60 of another run.*\n  {said}\n.*--resume_changed"):
    check(changes)
  line, = check(changes, force=True)
  assert line.startswith("changed config.")


@pytest.mark.parametrize("dropout, may", [(0., True), (0.1, False)])
def test_a_run_of_an_earlier_version_resumes(check, tmp_path, dropout, may):
  check({})
  path = tmp_path / "config.json"
  old = json.loads(path.read_text())
  del old["lora"]["dropout"], old["best"]
  again = lambda: same_run.check(tmp_path, config(**{"lora.dropout": dropout}), PRINTS, 60)
  path.write_text(json.dumps(old))
  if may:
    again()
  else:
    with pytest.raises(ValueError, match="config.lora.dropout: .none. -> 0.1"):
      again()


@pytest.mark.parametrize("rule, may", [
    (dict(decay="constant", warmup_steps=10), True), (dict(decay="constant"), True),
    (dict(decay="constant", warmup_fraction=0.1), False),
    (dict(decay="rsqrt", cooldown_steps=20), True), (dict(decay="rsqrt", cooldown_steps=60), False),
    (dict(decay="linear"), False)])
def test_a_run_may_get_longer_where_the_steps_taken_had_the_same_rates(check, rule, may):
  schedule = {"optimizer.schedule": ((".*", rule),)}
  if may:
    assert check({"total_steps": 200., **schedule}, schedule) == [
        "changed config.total_steps: 100.0 -> 200.0"]
  else:
    with pytest.raises(ValueError, match="total_steps"):
      check({"total_steps": 200., **schedule}, schedule)


def test_data_are_known_by_their_content(check):
  moved = {"input.mixture": [dict(data=dict(name="jsonl", path="elsewhere/train.jsonl"),
                                  pp="decode|resize")]}
  assert len(check(moved)) == 1
  for changes in ({}, moved):
    with pytest.raises(ValueError, match=r"mixture\[0\].data: its content is another"):
      check(changes, prints={"input.mixture[0].data": "def"})
  with pytest.raises(ValueError, match="data.path: train.jsonl -> elsewhere"):
    check(moved, prints={"input.mixture[0].data": None})


def test_the_old_config_is_kept_beside_the_new(tmp_path):
  for step, lr in ((0, 1.), (60, 2.), (60, 3.), (80, 3.)):
    same_run.write(tmp_path, config(**{"optimizer.lr": lr}), PRINTS, step)
  rates = {p.name: json.loads(p.read_text())["optimizer"]["lr"]
           for p in tmp_path.glob("config*.json")}
  assert rates == {"config.json": 3., "config-60.json": 1.}


@pytest.mark.parametrize("text", [None, "", "[]", "{"])
def test_a_stored_config_that_cannot_be_read_is_said(tmp_path, text):
  same_run.write(tmp_path, config(), PRINTS, 0)
  path, lines = tmp_path / "config.json", []
  path.unlink()
  if text is not None:
    path.write_text(text)
  same_run.check(tmp_path, config(seed=1), PRINTS, 60, note=lines.append)
  assert len(lines) == 1 and "config.json" in lines[0] and "not known" in lines[0]
