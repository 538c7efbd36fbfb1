import functools
import logging
import sys
import threading

import jax
import pytest

from big_vlm import cli

CONFIG = """
import ml_collections
from pp.names import check_names
def get_config(arg=None):
  check_names((arg or "res").split(","), ["res"], "The config")
  return ml_collections.ConfigDict(
      dict(grad_accum_steps=1, input=dict(batch_size=2), parts=[dict(weight=1.)], remat=True,
           evals={"a/b": dict(type="vqa")}))
"""


@pytest.fixture
def config(tmp_path):
  (tmp_path / "c.py").write_text(CONFIG)
  return str(tmp_path / "c.py")


def parse(*argv):
  parser = cli.Parser("Trains.", config=True, distributed=True)
  parser.add_argument("--workdir")
  parser.add_argument("--profile_steps", type=int)
  return parser.parse_args(argv)


def fail(error):
  raise error


@pytest.fixture(autouse=True)
def hooks(monkeypatch):
  """Those that cli.run() sets, for a test alone."""
  monkeypatch.delenv("BIG_VLM_TRACEBACK", raising=False)
  for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
    monkeypatch.setattr(module, name, getattr(module, name))


@pytest.mark.parametrize("error, said", [
    (ValueError("Unknown op 'x'."), "Unknown op 'x'.\n"),
    (FileNotFoundError("There is no a.jsonl."), "There is no a.jsonl.\n"),
    (OSError(28, "No space left on device", "w/a"), "[Errno 28] No space left on device: 'w/a'\n"),
    (MemoryError("Unable to allocate 5 GiB"), "The memory of this machine is not enough. Unable"),
    (jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: [pair.cc] Read error: reset"),
     "Another process of this run has ended, "),
    (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nTrace"),
     "The memory of the device is not enough"),
    (RuntimeError("Unable to initialize backend 'tpu': none"), "JAX does not find the devices")])
def test_an_error_that_a_person_can_fix_becomes_one_paragraph(error, said, capsys):
  with pytest.raises(SystemExit) as exit:
    cli.run(functools.partial(fail, error))
  out, err = capsys.readouterr()
  assert exit.value.code == 1 and out == ""
  assert err.startswith(f"error: {said}") and "Traceback" not in err and err.count("\n") == 2


def test_errors_of_threads_and_of_libraries_are_lines(capsys):
  def main():
    for error in ("Event loop is closed", "lost", "lost"):
      thread = threading.Thread(target=lambda text=error: fail(RuntimeError(text)))
      thread.start()
      thread.join()
    try:
      fail(KeyError("x"))
    except KeyError:
      logging.getLogger("absl").exception("it broke")
  cli.run(main)
  err = capsys.readouterr().err
  assert "in the background: RuntimeError: lost\n" in err and err.count("lost") == 1
  assert "Traceback" not in err and "Event loop" not in err


def test_tracebacks_on_demand_and_for_defects(monkeypatch, capsys):
  def said(error):
    with pytest.raises(SystemExit) as exit:
      cli.run(functools.partial(fail, error))
    assert exit.value.code == 1
    return capsys.readouterr().err
  for error in (KeyError("x"), RuntimeError("x"), jax.errors.JaxRuntimeError("INTERNAL: x")):
    assert "Traceback" in said(error)  # a defect of ours, not of the input
  monkeypatch.setenv("BIG_VLM_TRACEBACK", "1")
  assert "Traceback" in said(ValueError("x"))


def test_text_of_others_does_nothing_to_the_terminal(capsys):
  with pytest.raises(SystemExit):
    cli.run(lambda: (print("image \x1b[2J.png"), fail(OSError(f"no {'x' * 5_000_000}: fix it"))))
  out, err = capsys.readouterr()
  assert out == "image \\u001b[2J.png\n" and len(err) < 5000 and ": fix it\n" in err


def test_a_command_that_works(capsys):
  cli.run(lambda: print("fine"))
  assert capsys.readouterr() == ("fine\n", "")


def test_a_config_and_what_the_flags_change_in_it(config):
  args = parse("--config", f"{config}:res", "--config.input.batch_size=4", "--workdir", "w",
               "--config.parts[0].weight", "2", "--noconfig.remat", "--profile_steps=3",
               "--config.evals.a/b.sampler=beam(n=2)", '--config.evals["a/b"].steps=5')
  assert args.config.to_dict() == dict(
      grad_accum_steps=1, input=dict(batch_size=4), parts=[dict(weight=2.)], remat=False,
      evals={"a/b": dict(type="vqa", sampler="beam(n=2)", steps=5)})
  assert args.config_file == f"{config}:res"
  assert args.config_changes == {
      "input.batch_size": 4, "parts[0].weight": 2., "remat": False,
      'evals["a/b"].sampler': "beam(n=2)", 'evals["a/b"].steps': 5}
  assert (args.workdir, args.profile_steps, args.process_id) == ("w", 3, None)
  with pytest.raises(AttributeError):  # it is locked
    args.config.new = 1


@pytest.mark.parametrize("flags, said", [
    (["--process", "1"], "--process is now --process_id"),
    (["--process=1"], "--process is now --process_id"),
    (["--coordinator", "h:1"], "--coordinator is now --coordinator_address"),
    (["--start_timeout", "9"], "--start_timeout is now --initialization_timeout"),
    (["--profile", "5"], "--profile is now --profile_steps"),
    (["--wrkdir", "w"], "unrecognized arguments: --wrkdir w. Did you mean 'workdir'?"),
    (["w"], "unrecognized arguments: w."),
    (["--profile_steps", "x"], "argument --profile_steps: invalid int value: 'x'")])
def test_flags_that_there_are_not(config, flags, said, capsys):
  with pytest.raises(SystemExit) as exit:
    parse("--config", config, *flags)
  assert exit.value.code == 2 and capsys.readouterr().err.endswith(f"error: {said}\n")


@pytest.mark.parametrize("flag, said", [
    ("--config.microbatches=2", "--config.microbatches is now --config.grad_accum_steps"),
    ("--config.input.batchsize=2", "no field config.input.batchsize. Did you mean 'batch_size'?"),
    ("--config.input.batch_size=x", "--config.input.batch_size=x: the field is a whole number."),
    ("--config.input.batch_size=2.5", "--config.input.batch_size=2.5: the field is a whole number"),
    ("--config.input.batch_size=", "--config.input.batch_size=: the field is a whole number"),
    ("--config.remat=maybe", "--config.remat=maybe: the field is true or false."),
    ("--config.parts[0].weight=nan", "--config.parts[0].weight=nan: it is not a number."),
    ("--config.input=3", "--config.input=3: it has fields of its own: change one of them, "
                         "--config.input.FIELD=..."),
    ("--config.parts=3", "entries of its own: change one of them, --config.parts[0]=..."),
    ("--config.batch_size=3", "no field config.batch_size. Did you mean --config.input.batch_size"),
    ("-config.remaat=true", "no field config.remaat. Did you mean 'remat'?"),
    ("--config.parts[x]=2", "config.parts has 1 entries, from [0] on."),
    ("--config.parts[0=2", "--config.parts[0 does not name a field"),
    ("--config.parts[0].wight=2", "no field config.parts[0].wight. Did you mean 'weight'?"),
    ("--config.input[0]=2", "config.input is not a list"),
    ("--noconfig.input", "--noconfig.input: the field is not true or false"),
    ("--config.evals.a/c.type=vqa", "no field config.evals.a/c. Did you mean 'a/b'?"),
    ("--config.parts[1].weight=2", "config.parts has 1 entries, from [0] on."),
    ("--config.input.batch_size.x=2", "config.input.batch_size is '2', which has no fields.")])
def test_fields_that_there_are_not(config, flag, said):
  with pytest.raises(ValueError) as error:
    parse("--config", config, flag)
  assert said in str(error.value)


def test_what_is_missing_may_be_misspelt(config, capsys):
  parser = cli.Parser("Reads.", config="optional")
  parser.add_argument("out")
  parser.add_argument("--workdir", required=True)
  parser.add_argument("--kind", choices=("coco", "yolo"))
  train = lambda argv: parse(*argv)
  for read, argv, said in (
      (train, ["--config", config, "--batch_size=3"], "Did you mean --config.input.batch_size?"),
      (train, [config, "--workdir", "w"], f"are required: --config: --config {config}"),
      (parser.parse_args, ["--workdri", "w", "x"],
       "--workdir. --workdri is no flag. Did you mean 'workdir'?"),
      (parser.parse_args, ["--out=x", "--workdir=w"], "OUT is given without --out"),
      (parser.parse_args, ["x", "--kind", "coko"], "is none of coco, yolo. Did you mean 'coco'?")):
    with pytest.raises(SystemExit):
      read(argv)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text,said", [
    ("def get_config():\n  open('/nowhere')", "No such file or directory: '/nowhere'"),
    ("def get_config(:", r"invalid syntax \(b.py, line 1\)"),
    ("def get_config():\n  return 3", "returns a int, not a ConfigDict"),
    ("def get_config():\n  pass", "returns a NoneType")])
def test_configs_that_are_none(tmp_path, text, said):
  (tmp_path / "b.py").write_text(text)
  with pytest.raises(ValueError, match=f"--config={tmp_path}/b.py: .*{said}"):
    parse("--config", f"{tmp_path}/b.py", "--workdir", "w")


@pytest.mark.parametrize("file,near", [
    ("configs/okvqa.py", "configs/transfers/okvqa.py"), ("okvqa", "configs/transfers/okvqa.py"),
    ("configs/transfer/gqa.py:res=448", "configs/transfers/gqa.py"),
    ("configs/quickstar.py", "configs/quickstart.py")])
def test_configs_of_another_folder(file, near):
  with pytest.raises(FileNotFoundError, match=f"Did you mean '{near}'"):
    parse("--config", file, "--workdir", "w")


def test_config_files_that_fail(config):
  with pytest.raises(FileNotFoundError, match="there is no file nowhere.py"):
    parse("--config", "nowhere.py:x")
  with pytest.raises(FileNotFoundError, match=r"c2.py. Did you mean '.*c.py'\?"):
    parse("--config", config.replace("c.py", "c2.py"))
  with pytest.raises(ValueError, match=r"c.py:size: The config has no 'size'.* It takes res.$"):
    parse("--config", f"{config}:size")


def test_commands_within_a_command(capsys):
  parser = cli.Parser("Imports.")
  kinds = parser.add_subparsers(dest="kind", required=True)
  kinds.add_parser("voc", description="Pascal.").add_argument("--image_set")
  assert parser.parse_args(["voc", "--image_set", "val"]).image_set == "val"
  with pytest.raises(SystemExit):
    parser.parse_args(["voc", "--set", "val"])
  assert capsys.readouterr().err.endswith("voc: error: --set is now --image_set\n")
