"""Evaluators over digits/tiny: every example once, the same rows for any batch size and mesh."""
import json

import jax
import numpy as np
import pytest

from big_vlm import sharding
from big_vlm.models import paligemma
from configs import quickstart
from evaluators import common


@pytest.fixture(scope="module")
def config(data_dir):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(quickstart, "DATA_DIR", data_dir)
    yield quickstart.get_config("tiny")


@pytest.fixture(scope="module")
def model_and_params(config):
  model = paligemma.PaliGemma(paligemma.config(**config.model.to_dict() | {"dtype": "float32"}))
  return model, jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()


def evaluator(config, model, name, mesh, **changes):
  return common.Evaluator(name, model, config.tokenizer, mesh,
                          **{**config.evals[name].to_dict(), **changes})


def rows(config, model_and_params, mesh, batch_size, name="ocr"):
  model, params = model_and_params
  return evaluator(config, model, name, mesh, batch_size=batch_size).predict(params)


def test_rows_are_the_same_for_any_batch_size_and_mesh(config, model_and_params, mesh1):
  want = rows(config, model_and_params, mesh1, 64)
  assert [r["id"] for r in want] == [f"val-{i:06d}" for i in range(64)]
  for mesh, batch_size in ((mesh1, 1), (mesh1, 7), (sharding.make_mesh(), 24)):
    got = rows(config, model_and_params, mesh, batch_size)
    assert [(r["id"], r["prediction"], r["finish_reason"]) for r in got] == [
        (r["id"], r["prediction"], r["finish_reason"]) for r in want]


def test_the_reference_never_reaches_the_prompt(config, model_and_params, mesh1):
  row = rows(config, model_and_params, mesh1, 64)[0]
  assert row["prefix"] == "ocr" and row["suffix"].isdigit()
  pp = config.evals.ocr.pp
  blind = evaluator(config, model_and_params[0], "ocr", mesh1,
                    pp=pp.replace("copy('ocr', 'suffix')", "strfmt('999', outkey='suffix')"))
  again = blind.predict(model_and_params[1])[0]
  assert again["suffix"] == "999" and again["tokens"] == row["tokens"]


def test_run_writes_every_row(config, model_and_params, mesh1, tmp_path, capsys):
  model, params = model_and_params
  metrics = evaluator(config, model, "detect", mesh1).run(params, tmp_path, step=3)
  assert set(metrics) == {"detect/AP", "detect/AP50", "detect/AP75"}
  lines = (tmp_path / "predictions" / "detect-3.jsonl").read_text().splitlines()
  first = json.loads(lines[0])
  assert len(lines) == 64 and first["prefix"].startswith("detect ") and "image" not in first
  assert np.shape(first["objects/bbox"])[1] == 4
  assert "detect/AP50" in capsys.readouterr().out


def test_unknown_kind(config, model_and_params, mesh1):
  with pytest.raises(ValueError, match="Unknown evaluator 'captoin'. Did you mean 'caption'"):
    evaluator(config, model_and_params[0], "ocr", mesh1, type="captoin")


def test_a_random_op_is_refused_before_any_data_is_read(config, model_and_params, mesh1):
  pp = "choice(key='questions')|" + config.evals.ocr.pp
  with pytest.raises(ValueError, match="The eval 'ocr' would .*`choice.key='questions'.` is"):
    evaluator(config, model_and_params[0], "ocr", mesh1, pp=pp, data=dict(name="nowhere"))


def test_evals_to_come_are_left_out_and_named(capsys):
  evals = {"a": {"type": "caption"}, "b": {"type": "caption", "sampler": "beam(n=2)"},
           "c": {"type": "vqa", "rule": "accuracy"}, "d": {"type": "captoin"}}
  assert list(common.runnable(evals)) == ["a", "d"]
  assert capsys.readouterr().out == (
      "left out, for they need what evaluators/ does not have yet: b (sampler), c (vqa)\n")


def test_rows_of_other_processes_may_hold_arrays_of_strings():
  row = {"texts": np.array(["a", "bc"], object), "nested": {"x": np.array(["é"], object)},
         "boxes": np.zeros((2, 4)), "n": 3}
  assert common._packed(row) == {"texts": ["a", "bc"], "nested": {"x": ["é"]},
                                 "boxes": row["boxes"], "n": 3}
