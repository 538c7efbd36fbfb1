"""Estimates how long a compiled CPU program's instructions take on a device with known rates.

An instruction takes the longer of two times: its matmul FLOPs at MATMUL_RATE of the peak, and its
memory traffic at MEMORY_RATE of the bandwidth. Good kernels reach these rates on large shapes. The
FLOPs come from `dot` instructions, also those inside fusions.
"""
import math
import re

from tools.planning import program

MATMUL_RATE = 0.7
MEMORY_RATE = 0.8
_FREE = ("copy-start", "copy-done", "after-all", "partition-id", "iota")


def seconds(text, costs, device):
  """Returns {instruction name: seconds over all its runs}.

  Args:
    text: of the compiled program.
    costs: program.costs(text), or some of them.
    device: devices.Device with the rates.
  """
  computations, _ = program.parse(text)
  own = {i.name: (i, c) for c, body in computations.items() for i in body}
  inside = {}

  def work(name):
    """FLOPs of one run of a computation."""
    if name not in inside:
      table = {i.name: i for i in computations[name]}
      inside[name] = sum(products(i, table) for i in computations[name])
    return inside[name]

  def products(i, table):
    called = i.attribute("calls") or (i.attribute("to_apply") if i.opcode == "call" else None)
    return _dot(i, table) + (work(called) if called in computations else 0)

  out = {}
  for cost in costs:
    i, computation = own[cost.name]
    table = {x.name: x for x in computations[computation]}
    bytes_ = 0 if cost.opcode in _FREE else _traffic(i, table, computations)
    out[cost.name] = cost.runs * max(products(i, table) / (MATMUL_RATE * device.flops),
                                     bytes_ / (MEMORY_RATE * device.bandwidth))
  return out


def _traffic(i, table, computations):
  """Bytes that an instruction reads and writes; of an array that it slices, only the slice.

  A layer in a scan reads its slice of the stacked weights and writes its slice of the activations.
  """
  called = computations.get(i.attribute("calls"))
  if called is None:
    read = [_part(o, [i], table) for o in i.operands if o in table]
    return sum(read) + _written(i, table)
  inside = {x.name: x for x in called}
  inputs = [x for x in called if x.opcode == "parameter"]
  read = [_part(x.name, called, inside) for x in inputs]
  return sum(read) + _written(called[-1], inside)


def _part(name, users, table):
  users = [u for u in users if name in u.operands]
  if users and all(u.opcode == "dynamic-slice" for u in users):
    return sum(program.size(u.shape) for u in users)
  if users and all(u.opcode == "dynamic-update-slice" and u.operands[0] == name for u in users):
    return 0
  return program.size(table[name].shape)


def _written(i, table):
  if i.opcode == "dynamic-update-slice":
    return program.size(table[i.operands[1]].shape)
  return program.size(i.shape)


def _dot(i, table):
  if i.opcode != "dot":
    return 0
  left = _dims(table[i.operands[0]].shape)
  summed = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", i.rest)
  over = [left[int(d)] for d in summed[1].split(",") if d] if summed else []
  return 2 * math.prod(_dims(i.shape)) * math.prod(over)


def _dims(shape):
  found = re.search(r"\[([\d,]*)\]", shape)
  return [int(n) for n in found[1].split(",") if n]
