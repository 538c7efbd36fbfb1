"""Before a run: does it fit, how fast will it be, and what to change.

  python -m tools.plan --config configs/forkme.py --topology v5e:16x16    for a TPU, on any machine
  python -m tools.plan --config configs/forkme.py --device h100 [--devices 8]
  python -m tools.plan --config configs/digits.py --device cpu
  python -m tools.plan --for generate --model google/paligemma-3b-mix-448 --device l4 --batch 8

A TPU step is compiled by the TPU's own compiler, from which bytes and cycles are read; only the
time spent waiting on the network is not in them. A GPU's is compiled by XLA's compiler for NVIDIA
GPUs, which says its bytes; its time is an estimate from those, the FLOPs and a table of devices
(big_vlm/planning/devices.py). Neither compiler needs the device: requirements-tpu-compiler.txt and
requirements-gpu-compiler.txt install them. Without the second, and for CPUs, the program of a CPU
stands in. A few changes are compiled too, at most --max_compiles in all: the smallest that makes
the run fit, or else what makes it faster.
"""
import contextlib
import dataclasses
import pathlib
import re
import time
from typing import NamedTuple

from big_vlm import building, cli, sharding
from big_vlm.adapt import quantize
from big_vlm.data import loader, mixture, packing
from big_vlm.planning import devices, memory
from big_vlm.training import policy
from pp import builder
from tools.planning import child, generation, gpu

# Of the memory, what a guess from a program that did not fit may fill: the bytes that it is said to
# want are those to which the compiler, making things anew, got it down.
ROOM = 0.6
# {flag: (least, most)}: what a program can be compiled for; XLA ends where sizes overflow.
RANGES = {"devices": (1, 100_000), "text_len": (1, 1 << 18), "max_compiles": (1, 100),
          "num_images": (0, 1000), "batch": (1, 1 << 16), "image_size": (1, 8192),
          "max_new_tokens": (1, 1 << 18)}
CPUS = 512  # devices that one CPU can stand for
SAMPLE = 64  # examples of the data from which the share of padding is told


def plan(config, topology=None, device=None, devices=1, text_len=None, num_images=None,
         max_compiles=3, dump_hlo=None):
  """Prints the plan of a config; returns [(change, result of measure.measure)]."""
  target = target_of(topology, device, devices)
  tune = policy.Settings.of(config)
  if tune and text_len:
    raise ValueError(f"--text_len {text_len}: the rows of a tuning have config.tune.prompt_len + "
                     f"max_new_tokens = {tune.length} tokens; change those.")
  known = text_len or num_images or config.model.txt or tune
  sample = None if known else sample_of(config)
  if sample and config.input.packing != "none":
    text_len, num_images = sample.text_len, sample.images
  if tune:
    text_len = tune.length - 1
  target |= dict(text_len=text_length(config) if text_len is None else text_len,
                 images=image_count(config) if num_images is None else num_images)
  config = without_epochs(config)
  if config.model.dtype == "auto" and device != "cpu":
    config.model.dtype = "bfloat16"
  measured = []

  def run(name, changed):
    began = time.perf_counter()
    number = f"{len(measured) + 1} of at most {max_compiles}"
    print(f"compiling {number}: {name} ...", flush=True)
    found = child.run("tuning" if tune else "measure", config=changed.to_dict(), **target,
                      save=None if measured else dump_hlo)
    measured.append((name, found))
    print(f"  {short(measured[-1][1])} ({time.perf_counter() - began:.0f} s)", flush=True)

  run("as configured", config)
  print(describe(measured[0][1], topology or device), flush=True)
  if sample:
    print(real_share(sample, measured[0][1]), flush=True)
  seen = {config.to_json_best_effort()}
  while len(measured) < max_compiles:
    fits = any(result["fits"] for _, result in measured)
    if fits and not measured[0][1]["fits"]:
      break  # it fits now
    changes = next((c for c in (faster if fits else smaller)(config, measured[-1][1])
                    if changed(config, c).to_json_best_effort() not in seen), None)
    if changes is None:
      break
    seen.add(changed(config, changes).to_json_best_effort())
    run(", ".join(f"{k}={v}" for k, v in changes.items()), changed(config, changes))
  print(advice(measured))
  return measured


def target_of(topology, device, count):
  """The arguments of measure.measure that name what to compile for. Raises ValueError for a device
  that is not known, and for a topology where the TPU compiler is not installed."""
  if bool(topology) == bool(device):
    raise ValueError("Give either --topology, such as v5e:16x16, or --device, such as h100 or cpu.")
  devices.check(device or topology.partition(":")[0])
  child.check_compiler(topology)
  if device in gpu.TARGETS and not gpu.has_compiler():
    print(f"The GPU's compiler is not installed, so the program of a CPU stands in for that of "
          f"{device}. To have it (3.8 GB, no GPU needed):\n  {gpu.INSTALL}", flush=True)
  return dict(topology=topology) if topology else dict(device=device, count=count)


class Sample(NamedTuple):
  """Rows of the first examples of the training data, as the model gets them."""
  examples: int
  rows: int
  text_len: int  # text tokens of a row
  images: int  # of a row
  real: float  # part of the tokens that is no padding


def sample_of(config):
  """The Sample of a config; None where its data is not on this machine.

  Raises ValueError where the data alone says how long rows are.
  """
  layout = packing.of_config(config)
  try:
    count = min(layout.batch_size, max(SAMPLE, layout.row_examples))
    layout = dataclasses.replace(layout, batch_size=count - count % layout.row_examples)
    with contextlib.closing(loader.train_batches(
        mixture.from_config(config), layout.batch_size, rows=range(layout.rows),
        reader=layout.reader)) as batches:
      batch = layout.cut(loader.split_batch(next(batches))[0])
  except (ValueError, OSError) as e:
    if config.input.packing == "none":
      return None
    raise ValueError(f"How long rows are with input.packing={config.input.packing!r} is read from "
                     f"the data, which failed: {e} Or give --text_len and --num_images of a row, "
                     f"which has {layout.row_examples} examples.") from e
  tokens, real = layout.tokens(batch)
  return Sample(layout.batch_size, layout.rows, batch["text"].shape[1] - 1,
                packing.image_slots(batch), real / tokens)


def real_share(sample, result):
  """What a Sample says of the tokens, as a line."""
  line = (f"of the first {sample.examples} examples, in {sample.rows} rows of {sample.text_len} "
          f"text tokens, {sample.real:.0%} of all tokens are not padding")
  if "tokens_per_second" in result:
    line += f": {result['tokens_per_second'] * sample.real:,.0f} of them/s/device"
  return line


def text_length(config):
  """Text tokens that the model reads: a text tower's, or config.text_len."""
  if length := mixture.context_of(config).text_len:
    return length
  raise ValueError("config.text_len is not set, so the plan does not know how long the text is: "
                   "give --text_len N or --config.text_len=N, the tokens that the model reads.")


def image_count(config):
  """Images of an example, each with its own tokens, as the ops of the mixture make them."""
  counts = [builder.image_count(component["pp"]) for component in config.input.mixture]
  return max(counts, default=1) if config.model.img else 0


def without_epochs(config):
  """A copy of the config that takes an epoch for 1,000 steps: their number changes no step, and
  the data that says it may not be on this machine."""
  other = type(config)(config.to_dict())
  for key, value in config.items():
    if key.endswith("_epochs") and value is not None:
      other[key], other[key.removesuffix("epochs") + "steps"] = None, round(1000 * value)
  return other


def changed(config, changes):
  """A copy of the config with {dotted key: value} set."""
  other = type(config)(config.to_dict())
  for key, value in changes.items():
    *parents, last = key.split(".")
    at = other
    for parent in parents:
      at = at[parent]
    at.update({last: value})
  return other


def remat(config, row):
  """{key: row} for each part of the model."""
  return {f"model.{part}.remat": row for part in ("img", "llm", "txt") if config.model[part]}


def other_mesh(result):
  """A mesh that cuts the leaves that stay whole on this one, if any."""
  devices = result["mesh"]["data"] * result["mesh"]["fsdp"]
  sizes = re.findall(sharding.WOULD_SHARD.format(r"(\d+)"), " ".join(result["notes"]))
  if sizes:
    fsdp = min(map(int, sizes))
    yield {"mesh.data": devices // fsdp, "mesh.fsdp": fsdp}


def smaller(config, result):
  """Changes that need less memory than `result`, the least one first."""
  total, mesh, batch = result["memory"]["total"], result["mesh"], result["batch"]
  if result.get("answers") and total <= result["limit"]:  # it is these that do not fit
    if mesh["data"] > 1:
      yield {"mesh.data": 1, "mesh.fsdp": mesh["data"] * mesh["fsdp"]}
    if batch % (2 * mesh["data"] * mesh["fsdp"]) == 0:
      yield {"input.batch_size": batch // 2}
    return
  rows = policy.rows(config) // max(result["mesh"]["data"] * result["mesh"]["fsdp"], 1)
  if any(config.model[key.split(".")[1]].get("remat", "full") != "full"
         for key in remat(config, "full")):
    yield remat(config, "full")
  fixed = sum(n for what, n in result["static"].items() if what != "logits of a chunk")
  parts = config.grad_accum_steps
  if total and fixed < result["limit"]:  # from which number on activations ought to fit
    while parts < rows and fixed + (total - fixed) * result["grad_accum_steps"] / parts > (
        ROOM * result["limit"]):
      parts *= 2
  while parts <= rows:
    if rows % parts == 0 and parts > result["grad_accum_steps"]:
      yield remat(config, "full") | {"grad_accum_steps": parts}
    parts *= 2
  if mesh["data"] > 1:
    yield remat(config, "full") | {"mesh.data": 1, "mesh.fsdp": mesh["data"] * mesh["fsdp"]}
  yield from other_mesh(result)
  if rows > 1:
    yield remat(config, "full") | {"input.batch_size": batch // 2}


def faster(config, result):
  """Changes that may make it faster and that the memory may have room for."""
  rows = policy.rows(config) // (result["mesh"]["data"] * result["mesh"]["fsdp"])
  yield from other_mesh(result)
  if all(config.model[key.split(".")[1]].get("remat", "full") in ("full", "offload")
         for key in remat(config, "save_attn")):
    yield remat(config, "save_attn")
    for parts in (2, 4):
      if rows % parts == 0 and parts > config.grad_accum_steps:
        yield remat(config, "save_mlp") | {"grad_accum_steps": parts}


def short(result):
  """One line."""
  answers = result.get("answers")
  total = max(result["memory"]["total"] or 0, answers["memory"] if answers else 0)
  limit = memory.format_bytes(result["limit"])
  used = f"{memory.format_bytes(total)} of {limit}" if total else f"more than {limit}"
  if not result["fits"]:
    return f"does not fit: {used}"
  return (f"fits: {used}, step {result['step_seconds']:.3g} s, "
          f"{result['tokens_per_second']:,.0f} tokens/s/device, MFU {result['mfu']:.1%}")


def describe(result, where):
  """The whole report of one measurement."""
  mesh = ", ".join(f"{axis}={n}" for axis, n in result["mesh"].items())
  packed, answered = result["rows"] < result["batch"], result["rows"] > result["batch"]
  lines = [f"{where} ({result['compiler'] or 'estimates'}): {result['devices']} devices, "
           f"mesh {mesh}",
           f"batch {result['batch']} in {result['grad_accum_steps']} microbatches, "
           f"{result['tokens']} tokens {'a row' if packed or answered else 'an example'}, of them "
           f"{result['text_len']} text" + f", {result['rows']} rows" * (packed or answered),
           short(result), *result["notes"], "memory per device:",
           memory.table(result["static"], result["memory"]["total"], result["limit"])]
  if "step_seconds" not in result:
    return "\n".join([*lines, result["failed"]])
  if answers := result.get("answers"):
    lines.append(f"answers before each step, were all of full length: {answers['seconds']:.3g} s "
                 f"(prefill {answers['prefill']:.3g} s, a token {answers['round']:.3g} s), "
                 f"{memory.format_bytes(answers['memory'])} of memory; rewards are not in it")
  step = result["step_seconds"]
  share = lambda seconds: f"{seconds:8.3g} s  {seconds / max(step, 1e-12):6.1%}"
  lines += ["time of a step, by kind of work:"]
  lines += [f"  {name:<34}{share(n)}" for name, n in result["seconds"].items() if n]
  lines += ["by part of the model:"]
  lines += [f"  {name:<34}{share(n)}" for name, n in result["where"].items() if n > 0.002 * step]
  lines += ["collectives, a step and device:"] if result["collectives"] else []
  lines += [f"  {kind:<34}{runs:6} x {moved / 1e9:9.2f} GB in total"
            for kind, (runs, moved) in result["collectives"].items()]
  if result.get("network_seconds"):
    lines.append(f"  network lower bound {result['network_seconds']:.2g} s, hidden behind the "
                 "arithmetic as far as the compiler can; not in the step above")
  return "\n".join(lines)


def advice(measured):
  """What to do, in a line."""
  (_, first), fits = measured[0], [(n, r) for n, r in measured if r["fits"]]
  if not fits:
    return ("Nothing that was tried fits. Take more devices, a smaller batch, LoRA "
            "(config.lora.rank) or QLoRA (config.quantize).")
  name, best = min(fits, key=lambda item: item[1]["step_seconds"] / item[1]["batch"])
  if not first["fits"]:
    return f"To make it fit: {name}. Then it is {short(best)[6:]}."
  if len(measured) == 1:
    return "It fits. --max_compiles 3 would look for what makes it faster."
  gain = first["tokens_per_second"] and best["tokens_per_second"] / first["tokens_per_second"] - 1
  if gain < 0.01:
    return "Nothing that was tried is faster than what is configured."
  return f"Faster by {gain:.0%}: {name}."


def main(argv=None):
  parser = cli.Parser(__doc__, config="optional")
  parser.add_argument("--for", dest="purpose", choices=("train", "generate"), default="train",
                      help="what to plan (default: train)")
  parser.add_argument("--topology", help="TPU chips, as v5e:16x16")
  parser.add_argument("--device", help="a row of big_vlm/planning/devices.py, or cpu")
  parser.add_argument("--devices", type=int, default=1, help="how many of them (default: 1)")
  parser.add_argument("--text_len", type=int,
                      help="text tokens of a row that the model reads (default: the config's), or "
                           "of a prompt (default: 16)")
  parser.add_argument("--max_compiles", type=int, default=3,
                      help="how many programs to compile at most (default: 3)")
  group = parser.add_argument_group("--for train, with --config")
  train = [
      group.add_argument("--num_images", type=int, help="images of a row (default: the config's)"),
      group.add_argument("--dump_hlo", metavar="FILE", help="writes the text of the first program")]
  group = parser.add_argument_group("--for generate, with --model or --config")
  generate = [
      group.add_argument("--model", help="the name of a released model"),
      group.add_argument("--batch", type=int, help="prompts with an image each (default: 1)"),
      group.add_argument("--image_size", type=int, help="in pixels (default: the model's)"),
      group.add_argument("--dtype", choices=building.DTYPES,
                         help="of activations and weights (default: bfloat16; on a CPU float32, on "
                              "a T4, which has no bfloat16, float16)"),
      group.add_argument("--weights", choices=quantize.KINDS, help="quantized weights"),
      group.add_argument("--cache", choices=("float32", "bfloat16", "int8"),
                         help="of keys and values (default: the dtype)"),
      group.add_argument("--max_new_tokens", type=int, help="of an answer (default: 64)")]
  args = parser.parse_args(argv)
  given = lambda flags: [a.dest for a in flags if getattr(args, a.dest) is not None]
  other, whose = ((train, "--for train, with --config") if args.purpose == "generate" else
                  (generate, "--for generate, with --model or --config"))
  if wrong := given(other):
    parser.error(f"--{wrong[0]} is of a plan {whose}, not --for {args.purpose}")
  for name, (low, high) in RANGES.items():
    high = CPUS if name == "devices" and args.device == "cpu" else high
    if (value := getattr(args, name)) is not None and not low <= value <= high:
      parser.error(f"--{name} {value} is not from {low} to {high:,}")
  if args.dump_hlo and not pathlib.Path(args.dump_hlo).absolute().parent.is_dir():
    parser.error(f"--dump_hlo {args.dump_hlo}: there is no such folder")
  if args.purpose == "train":
    if not args.config:
      parser.error("a plan of training needs --config")
    plan(args.config, args.topology, args.device, args.devices, args.text_len, args.num_images,
         args.max_compiles, args.dump_hlo)
    return
  if bool(args.model) == bool(args.config):
    parser.error("a plan of generate() needs --model or --config, one of them")
  options = {name: getattr(args, name) for name in given(generate) if name != "model"}
  for name, value in (("text_len", args.text_len), ("max_new_tokens", None)):
    value = options.pop(name, value)
    if value is not None:
      options["new" if name == "max_new_tokens" else name] = value
  model = args.model or {key: args.config.model[key].to_dict() for key in ("img", "llm")}
  dtype = {"cpu": "float32", "t4": "float16"}.get(args.device, "bfloat16")
  generation.plan(model, target_of(args.topology, args.device, args.devices), args.max_compiles,
                  **{"batch": 1, "dtype": dtype, **options})


if __name__ == "__main__":
  cli.run(main)
