"""evaluators.run over digits/tiny: what it writes, a run that was killed, a comparison."""
import copy
import json

import numpy as np
import pytest

import big_vlm
from big_vlm.checkpoints import native
from configs import digits
from evaluators import common, run
from pp.tokenizer import GEMMA_MODEL

NAMES = ["answer", "ocr", "send"]


@pytest.fixture(scope="module")
def make_config(data_dir):
  """A function that makes a config with few and short evals, all with one batch size."""
  def make(batch_size=64):
    with pytest.MonkeyPatch.context() as patch:
      patch.setattr(digits, "DATA_DIR", data_dir)
      config = digits.get_config("tiny")
    config.model.img.update(width=32, depth=1, heads=2, mlp=64, unroll=1)
    config.model.llm.update(width=32, depth=1, heads=2, head_dim=16, mlp=64, unroll=1)
    evals = config.evals.to_dict()
    sent = evals["ocr"]["pp"].replace("'id'", "'id', 'question_id'").replace(
        "|text_layout", "|copy('id', 'question_id')|text_layout")
    evals["send"] = {**evals["ocr"], "type": "submission", "format": "vqav2", "pp": sent}
    evals = {name: {**evals[name], "batch_size": batch_size, "max_new_tokens": 2}
             for name in NAMES}
    evals["mean"] = dict(type="mean", evals=("answer", "ocr"), metric="acc")
    config.evals = evals
    config.published = {"mean/acc": 50.}
    return config
  return make


@pytest.fixture(scope="module")
def init(make_config, tmp_path_factory):
  """A folder with an untrained model."""
  config, bare = make_config(), tmp_path_factory.mktemp("bare")
  native.write_model(bare, {**config.model.to_dict(), "dtype": "float32"}, config.tokenizer)
  vlm = big_vlm.from_preset(bare, load_weights=False)
  folder = tmp_path_factory.mktemp("model") / "saved"
  vlm.export(folder, "native")
  return folder


@pytest.fixture(scope="module")
def done(make_config, init, tmp_path_factory):
  """(folder, results) of a run of all evals, batch size 64 on 8 devices."""
  folder = tmp_path_factory.mktemp("done")
  return folder, run.run(make_config(), init, folder)


def predictions(folder):
  """{name: rows} without log-probabilities, whose last digits depend on the batch size."""
  lines = {name: (folder / "predictions" / f"{name}.jsonl").read_text().splitlines()
           for name in NAMES}
  return {name: [{k: v for k, v in json.loads(line).items() if k != "logprobs"} for line in rows]
          for name, rows in lines.items()}


def test_an_error_in_an_eval_shows_before_weights_are_read(make_config, tmp_path):
  config = make_config()
  with config.unlocked():
    config.evals["ocr"]["sampler"] = "beem(2)"
  with pytest.raises(ValueError, match="Did you mean 'beam'"):
    run.run(config, "no_such_model", tmp_path)


def test_what_it_writes(done):
  folder, results = done
  assert list(results) == ["answer/acc", "ocr/acc", "send/examples", "mean/acc"]
  told = json.loads((folder / "metrics.json").read_text())
  assert {k: m["value"] for k, m in told["metrics"].items()} == {
      k: f["value"] for k, f in results.items()}
  assert told["metrics"]["ocr/acc"]["n"] == 64 and told["checkpoint_sha256"]
  assert told["model"]["img"]["image_size"] == 32 and told["config"]["file"] is None
  for name, rows in predictions(folder).items():
    assert [r["id"] for r in rows] == [f"val-{i:06d}" for i in range(64)], name
  page = (folder / "report.html").read_text()
  assert "val-000063" in page and "ocr" in page
  assert not list(folder.glob("predictions/*.partial.jsonl"))
  sent = json.loads((folder / "submissions" / "send.json").read_text())
  assert len({answer["question_id"] for answer in sent}) == 64


def test_a_killed_run_goes_on_with_the_same_figures(done, make_config, init, tmp_path, monkeypatch):
  """It stops within the second eval; then another batch size does the rest."""
  calls, counter = [], run.reporting.counter

  def killing(name):
    note = counter(name)

    def kill(done, total):
      calls.append((name, done))
      note(done, total)
      if len(calls) == 6:
        raise KeyboardInterrupt
    return kill
  monkeypatch.setattr(run.reporting, "counter", killing)
  with pytest.raises(KeyboardInterrupt):
    run.run(make_config(16), init, tmp_path)
  assert calls[-1] == ("ocr", 2) and not (tmp_path / "metrics.json").exists()
  assert len((tmp_path / "predictions/ocr.partial.jsonl").read_text().splitlines()) == 1 + 32

  calls.append("killed")
  again = run.run(make_config(64), init, tmp_path)
  assert calls[7:] == [("ocr", 1), ("send", 1)]  # 32 of ocr are left, nothing is made twice
  folder, results = done
  assert predictions(tmp_path) == predictions(folder)
  assert list(again) == list(results)
  for key, result in again.items():
    assert result["value"] == pytest.approx(results[key]["value"], abs=1e-6), key
    np.testing.assert_allclose(result["interval"] or 0, results[key]["interval"] or 0, atol=1e-6)


def test_tokens_that_an_eval_forbids(done, make_config, init, tmp_path, capsys):
  """Run twice, as --repeats 2, and with a file of its own."""
  config, said = make_config(), {t for p in predictions(done[0])["ocr"] for t in p["tokens"]}
  piece = big_vlm.from_preset(init, load_weights=False).tokenizer.piece(max(said))
  with config.unlocked():
    config.evals["ocr"]["logit_bias"] = {piece: float("-inf")}
    config.evals["ocr"]["outfile"] = "{workdir}/{name}-{split}-{step}.json"
  run.run(config, init, tmp_path, evals="ocr", limit=20, repeats=2)
  rows = [json.loads(x) for x in (tmp_path / "predictions/ocr.jsonl").read_text().splitlines()]
  assert max(said) not in {t for p in rows for t in p["tokens"]}
  assert json.loads((tmp_path / "ocr-val-0.json").read_text()) == rows
  told = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
  first, second = told["repeats"]["ocr"]
  assert second["ocr/acc"] == told["metrics"]["ocr/acc"]["value"] and first["resumed"] is False
  printed = capsys.readouterr().out
  assert "seconds  first  repeat 1  examples/s, fastest\nocr " in printed
  assert "deterministic" not in printed


def test_a_part_of_the_examples(done, make_config, init, tmp_path):
  """Drawn from all of the split, the same for every model, and within those of a larger part."""
  whole, some = done[0], {}
  for limit in (10, 20):
    run.run(make_config(), init, tmp_path / str(limit), evals="ocr", limit=limit)
    some[limit] = [json.loads(line) for line in
                   (tmp_path / str(limit) / "predictions/ocr.jsonl").read_text().splitlines()]
  ids = {limit: [p["id"] for p in rows] for limit, rows in some.items()}
  assert ids[10] == sorted(ids[10]) and set(ids[10]) < set(ids[20]) and len(ids[20]) == 20
  all_ = {p["id"]: p for p in predictions(whole)["ocr"]}
  assert all(p["prediction"] == all_[p["id"]]["prediction"] for p in some[20])
  told = json.loads((tmp_path / "10/metrics.json").read_text())
  assert told["limit"] == 10 and told["metrics"]["ocr/acc"]["n"] == 10
  assert told["metrics"]["ocr/acc"]["total"] == 64
  assert "is of a sample, 10 of 64 examples" in told["metrics"]["ocr/acc"]["warnings"][-1]
  with pytest.raises(ValueError, match="has limit=0: a number of examples is 1 or more"):
    run.run(make_config(), init, tmp_path / "none", evals="ocr", limit=0)


def test_the_command_evaluates_in_fewer_bits(make_config, init, tmp_path, monkeypatch):
  seen, whole, predict = {}, run.run, common.Evaluator.predict

  def look(self, params, *args):
    seen.update(params)
    return predict(self, params, *args)
  monkeypatch.setattr(common.Evaluator, "predict", look)
  monkeypatch.setattr(run, "run", lambda config, *args: whole(make_config(8), *args))
  monkeypatch.setattr(run.compilation, "cache", lambda: None)
  monkeypatch.setattr(run.cli, "start", lambda args: None)  # joins no other process
  run.main(["--config", "configs/digits.py:tiny", "--init", str(init), "--workdir",
            str(tmp_path), "--evals", "ocr", "--split", "val[:8]", "--dtype", "bfloat16",
            "--quantize", "int8"])
  told = json.loads((tmp_path / "metrics.json").read_text())
  assert (told["dtype"], told["quantize"], told["metrics"]["ocr/acc"]["n"]) == (
      "bfloat16", "int8", 8)
  assert told["model"]["llm"]["dtype"] == told["model"]["img"]["dtype"] == "bfloat16"
  kernel = seen["llm"]["layers"]["mlp"]["linear"]
  assert (kernel.q.dtype, kernel.dtype) == ("int8", "bfloat16")


EVALS = {**{f"pope/{kind}": dict(type="vqa", data=dict(name=f"pope/{kind}", split="test"))
            for kind in ("random", "popular")},
         "pope/avg2": dict(type="mean", evals=("pope/random", "pope/popular")),
         "mine": dict(type="vqa", data=dict(name="jsonl", path="mine.jsonl"))}


@pytest.mark.parametrize("names, found", [
    (None, list(EVALS)),
    ("mine", ["mine"]),
    ("mine, pope/random", ["pope/random", "mine"]),  # in the config's order
    ("pope/r*", ["pope/random"]),
    ("pope/avg2", ["pope/random", "pope/popular", "pope/avg2"]),  # with what it is over
])
def test_evals_are_chosen_by_name_and_pattern(names, found):
  assert list(run.choose_evals(EVALS, names)) == found


def test_another_split():
  entries = run.choose_evals(copy.deepcopy(EVALS), "pope/avg2", split="val[:9]")
  assert [e["data"]["split"] for e in entries.values() if "data" in e] == ["val[:9]"] * 2


@pytest.mark.parametrize("evals, args, complaint", [
    (EVALS, ["pop/random"], "Unknown eval of this config 'pop/random'. Did you mean 'pope/random'"),
    (EVALS, ["popes/*"], "Unknown eval of this config 'popes/.'"),
    (EVALS, ["mine", "test"], "The eval 'mine' has no splits to choose from.*mine.jsonl"),
    ({}, [], "The config has no `evals`"),
])
def test_what_cannot_be_chosen(evals, args, complaint):
  with pytest.raises(ValueError, match=complaint):
    run.choose_evals(copy.deepcopy(evals), *args)


def test_all_missing_data_are_told_at_once(make_config, tmp_path):
  config = make_config()
  for name in NAMES:
    config.evals[name]["data"]["data_dir"] = str(tmp_path)
  with pytest.raises(FileNotFoundError,
                     match=r"(?s)prepare digits/tiny.*for answer, ocr, send\).*--evals"):
    run.run(config, "nowhere", tmp_path / "out")


def test_what_is_printed_and_metrics_that_are_not_a_number(tmp_path, capsys):
  result = dict(task="a", metric="acc", value=float("nan"), interval=None, published=0.5,
                baseline=None, n=3, percent=True, warnings=["odd", "odd too"])
  run.write_results(tmp_path, [result, {**result, "metric": "b"}], [], {"checkpoint": "W"})
  told = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
  assert told["metrics"]["a/acc"]["value"] is None and told["checkpoint"] == "W"
  printed = capsys.readouterr().out
  assert printed.count("warning: a: odd\n") == 1 and "warning: a: odd too" in printed
  assert (f"report      {tmp_path / 'report.html'}\n"
          f"metrics     {tmp_path / 'metrics.json'}\n") in printed


def test_another_tokenizer_than_the_checkpoints_stops_the_run(make_config, init, tmp_path):
  copy_of = tmp_path / "other.model"
  copy_of.write_bytes((init / "tokenizer.model").read_bytes())
  config = make_config()
  config.tokenizer = f"sp('{copy_of}')"  # the same file without <loc> and <seg>
  with pytest.raises(ValueError, match="is not the checkpoint's: piece 480 is missing in"):
    run.run(config, init, tmp_path / "out", evals="ocr")


def test_the_tokenizer_of_an_evaluation(make_config, init, tmp_path):
  copy_of, configured = tmp_path / "copy.model", make_config().tokenizer
  copy_of.write_bytes((init / "tokenizer.model").read_bytes())
  shipped = f"sp('{copy_of}', tokensets=('loc', 'seg'))"
  assert run.the_tokenizer(configured, shipped) == shipped  # spelling and path do not count
  assert run.the_tokenizer(configured, None) == configured
  assert run.the_tokenizer("", shipped) == shipped


def test_a_tokenizer_that_cannot_be_loaded_is_the_checkpoints(init, tmp_path, monkeypatch, capsys):
  monkeypatch.delenv(GEMMA_MODEL, raising=False)
  shipped, gemma = f"sp('{init / 'tokenizer.model'}')", "gemma(tokensets=('loc', 'seg'))"
  assert run.the_tokenizer(gemma, shipped) == shipped
  said, = capsys.readouterr().out.splitlines()
  assert said.startswith("tokenizer: the checkpoint's; ") and GEMMA_MODEL in said
  with pytest.raises((ValueError, FileNotFoundError), match=GEMMA_MODEL):
    run.the_tokenizer(gemma, None)


def test_another_resolution_than_the_models_stops_the_run(make_config, init, tmp_path):
  config = make_config()
  config.model.img.image_size = 64
  with pytest.raises(ValueError, match="images have 64 pixels a side, but the model takes 32"):
    run.run(config, init, tmp_path, evals="ocr")
