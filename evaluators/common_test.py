"""Evaluators over digits/tiny: every example once, the same for any batch size and mesh."""
import copy
import dataclasses
import json
import re
import types

import jax
import numpy as np
import pytest

from big_vlm import sharding
from big_vlm.data import mixture, source
from big_vlm.decode import session
from big_vlm.families import paligemma
from big_vlm.training import next_token
from big_vlm.vlm import VLM
from configs import digits
from evaluators import common
from evaluators.mean import Mean
from pp.tokenizer import get_tokenizer


@pytest.fixture(scope="module")
def config(data_dir):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(digits, "DATA_DIR", data_dir)
    yield digits.get_config("tiny")


@pytest.fixture(scope="module")
def model_and_params(config):
  model = paligemma.PaliGemma(paligemma.config(**config.model.to_dict() | {"dtype": "float32"}))
  return model, jax.jit(lambda: paligemma.init_params(model, jax.random.key(0)))()


def evaluator(config, model, name, mesh, **changes):
  return common.Evaluator(name, model, config.tokenizer, mesh,
                          context=mixture.context_of(config),
                          **{**config.evals[name].to_dict(), **changes})


def rows(config, model_and_params, mesh, batch_size, name="ocr"):
  model, params = model_and_params
  return evaluator(config, model, name, mesh, batch_size=batch_size).predict(params)


@pytest.fixture(scope="module")
def want(config, model_and_params, mesh1):
  """The rows of "ocr" at batch 64 on one device."""
  return rows(config, model_and_params, mesh1, 64)


def said(rows):
  return [(r["id"], r["prediction"], r["finish_reason"]) for r in rows]


def test_they_are_the_same_for_any_batch_size_and_mesh(config, model_and_params, mesh1, want):
  assert [r["id"] for r in want] == [f"val-{i:06d}" for i in range(64)]
  for mesh, batch_size in ((mesh1, 1), (mesh1, 7), (sharding.make_mesh(), 24)):
    got = rows(config, model_and_params, mesh, batch_size)
    assert said(got) == said(want)
    for a, b in zip(got, want):
      np.testing.assert_allclose(a["logprobs"], b["logprobs"], atol=1e-4)


def test_a_killed_run_resumes_where_it_was(config, model_and_params, want, tmp_path, capsys):
  model, params = model_and_params
  one = evaluator(config, model, "ocr", sharding.make_mesh(), batch_size=24)
  kept, batches = tmp_path / "predictions" / "ocr.partial.jsonl", []

  def stop(done, total):
    if done == 2:
      raise KeyboardInterrupt
  with pytest.raises(KeyboardInterrupt):
    one.predict(params, note=stop, kept=kept)
  with kept.open("a") as f:
    f.write('{"id": "cut by the ki')
  got = one.predict(params, images=3, kept=kept, note=lambda done, total: batches.append(total))
  assert batches == [1] and said(got) == said(want)  # 48 of 64 rows were there
  assert [r["image"].shape for r in got[:3]] == [(32, 32, 3)] * 3 and "image" not in got[3]
  assert one.score(got) == one.score(copy.deepcopy(want))
  again = one.predict(params, kept=kept, note=lambda done, total: batches.append(total))
  assert batches == [1] and said(again) == said(want) and capsys.readouterr().out == ""
  key = json.loads(kept.read_text().partition("\n")[0])["key"]
  assert common.ResumableWriter(kept, key).predictions[0]["id"] == want[0]["id"]
  assert not common.ResumableWriter(kept, key + "x").predictions  # of another checkpoint
  assert "is of another checkpoint" in capsys.readouterr().out


def test_a_jsonl_that_changed_in_its_place_is_evaluated_anew(config, model_and_params, tmp_path,
                                                              mesh1, capsys):
  model, params = model_and_params
  path, kept = tmp_path / "own.jsonl", tmp_path / "kept.jsonl"
  one = evaluator(config, model, "ocr", mesh1, data=dict(name="jsonl", path=str(path)),
                  pp="text_layout(keep=('prefix', 'suffix'))", batch_size=1)
  for suffix in ("1", "1", "2"):
    path.write_text(json.dumps({"prefix": "ocr", "suffix": suffix}))
    key = one._open(kept, params, source.get("jsonl", path=str(path)))
    key.add([{"id": suffix}])
    key.close()
  assert capsys.readouterr().out.count("re-evaluating from scratch") == 1
  assert len(kept.read_text().splitlines()) == 2


def test_parameters_are_told_apart_on_any_mesh(model_and_params):
  params = {"a": np.arange(24, dtype=np.float32).reshape(8, 3), "b": np.zeros(4, np.int8)}
  first = common.fingerprint(params)
  cut = jax.device_put(params["a"], sharding.batch_sharding(sharding.make_mesh()))
  assert common.fingerprint({**params, "a": cut}) == first
  moved = {**params, "a": params["a"][::-1]}
  nudged = {**params, "a": np.nextafter(params["a"], 99, dtype=np.float32)}
  assert len({first, *map(common.fingerprint, (moved, nudged))}) == 3


def test_answers_are_those_of_the_model_with_its_sampler_and_grammar(config, model_and_params,
                                                                     mesh1):
  """3 examples in a batch of 4: the last row only fills up."""
  model, params = model_and_params
  data, how = {**config.evals.detect.data.to_dict(), "split": "val[:3]"}, dict(
      sampler="beam(n=2)", grammar="auto", max_new_tokens=7)
  got = evaluator(config, model, "detect", mesh1, data=data, batch_size=4, **how).predict(
      params, images=3)
  vlm = VLM(model, params, get_tokenizer(config.tokenizer), mesh1, config.tokenizer, "")
  answers = vlm.generate([r["prefix"] for r in got], [r["image"] for r in got], **how)
  assert [r["tokens"] for r in got] == [a.tokens for a in answers]
  assert all(re.match("(<loc[0-9]{4}>){4}|$", r["prediction"]) for r in got)


def test_answers_keep_to_a_pattern_or_a_schema(config, model_and_params, mesh1):
  data = {**config.evals.detect.data.to_dict(), "split": "val[:3]"}
  ask = lambda **how: evaluator(config, model_and_params[0], "detect", mesh1, data=data,
                                batch_size=4, **how).predict(model_and_params[1])
  found = ask(grammar={"regex": "[a-z]{3}"}, max_new_tokens=7)
  assert len(found) == 3 and all(re.fullmatch("[a-z]{3}", r["prediction"]) for r in found)
  with pytest.raises(ValueError, match="an answer of the eval has room for 2"):
    ask(grammar={"json_schema": {"type": "boolean"}}, max_new_tokens=2)


def test_of_several_draws_the_likeliest_counts(config, model_and_params, mesh1, monkeypatch):
  tok = get_tokenizer(config.tokenizer)
  asked, encoded = [], []

  def decode(model, params, batch, request, search, *, repeat, **kw):
    """Writes the digit seed % 10, the likelier the larger the digit."""
    seeds = request.seed
    asked.extend(seeds[request.limit > 0].tolist())
    encoded.append((len(batch["image"]) * repeat, len(seeds)))
    tokens = np.array([tok.to_int(str(seed % 10), eos=True) for seed in seeds])
    yield types.SimpleNamespace(tokens=tokens, length=np.full(len(seeds), 2),
                                finished=np.ones(len(seeds), bool),
                                logprobs=np.stack([seeds % 10 - 9., 0. * seeds], 1))
  monkeypatch.setattr(session, "decode", decode)
  for batch_size in (2, 5):  # what is drawn for an example does not depend on the batch
    rows = evaluator(config, model_and_params[0], "ocr", mesh1, batch_size=batch_size,
                     data={**config.evals.ocr.data.to_dict(), "split": "val[:5]"},
                     sampler="best_of(3, 'top_p(.9)')").predict(model_and_params[1])
    assert [r["prediction"] for r in rows] == ["2", "5", "8", "9", "4"]
  assert sorted(asked) == sorted([*range(15)] * 2)  # each draw of each example by its own seed
  assert all(images == draws for images, draws in encoded)  # one image for the three draws


def test_perplexity_is_the_loss_of_a_training(config, model_and_params, mesh1):
  model, params = model_and_params
  context = dataclasses.replace(mixture.context_of(config), text_len=24)
  entry = dict(type="perplexity", data={**config.evals.ocr.data.to_dict(), "split": "val[:8]"},
               pp=config.evals.ocr.pp, context=context)
  whole = common.Evaluator("ocr/pplx", model, config.tokenizer, mesh1, **entry, batch_size=8)
  seen = {}

  def note(model, params, batch):
    seen.update(batch)
    return nlls(model, params, batch)
  with pytest.MonkeyPatch.context() as patch:
    nlls = whole._module.likelihoods
    patch.setattr(whole._module, "likelihoods", note)
    got = whole.predict(params)
  metrics = whole.score(got)
  mask = seen["mask_loss"][:, 1:].astype(np.float32)
  loss = jax.jit(next_token.loss_fn, static_argnums=0)(
      model, params, seen, mask / mask.sum(1, keepdims=True) / 8, jax.random.key(0))
  np.testing.assert_allclose(metrics["ocr/pplx/nll"], loss, rtol=1e-5)
  first = got[0]
  assert first["prefix"] == "ocr" and first["suffix"].isdigit() and "_id" in first
  assert len(first["nlls"]) == len(first["tokens"]) == int(mask[0].sum())
  filled = common.Evaluator("ocr/pplx", model, config.tokenizer, mesh1, **entry, batch_size=5)
  for a, b in zip(filled.predict(params), got, strict=True):  # 2 of 10 rows only fill up
    np.testing.assert_allclose(a["nlls"], b["nlls"], atol=1e-4)
    assert a["tokens"] == b["tokens"]


def test_the_reference_never_reaches_the_prompt(config, model_and_params, mesh1):
  row = rows(config, model_and_params, mesh1, 64)[0]
  assert row["prefix"] == "ocr" and row["suffix"].isdigit()
  pp = config.evals.ocr.pp
  blind = evaluator(config, model_and_params[0], "ocr", mesh1,
                    pp=pp.replace("copy('ocr', 'suffix')", "strfmt('999', outkey='suffix')"))
  again = blind.predict(model_and_params[1])[0]
  assert again["suffix"] == "999" and again["tokens"] == row["tokens"]


def test_a_field_that_the_data_lack_is_named_before_decoding(config, model_and_params, mesh1):
  one = evaluator(config, model_and_params[0], "ocr", mesh1, type="vqa", metric="anls")
  with pytest.raises(ValueError, match="'vqa' scores by 'answer', which.* 'val-000000"):
    one.predict(params=None)


def test_run_writes_every_prediction(config, model_and_params, mesh1, tmp_path, capsys):
  model, params = model_and_params
  metrics = evaluator(config, model, "detect", mesh1).run(params, tmp_path, step=3)
  assert set(metrics) == {"detect/AP", "detect/AP50", "detect/AP75"}
  lines = (tmp_path / "predictions" / "detect-3.jsonl").read_text().splitlines()
  first = json.loads(lines[0])
  assert len(lines) == 64 and first["prefix"].startswith("detect ") and "image" not in first
  assert np.shape(first["objects/bbox"])[1] == 4
  assert "  step 3  detect/AP" in capsys.readouterr().out


def test_a_server_gets_every_question_once(config, model_and_params, mesh1, want, tmp_path):
  head = config.evals.ocr.pp.split("|text_layout")[0]
  pp = f"{head}|copy('id', 'question_id')|text_layout(keep=('prefix', 'question_id'))"
  one = evaluator(config, model_and_params[0], "ocr", mesh1, batch_size=64, type="submission",
                  pp=pp, format="docvqa")
  assert one.run(model_and_params[1], tmp_path, 7) == {"ocr/examples": 64}
  sent = json.loads((tmp_path / "submissions" / "ocr-7.json").read_text())
  assert sent == [{"questionId": r["id"], "answer": r["prediction"]} for r in want]


def quick(config, **entry):
  return dict(type="vqa", metric="exact", data=dict(name="nowhere"), pp="", batch_size=1,
              max_new_tokens=1) | entry


@pytest.mark.parametrize("entry, complaint", [
    (dict(type="captoin"), "Unknown evaluator 'captoin'. Did you mean 'caption'"),
    (dict(metric="exat"), "Unknown metric of the evaluator type vqa 'exat'. Did you mean 'exact'"),
    (dict(type="submission", format="vqa2"), "has no 'metric'"),
    (dict(type="store", format="vqav2"), "Unknown evaluator 'store'. 'store' is now 'submission'"),
    (dict(rule="exact"), "has no 'rule'. 'rule' is now 'metric'"),
    (dict(to_lowr=1), "The eval 'a' of the type 'vqa' has no 'to_lowr'. Did you mean 'to_lower'"),
    (dict(samplr="greedy"), "The eval 'a' of the type 'vqa' has no 'samplr'. Did you mean 'sample"),
    (dict(grammar="detct"), "Unknown grammar 'detct'. Did you mean 'detect'"),
    (dict(grammar=["a", "b"]), "The eval 'a' has choices"),
    (dict(sampler="beem"), "Unknown sampler 'beem'. Did you mean 'beam'"),
    (dict(max_new_tokens=None), "The eval 'a' needs max_new_tokens="),
    (dict(pp="choice(key='questions')"), "`choice.key='questions'.` is random"),
])
def test_what_makes_no_sense_is_refused_before_any_data_is_read(config, entry, complaint):
  with pytest.raises(ValueError, match=complaint):
    common.Evaluator("a", None, "nowhere", None, **quick(config, **entry))


def test_a_type_names_the_arguments_that_it_needs():
  entry = quick(None)
  del entry["metric"]
  with pytest.raises(ValueError, match="The eval 'a' of the type 'vqa' needs metric="):
    common.Evaluator("a", None, "nowhere", None, **entry)


class Part:
  """An Evaluator that has its metrics already."""
  type, last, at_start = "vqa", None, False

  def __init__(self, name, steps, value):
    self.name, self.steps, self.value, self.runs = name, steps, value, 0

  def run(self, params, workdir, step):
    self.runs += 1
    self.last = step, {f"{self.name}/accuracy": self.value, f"{self.name}/f1": 0.}


def test_a_mean_is_due_with_all_its_parts_and_takes_their_metrics():
  parts = [Part("pope/random", 20, .9), Part("pope/popular", 30, .8)]
  mean = Mean("pope/avg", parts, "accuracy")
  assert mean.steps == 60 and Mean("m", [*parts, Part("p", 0, 1)], "f1").steps == 0
  for part in parts:
    part.run(None, None, 60)
  assert mean.run(None, None, 60) == {"pope/avg/accuracy": pytest.approx(.85)}
  assert [p.runs for p in parts] == [1, 1]
  mean.run(None, None, 120)  # a training that was killed between the parts and their mean
  assert [p.runs for p in parts] == [2, 2]
  with pytest.raises(ValueError, match="mean of 'anls', but there is no 'pope/random/anls'"):
    Mean("pope/avg", parts, "anls").score(parts[0].last[1])


def test_means_come_last_and_know_their_parts(config):
  evals = {"a/mean": dict(type="mean", evals=("b", "c"), metric="accuracy"),
           "b": quick(config), "c": quick(config)}
  asked = types.SimpleNamespace(
      evals=types.SimpleNamespace(to_dict=lambda: evals), model=config.model, tokenizer="nowhere",
      get={}.get)
  b, c, mean = common.evaluators(asked, None, "nowhere", None)
  assert (b.name, c.name, mean.name, mean.parts) == ("b", "c", "a/mean", [b, c])
  assert mean.in_percent("accuracy") and not common.in_percent("perplexity", "nll")
  assert common.in_percent("counting", "accuracy/simple")
  evals["a/mean"]["metrics"] = "f1"
  with pytest.raises(ValueError, match="The eval 'a/mean' of the type 'mean' has no 'metrics'"):
    common.evaluators(asked, None, "nowhere", None)
  del evals["a/mean"]["metrics"]
  evals["a/mean"]["evals"] = ("b", "d")
  with pytest.raises(ValueError, match="has no 'd'"):
    common.evaluators(asked, None, "nowhere", None)


@pytest.mark.parametrize("changes,said", [
    ({"data": dict(name="jsonl", path="nowhere.jsonl")}, "nowhere.jsonl"),
    ({"pp": "copy('caption', 'prefix')"}, "copy"), ({"pp": "decode|resize(32)"}, "'text'")])
def test_what_is_wrong_with_the_first_example_shows_before_the_training(
    config, model_and_params, mesh1, changes, said):
  model, _ = model_and_params
  common.check_first([evaluator(config, model, "ocr", mesh1)])
  with pytest.raises(ValueError, match=f"(?s)The eval 'ocr'.*{said}"):
    common.check_first([evaluator(config, model, "ocr", mesh1, **changes)])
