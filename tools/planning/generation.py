"""The plan of generate(): does decoding fit, how fast is it, and what makes it fit."""
import time

from big_vlm.adapt import quantize
from big_vlm.planning import memory
from tools.planning import child


def plan(model, where, max_compiles=3, **request):
  """Prints the plan of decoding; returns [(change, result of decoding.measure_decoding)].

  model: as decoding.measure_decoding() takes it. where: dict(topology=...) or dict(device=...,
  count=...). request: its other arguments.
  """
  measured = []
  for change in [{}, *smaller(**request)]:
    if measured and (measured[-1][1]["fits"] or len(measured) == max_compiles):
      break
    name = ", ".join(f"{k}={v}" for k, v in change.items()) or "as asked"
    began = time.perf_counter()
    print(f"compiling {len(measured) + 1} of at most {max_compiles}: {name} ...", flush=True)
    result = child.run("decoding", model=model, **where, **request | change)
    measured.append((name, result))
    print(f"  {short(result)} ({time.perf_counter() - began:.0f} s)", flush=True)
  print(describe(measured[0][1], where))
  print(advice(measured))
  return measured


def smaller(batch, weights=None, **_):
  """Changes that need less memory, the least one first."""
  kinds = [kind for kind in quantize.KINDS if weights is None]
  yield from ({"weights": kind} for kind in kinds)
  least = {"weights": kinds[-1]} if kinds else {}
  while batch > 1:
    batch //= 2
    yield {**least, "batch": batch}


def short(result):
  """One line."""
  used = (f"{memory.format_bytes(result['total'])} of {memory.format_bytes(result['limit'])}")
  step = result["round"]
  return (f"{'fits' if result['fits'] else 'does not fit'}: {used}, prefill "
          f"{1e3 * result['prefill']['seconds']:.3g} ms, a token {1e3 * step['seconds']:.3g} ms, "
          f"{step['tokens_per_second']:,.0f} tokens/s")


def describe(result, where):
  """The whole report of one measurement."""
  step, prefill = result["round"], result["prefill"]
  name = where.get("topology") or where["device"]
  other = result["total"] - result["weights"] - result["carry"]
  lines = [f"{name} ({result['compiler'] or 'estimates'}): {result['chips']} devices",
           f"prefill: MFU {prefill['mfu']:.1%}; a token of each request: "
           f"{step['bandwidth_share']:.1%} of the bandwidth, {1e3 * step['floor_seconds']:.3g} ms "
           "to read the decoder and the cache once", "memory per device:"]
  lines += [f"  {what:<24} {memory.format_bytes(n):>12}" for what, n in (
      ("weights", result["weights"]), ("cache", result["carry"]), ("images, copies, code", other),
      ("total", result["total"]), ("capacity", result["limit"]))]
  if "bytes" in step:
    lines.append(f"a token moves {memory.format_bytes(step['bytes'])}, "
                 f"{step['bytes'] / step['floor_bytes']:.2f} times the least")
  for name, shape, source, moved, runs in step.get("copies", ())[:4]:
    lines.append(f"  of it {memory.format_bytes(moved)} in {runs:.0f} copies: {shape} "
                 f"{source[-60:] or name}")
  return "\n".join(lines)


def advice(measured):
  """What to do, in a line."""
  (_, first), (name, last) = measured[0], measured[-1]
  if first["fits"]:
    return "It fits."
  if last["fits"]:
    return f"To make it fit: {name}. Then it is {short(last)[6:]}."
  return ("Nothing that was tried fits: take more devices, a smaller batch, a smaller image or "
          "cache_dtype='int8'.")
