"""Reads the costs of a compiled program from its text (compiled.as_text()).

The TPU compiler writes `"estimated_cycles":"N"` on most instructions. A program costs their sum
over the entry computation. A loop counts its body times its iterations, a conditional its most
expensive branch, a call the computation it calls, and a fusion its own estimate. A Pallas kernel is
a custom call without an estimate; the caller prices it (`kernel_cycles`). The costs leave out the
time spent waiting on the network, but list the bytes of each collective.
"""
import dataclasses
import functools
import math
import re

CATEGORIES = MATMUL, KERNEL, OTHER, COLLECTIVE = (
    "matmul", "attention kernels", "other", "collectives")
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute",
               "ragged-all-to-all", "collective-broadcast")
_BYTES = {"pred": 1, "s4": .5, "u4": .5, "bf16": 2, "f16": 2, "f32": 4, "f64": 8, "c64": 8}
_SHAPE = re.compile(r"([a-z]+\d*(?:e\d+m\d+\w*)?)\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.-]+) = (.*)$")
_OPCODE = re.compile(r"\s*([a-z][\w-]*)\(")


@dataclasses.dataclass
class Instruction:
  name: str
  opcode: str
  shape: str  # as written, with its layout
  operands: tuple  # names
  rest: str  # the text after the operands

  def attribute(self, key):
    found = re.search(rf"\b{key}=%?([\w.-]+)", self.rest)
    return found and found[1]

  @property
  def source(self):
    """The model code that it comes from, e.g. jit(step)/llm/layers/mlp/dot_general."""
    found = re.search(r'op_name="([^"]*)"', self.rest)
    return found[1] if found else ""

  @property
  def cycles(self):
    found = re.search(r'"estimated_cycles":"(\d+)"', self.rest)
    return int(found[1]) if found else 0


@dataclasses.dataclass
class Cost:
  """The cost of one instruction over the whole program."""
  name: str
  opcode: str
  category: str  # one of CATEGORIES
  source: str
  shape: str
  runs: int
  cycles: int  # of all its runs
  bytes: int  # of its result in one run
  operands: tuple = ()  # shapes
  moves: tuple = ()  # collectives in it: (kind, channel, bytes of the result)


def parse(text):
  """({computation: [Instruction]}, name of the entry computation)."""
  computations, entry, current = {}, None, None
  for line in text.splitlines():
    if line[:1] not in (" ", "}", ""):
      head = re.match(r"(ENTRY )?%?([\w.-]+) .*\{$", line)
      if head and not line.startswith("HloModule"):
        current = computations.setdefault(head[2], [])
        entry = head[2] if head[1] else entry
    elif current is not None and (found := _INSTRUCTION.match(line)):
      current.append(_instruction(found[2], found[3]))
    elif current:  # a kernel's attributes span several lines
      current[-1].rest += line
  if entry is None:
    raise ValueError("This is not the text of a compiled program: it has no ENTRY computation.")
  return computations, entry


def _instruction(name, line):
  end = _closing(line, 0) if line.startswith("(") else line.index(" ")
  shape, found = line[:end], _OPCODE.match(line, end)
  stop = _closing(line, found.end() - 1)
  operands = tuple(re.findall(r"%([\w.-]+)", line[found.end():stop]))
  if found[1] == "constant":
    operands = (line[found.end():stop - 1],)
  return Instruction(name, found[1], shape, operands, line[stop:])


def _closing(line, start):
  """The index after the parenthesis that closes the one at `start`."""
  depth = 0
  for at in range(start, len(line)):
    depth += (line[at] == "(") - (line[at] == ")")
    if depth == 0:
      return at + 1
  raise ValueError(f"unbalanced: {line[:200]}")


def size(shape):
  """Bytes of a written shape, e.g. "bf16[8,128]{1,0}" or a tuple of such, without padding."""
  return int(sum(_itemsize(kind) * math.prod(map(int, filter(None, dims.split(","))))
                 for kind, dims in _SHAPE.findall(shape)))


def _itemsize(kind):
  if kind in _BYTES:
    return _BYTES[kind]
  bits = re.match(r"[a-z]+(\d+)", kind)
  return int(bits[1]) / 8 if bits else 0


def costs(text, trips=None, kernel_cycles=None):
  """Returns the [Cost] of every instruction that runs, the most expensive first.

  Args:
    text: of the compiled program.
    trips: trip counts of loops that depend on the data, {regex over the loop's source or name: the
      most iterations it can take}.
    kernel_cycles: function Cost -> cycles of one run of a Pallas kernel; None counts them as 0.

  Raises:
    ValueError: the text is not a program's, or a loop's trip count is neither in it nor in `trips`.
  """
  computations, entry = parse(text)
  program = _Program(computations, trips or {}, kernel_cycles)
  return sorted(program.walk(entry), key=lambda cost: -cost.cycles)


class _Program:
  def __init__(self, computations, trips, kernel_cycles):
    self.computations, self.trips, self.kernel_cycles = computations, trips, kernel_cycles

  @functools.cache  # noqa: B019
  def walk(self, name):
    """Costs of one run of a computation."""
    table = {i.name: i for i in self.computations[name]}
    out = []
    for i in self.computations[name]:
      if i.opcode == "while":
        out += _times(self.walk(i.attribute("body")), self.trip_count(i, table))
      elif i.opcode == "conditional":
        out += max(map(self.walk, _branches(i)), key=total)
      elif i.opcode == "call":
        out += self.walk(i.attribute("to_apply"))
      elif i.opcode not in ("parameter", "constant", "get-tuple-element", "tuple", "bitcast"):
        out.append(self.one(i, table))
    return out

  def one(self, i, table):
    operands = tuple(table[o].shape for o in i.operands if o in table)
    cost = Cost(i.name, i.opcode, self.category(i), i.source, i.shape, 1, i.cycles, size(i.shape),
                operands, self.moves(i))
    if cost.category == KERNEL and not cost.cycles and self.kernel_cycles:
      cost.cycles = int(self.kernel_cycles(cost))
    return cost

  def category(self, i):
    kinds = self.opcodes(i)
    if i.opcode == "custom-call" and "tpu_custom_call" in i.rest or is_fused_attention(i):
      return KERNEL
    if kinds & {"convolution", "dot"} or is_gemm(i) or "xla.gpu.triton" in i.rest:
      return MATMUL
    if any(kind.removesuffix("-start").removesuffix("-done") in COLLECTIVES for kind in kinds):
      return COLLECTIVE
    return OTHER

  def opcodes(self, i):
    """Opcodes of the instruction and of all that it calls."""
    called = i.attribute("calls")
    return {i.opcode} | (self.inside(called) if called in self.computations else set())

  @functools.cache  # noqa: B019
  def inside(self, name):
    return set().union(*(self.opcodes(i) for i in self.computations[name]))

  def moves(self, i):
    """Collectives of the instruction and of all that it calls."""
    kind = i.opcode.removesuffix("-start")
    own = ((kind, i.attribute("channel_id") or i.name, size(i.shape)),) * (kind in COLLECTIVES)
    called = i.attribute("calls")
    return own + (self.moves_inside(called) if called in self.computations else ())

  @functools.cache  # noqa: B019
  def moves_inside(self, name):
    found = sum((self.moves(i) for i in self.computations[name]), ())
    if "all-reduce-scatter" in name:  # an all-reduce that computes only this device's part
      found = tuple(("reduce-scatter", *move[1:]) for move in found)
    return found

  def trip_count(self, loop, table):
    for regex, iterations in self.trips.items():
      if re.search(regex, loop.source) or re.search(regex, loop.name):
        return iterations
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.rest):
      return int(known[1])
    if (iterations := self.counted(loop, table)) is not None:
      return iterations
    raise ValueError(
        f"The trip count of the loop {loop.name} ({loop.source or 'of unknown source'}) depends on "
        "its data. Give trips={regex over that source: the most iterations it can take}.")

  def counted(self, loop, table):
    """Iterations of `while i < n: ...; i += 1` that starts from a constant; None for others."""
    inside = {i.name: i for i in self.computations[loop.attribute("condition")]}
    root = self.computations[loop.attribute("condition")][-1]
    if root.opcode == "fusion":
      called = self.computations[root.attribute("calls")]
      outer = [i for i in called if i.opcode == "parameter"]
      names = {p.name: inside[o] for p, o in zip(outer, root.operands)}
      root, inside = called[-1], {i.name: i for i in called} | names
    if root.opcode != "compare" or "direction=LT" not in root.rest:
      return None
    counter, limit = (inside[o] for o in root.operands)
    limit = _value(limit, inside)
    if limit is None or counter.opcode != "get-tuple-element":
      return None
    first = table.get(loop.operands[0])
    if first is None or first.opcode != "tuple":
      return limit
    start = _value(table[first.operands[int(counter.attribute("index"))]], table)
    return limit - (start or 0)


def is_gemm(i):
  """Whether an instruction of a GPU's program is a call of cuBLAS."""
  return i.opcode == "custom-call" and 'custom_call_target="__cublas' in i.rest


def is_fused_attention(i):
  """Whether an instruction of a GPU's program is a call of cuDNN's attention."""
  return i.opcode == "custom-call" and 'custom_call_target="__cudnn$fmha' in i.rest


def _value(i, table):
  while i.opcode in ("copy", "bitcast", "convert") and i.operands[0] in table:
    i = table[i.operands[0]]
  number = i.opcode == "constant" and re.fullmatch(r"-?\d+", i.operands[0])
  return int(number[0]) if number else None


def _branches(i):
  if found := re.search(r"branch_computations=\{([^}]*)\}", i.rest):
    return re.findall(r"[\w.-]+", found[1])
  return [i.attribute("true_computation"), i.attribute("false_computation")]


def _times(found, n):
  return [dataclasses.replace(c, runs=c.runs * n, cycles=c.cycles * n) for c in found]


def total(found):
  return sum(cost.cycles for cost in found)


def copied_beside(cost):
  """Bytes that a copy between the memories moves in one run while other instructions run; else 0.

  Its shape is (result, source, context) or, of a slice, ((source), result, context).
  """
  if cost.opcode not in ("copy-start", "slice-start", "async-start"):
    return 0
  shapes = [f"{kind}[{dims}]" for kind, dims in _SHAPE.findall(cost.shape)]
  return min(map(size, shapes[:2])) if len(shapes) > 1 else 0


def collectives(found):
  """{kind: (number of runs, bytes of the whole arrays)}.

  The TPU compiler spreads a collective over the instructions that run at the same time. Its parts
  share a channel and count once.
  """
  runs = {}
  for cost in found:
    for kind, channel, moved in cost.moves:
      runs[kind, channel] = cost.runs, moved
  out = {}
  for (kind, _), (n, moved) in runs.items():
    number, total_bytes = out.get(kind, (0, 0))
    out[kind] = number + n, total_bytes + n * moved
  return out


def memory(compiled):
  """{purpose: bytes per device} of a compiled program."""
  m = compiled.memory_analysis()
  return {"arguments": m.argument_size_in_bytes, "outputs": m.output_size_in_bytes,
          "aliased": m.alias_size_in_bytes, "temporaries": m.temp_size_in_bytes,
          "code": m.generated_code_size_in_bytes,
          "total": (m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes
                    + m.temp_size_in_bytes)}
