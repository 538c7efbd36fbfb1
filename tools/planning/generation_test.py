import pytest

from tests import commands
from tools.planning import child, generation

GIB = 2**30


def result(gib):
  return dict(total=gib * GIB, limit=16 * GIB, fits=gib <= 16, weights=GIB, carry=GIB / 2,
              compiler=None, chips=1, prefill=dict(seconds=.1, mfu=.5),
              round=dict(seconds=.01, tokens_per_second=800, bandwidth_share=.6,
                         floor_seconds=.006, bytes=3 * GIB, floor_bytes=2 * GIB,
                         copies=[("copy.1", "bf16[8]", "llm/x", GIB, 18)]))


@pytest.mark.parametrize("sizes, said, tried", [
    ([9], "It fits.", [(None, 8)]),
    ([20, 12], "To make it fit: weights=int8. Then it is 12.00 GiB", [(None, 8), ("int8", 8)]),
    ([40, 30, 20], "Nothing that was tried fits", [(None, 8), ("int8", 8), ("int4", 8)])])
def test_changes_until_it_fits(sizes, said, tried, monkeypatch, capsys):
  results, asked = map(result, sizes), []
  monkeypatch.setattr(child, "run", lambda module, **kw: (
      asked.append((kw.get("weights"), kw["batch"])), next(results))[1])
  generation.plan("google/paligemma-3b-pt-224", dict(device="t4", count=1), batch=8)
  out = capsys.readouterr().out
  assert asked == tried and out.splitlines()[-1].startswith(said)
  assert "a token moves 3.00 GiB, 1.50 times the least" in out
  assert "  of it 1.00 GiB in 18 copies: bf16[8] llm/x" in out


def test_quantized_weights_leave_smaller_batches():
  assert list(generation.smaller(batch=5, weights="int8")) == [{"batch": 2}, {"batch": 1}]


def test_decoding_of_a_config_on_a_cpu():
  done = commands.run("tools.plan", "--for", "generate", "--config", "configs/digits.py:tiny",
                      "--device", "cpu", "--max_new_tokens", "2")
  assert done.returncode == 0, done.stderr
  assert "cpu (estimates): 1 devices" in done.stdout and done.stdout.endswith("It fits.\n")


@pytest.mark.parametrize("flags, said", [
    (["--for", "generate"], "needs --model or --config"),
    (["--batch", "8", "--config", "configs/digits.py"], "--batch is of a plan --for generate"),
    (["--for", "generate", "--model", "digits", "--batch", "0"], "--batch 0 is not from 1")])
def test_flags_that_do_not_belong_together(flags, said, capsys):
  from tools import plan
  with pytest.raises(SystemExit):
    plan.main(["--device", "cpu", *flags])
  assert said in capsys.readouterr().err
