"""Estimates how long a compiled program's instructions take on a device with known rates.

The program is one for a GPU, or one for a CPU that stands in for it. An instruction takes the
longer of two times: its matmul FLOPs at MATMUL_RATE of the peak, and its memory traffic at
MEMORY_RATE of the bandwidth. Good kernels reach these rates on large shapes. The FLOPs come from
`dot` instructions, also those inside fusions, and from calls of cuBLAS and cuDNN.
"""
import math
import re

from tools.planning import program

MATMUL_RATE = 0.7
MEMORY_RATE = 0.8
_MOVES = {"copy", "convert", "transpose", "slice", "dynamic-slice", "concatenate", "pad", "reshape",
          "reverse"}
_BESIDE = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element"}
_FREE = ("copy-start", "copy-done", "after-all", "partition-id", "iota")


def seconds(text, costs, device, tf32=1.):
  """Returns {instruction name: seconds over all its runs}.

  Args:
    text: of the compiled program.
    costs: program.costs(text), or some of them.
    device: devices.Device with the rates.
    tf32: part of the peak at which float32 is multiplied.
  """
  out = {}
  for cost, flops, bytes_ in work(text, costs, tf32):
    out[cost.name] = max(flops / (MATMUL_RATE * device.flops),
                         bytes_ / (MEMORY_RATE * device.bandwidth))
  return out


def work(text, costs, tf32=1.):
  """[(Cost, FLOPs, bytes read and written)] over all runs; those in float32 count 1 / tf32."""
  computations, _ = program.parse(text)
  own = {i.name: (i, c) for c, body in computations.items() for i in body}
  inside = {}

  def of(name):
    """FLOPs of one run of a computation."""
    if name not in inside:
      table = {i.name: i for i in computations[name]}
      inside[name] = sum(products(i, table) for i in computations[name])
    return inside[name]

  def products(i, table):
    called = i.attribute("calls") or (i.attribute("to_apply") if i.opcode == "call" else None)
    return _matmul(i, table, tf32) + (of(called) if called in computations else 0)

  out = []
  for cost in costs:
    i, computation = own[cost.name]
    table = {x.name: x for x in computations[computation]}
    bytes_ = 0 if cost.opcode in _FREE else _traffic(i, table, computations)
    out.append((cost, cost.runs * products(i, table), cost.runs * bytes_))
  return out


def copies(text):
  """Names of the instructions that only move or convert what they read."""
  computations, _ = program.parse(text)
  moves = lambda i: i.opcode in _MOVES or i.opcode in _BESIDE or (
      i.opcode == "fusion" and all(map(moves, computations[i.attribute("calls")])))
  return {i.name for body in computations.values() for i in body
          if i.opcode not in _BESIDE and moves(i)}


def _traffic(i, table, computations):
  """Bytes that an instruction reads and writes; of an array that it slices, only the slice.

  A layer in a scan reads its slice of the stacked weights and writes its slice of the activations.
  """
  called = computations.get(i.attribute("calls"))
  if weights := _layer_matmul(i, table):
    others = sum(program.size(table[o].shape) for o in i.operands[:-1])
    return others + weights[1] + _written(i, table)
  if called is None:
    read = [_part(o, [i], table) for o in i.operands if o in table]
    return sum(read) + _written(i, table)
  inside = {x.name: x for x in called}
  inputs = [x for x in called if x.opcode == "parameter"]
  read = [_part(x.name, called, inside) for x in inputs]
  return sum(read) + _written(called[-1], inside)


def _part(name, users, table):
  users = [u for u in users if name in u.operands]
  if users and all(u.opcode in ("dynamic-slice", "slice", "gather") and u.operands[0] == name
                   for u in users):
    return sum(program.size(u.shape) for u in users)
  if users and all(u.opcode == "dynamic-update-slice" and u.operands[0] == name for u in users):
    return 0
  return program.size(table[name].shape)


def _written(i, table):
  if i.opcode == "dynamic-update-slice":
    return program.size(table[i.operands[1]].shape)
  if program.is_gemm(i):  # beside the result it has room to work in
    return program.size(i.shape[1:].split(" ")[0])
  return program.size(i.shape)


def _layer_matmul(i, table):
  """(rows, bytes of weights, their number) that a kernel of big_vlm/nn/layer_matmul.py reads; None
  of other instructions. Its last operands are x [M, K] and a table, or a stack of which it reads
  one layer."""
  found = re.search(r"/(head|matmul_of_layer)/pallas_call", i.source)
  if not found or i.opcode != "custom-call":
    return None
  x, weights = (table[o].shape for o in i.operands[-2:])
  layers = _dims(weights)[0] if found[1] == "matmul_of_layer" else 1
  return (_dims(x)[0], program.size(weights) / layers, math.prod(_dims(weights)) / layers)


def _matmul(i, table, tf32):
  """FLOPs of an instruction; those in float32 count 1 / tf32."""
  if program.is_fused_attention(i):  # its logits [B, N, T, S], and again in the backward pass
    logits = re.search(r'"intermediate_tensor_shape".*?"dimensions": ?\[([^]]*)', i.rest)[1]
    pairs = math.prod(map(int, re.findall(r"\d+", logits)))
    backward = "Backward" in i.rest
    return (2.5 if backward else 1) * 4 * pairs * _dims(table[i.operands[0]].shape)[-1]
  if weights := _layer_matmul(i, table):
    rows, _, numbers = weights
    return 2 * rows * numbers
  if i.opcode != "dot" and not program.is_gemm(i):
    return 0
  left = table[i.operands[0]].shape
  summed = re.search(r'lhs_contracting_dim(?:s=\{|ensions":\[)([\d,"]*)', i.rest)
  over = [_dims(left)[int(d)] for d in summed[1].replace('"', "").split(",") if d] if summed else []
  return 2 * math.prod(_dims(i.shape)) * math.prod(over) / (tf32 if left.startswith("f32") else 1)


def _dims(shape):
  found = re.search(r"\[([\d,]*)\]", shape)
  return [int(n) for n in found[1].split(",") if n]
