import types

import jax
import pytest

from big_vlm import sharding
from big_vlm.planning import memory
from configs import common, digits
from tests import commands
from tools import plan
from tools.planning import child

GIB = 2**30


def test_the_quickstart_on_a_cpu():
  done = commands.run("tools.plan", "--config", "configs/digits.py:tiny", "--device", "cpu",
                      "--max_compiles", "1", "--config.optimizer.name=adamw")
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert lines[0] == "compiling 1 of at most 1: as configured ..."
  assert "  fits: " in lines[1] and "tokens/s/device" in lines[1]
  assert any(line.startswith("cpu (estimates): 1 devices, mesh data=1, fsdp=1") for line in lines)
  assert "batch 16 in 1 microbatches, 52 tokens an example, of them 36 text" in lines
  for part in ("parameters", "optimizer state", "gradients", "logits of a chunk", "batch",
               "activations and copies", "decoder: MLP", "head and loss", "matmul"):
    assert any(line.split("  ")[1:2] == [part] for line in lines), part


@pytest.mark.parametrize("config, flag, said", [
    ("configs/digits.py:tiny", "--device=cpuu", "Unknown device 'cpuu'. Did you mean 'cpu'"),
    ("configs/digits.py:tiny", "--topology=v5:4x4", "Unknown device 'v5'. Did you mean 'v5"),
    ("configs/tune/detect.py:size=tiny", "--config.tune.max_new_tokens=100000000",
     "config.tune.max_new_tokens is 100000000: give a whole number from 1 to 262,144")])
def test_what_cannot_be_is_refused_before_anything_is_compiled(config, flag, said, capsys):
  where = [] if "tune" not in config else ["--device=cpu"]
  with pytest.raises(ValueError, match=said):
    plan.main(["--config", config, flag, *where])
  assert "compiling" not in capsys.readouterr().out


@pytest.mark.parametrize("pp, count", [
    ("decode|resize(8)", 1), ("decode_video(16, stride=30)|resize(8)", 16),
    ("decode_video(stride=9, num_frames=8)", 8), ("stack_images(inkeys=('left', 'right'))", 2)])
def test_images_of_an_example_are_counted(pp, count):
  config = common.train()
  config.input.mixture = [dict(data={}, pp="decode"), dict(data={}, pp=pp)]
  config.model.img = dict(variant="So400m/14")
  assert plan.image_count(config) == count
  config.model.img = None
  assert plan.image_count(config) == 0


def test_a_plan_needs_no_data():
  config = common.train(total_epochs=3)
  other = plan.without_epochs(config)
  assert (other.total_epochs, other.total_steps, config.total_epochs) == (None, 3000, 3)


def test_rows_are_as_long_as_the_data_makes_them(data_dir, monkeypatch):
  monkeypatch.setattr(digits, "DATA_DIR", data_dir)
  config = digits.get_config("tiny")
  whole = plan.sample_of(config)
  config.input.packing = "pack"
  packed = plan.sample_of(config)
  assert whole[:4] == (16, 16, 36, 1) and packed[:2] == (16, 4) and packed.images == 4
  assert packed.text_len < 4 * 36 and whole.real < packed.real <= 1
  config.input.mixture[0]["data"]["data_dir"] = "elsewhere"
  with pytest.raises(ValueError, match="'pack' is read from the data, which failed: .* --text_len"):
    plan.sample_of(config)
  config.input.packing = "none"
  assert plan.sample_of(config) is None


@pytest.mark.skipif(not child.has_tpu_compiler(),
                    reason="the TPU compiler is not installed: requirements-tpu-compiler.txt")
def test_a_tpu_topology():
  config = digits.get_config("tiny")
  result = child.measure(config, topology="v5e:2x2", text_len=36)
  assert result["devices"] == 4 and result["fits"] and result["limit"] == 15.75 * GIB
  assert 0 < result["mfu"] < 1 and result["seconds"]["matmul"] > 0
  assert result["memory"]["total"] > sum(result["static"].values())
  with pytest.raises(ValueError, match="does not know the topology 'v5e:3x9'"):
    child.measure(config, topology="v5e:3x9", text_len=36)


def test_without_the_tpu_compiler_the_error_has_the_command(monkeypatch):
  monkeypatch.setattr(child, "has_tpu_compiler", lambda: False)
  with pytest.raises(ValueError, match="-m pip install --no-deps --target .*requirements-tpu-comp"):
    plan.plan(digits.get_config("tiny"), topology="v5e:16x16")


@pytest.mark.parametrize("kw", [{}, dict(topology="v5e:2x2", device="cpu")])
def test_one_target_is_needed(kw):
  with pytest.raises(ValueError, match="either --topology"):
    plan.plan(digits.get_config("tiny"), **kw)


def test_text_length_is_the_field():
  assert plan.text_length(common.train(total_steps=1, text_len=64)) == 64
  with pytest.raises(ValueError, match="config.text_len is not set.*give --text_len N"):
    plan.text_length(common.train(total_steps=1))


@pytest.fixture
def config():
  config = common.train(total_steps=1)
  config.model.update(img=dict(remat="save_attn"), llm=dict(variant="tiny"))
  config.input.batch_size = 64
  return config


def result(gib, grad_accum_steps=1, batch=64, notes=(), fsdp=8, step=1.):
  static = {"parameters": 2 * GIB, "logits of a chunk": GIB}
  return dict(memory=dict(total=gib * GIB), static=static,
              limit=16 * GIB, grad_accum_steps=grad_accum_steps, batch=batch, notes=list(notes),
              mesh=dict(data=1, fsdp=fsdp, tensor=1), fits=gib < 16, step_seconds=step,
              tokens_per_second=100 * batch / step, mfu=.5)


def test_what_is_tried_where_it_does_not_fit(config):
  tried = list(plan.smaller(config, result(26)))
  full = {"model.img.remat": "full", "model.llm.remat": "full"}
  assert tried == [full, full | {"grad_accum_steps": 4}, full | {"grad_accum_steps": 8},
                   full | {"input.batch_size": 32}]
  # 2 GiB stay, 24 are activations: in 2 parts they would need 14 of 16, in 4 parts 8.


def test_answers_that_do_not_fit_are_fewer(config):
  long = result(9) | {"answers": {"memory": 20 * GIB}, "fits": False}
  assert plan.short(long) == "does not fit: 20.00 GiB of 16.00 GiB"
  assert list(plan.smaller(config, long)) == [{"input.batch_size": 32}]
  long["mesh"] = dict(data=2, fsdp=4, tensor=1)
  assert next(plan.smaller(config, long)) == {"mesh.data": 1, "mesh.fsdp": 8}


def test_leaves_that_nothing_divides_suggest_another_mesh(config):
  notes = []
  sharding.tree_sharding(sharding.make_mesh(), {"w": jax.ShapeDtypeStruct((12, 12), "float32")},
                         min_bytes=0, note=notes.append)
  wanted = {"mesh.data": 2, "mesh.fsdp": 4}
  assert wanted in plan.smaller(config, result(34, notes=notes))
  assert next(plan.faster(config, result(4, notes=notes))) == wanted


def test_what_is_tried_to_be_faster(config):
  config.model.img.remat = "full"
  dots, *wide = plan.faster(config, result(4))
  assert dots == {"model.img.remat": "save_attn", "model.llm.remat": "save_attn"}
  assert [w["grad_accum_steps"] for w in wide] == [2, 4]
  config.model.img.remat = config.model.llm.remat = "none"
  assert list(plan.faster(config, result(4))) == []


def test_changes_leave_the_config_itself_alone(config):
  other = plan.changed(
      config, {"model.llm.remat": "save_attn", "grad_accum_steps": 2, "mesh.fsdp": 4})
  assert (other.model.llm.remat, other.grad_accum_steps, other.mesh.fsdp) == ("save_attn", 2, 4)
  assert (config.model.llm.to_dict(), config.grad_accum_steps) == ({"variant": "tiny"}, 1)


@pytest.mark.parametrize("measured, said", [
    ([("as configured", result(30)), ("grad_accum_steps=2", result(12))],
     "To make it fit: grad_accum_steps=2. Then it is 12.00 GiB of 16.00 GiB, step 1 s"),
    ([("as configured", result(30))], "Nothing that was tried fits"),
    ([("as configured", result(3))], "It fits. --max_compiles 3"),
    ([("as configured", result(9)), ("a", result(9, step=.8)), ("b", result(20, step=.1))],
     "Faster by 25%: a."),
    ([("as configured", result(9)), ("a", result(9, step=2.))], "Nothing that was tried is faster"),
])
def test_advice(measured, said):
  assert plan.advice(measured).startswith(said)


@pytest.mark.parametrize("message, gib", [
    ("RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries "
     "(43.09G) exceeds available HBM (15.75G).", 46.09),
    ("XLA:TPU compile permanent error. Ran out of memory in memory space hbm. Used 20.5G of 15.75G "
     "hbm. Exceeded hbm capacity by 4.75G.", 20.5),
    ("RESOURCE_EXHAUSTED: out of luck", None)])
def test_memory_that_a_program_requires(message, gib):
  static = {"parameters": GIB, "optimizer state": 2 * GIB, "gradients": GIB}
  found = memory.required(message, static)
  assert found == (gib and pytest.approx(gib * GIB))


def test_another_error_is_not_explained():
  assert memory.explain(ValueError("shapes differ"), types.SimpleNamespace(), {}) is None


@pytest.mark.parametrize("flags, said", [
    (["--devices", "0"], "--devices 0 is not from 1 to 512"),
    (["--devices", "1000000000"], "--devices 1000000000 is not from 1 to 512"),
    (["--batch", "1000000000000"], "--batch 1000000000000 is not from 1 to 65,536"),
    (["--text_len", "-4"], "--text_len -4 is not from 1"), (["--max_compiles", "0"], "is not from"),
    (["--max_new_tokens", "1000000000"], "is not from"), (["--image_size", "0"], "is not from"),
    (["--num_images", "1"], "--num_images is of a plan --for train, with --config, not --for gen")])
def test_numbers_for_which_nothing_can_be_compiled(flags, said, capsys):
  with pytest.raises(SystemExit):
    plan.main(["--for", "generate", "--model", "digits", "--device", "cpu", *flags])
  assert said in capsys.readouterr().err
