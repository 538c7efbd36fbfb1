"""LoRA (arXiv 2106.09685): y = x W + scale * (x A) B, where only A and B train.

A [(layers, X,) in axes, r], B [(layers, X,) r, out axes] of a weight [(layers, X,) ...]: matrices
that lie side by side on the axis X have adapters of their own. scale is alpha / r. A starts random
and B at zero, so that the first step begins from the base, bit for bit. Both are float32 and
multiply in the dtype of x.
"""
import functools
import math
import pathlib
import re
import zlib
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jax.sharding import NamedSharding, PartitionSpec

from big_vlm import trees
from big_vlm.adapt import einsum_hook, quantize
from big_vlm.formats import param_map
from big_vlm.nn import layers
from pp.names import near_miss

DECODER = ".*attn.*|.*mlp.*"
TRAINABLE = r".*/lora_[ab]"
PARTS = {"img/head/": "connector", "img/": "tower", "llm/": "decoder"}  # the first that fits


@flax.struct.dataclass
class LoRA:
  """Stands for base + scale * A B."""
  base: Any  # array or quantize.Quantized
  lora_a: jax.Array
  lora_b: jax.Array
  eqn: str = flax.struct.field(pytree_node=False)  # of the weight's product
  scale: float = flax.struct.field(pytree_node=False)

  @property
  def rank(self):
    return self.lora_a.shape[-1]

  def einsum(self, eqn, x, dtype):
    p = einsum_hook.EinsumSpec(eqn)
    between = "".join(c for c in p.output if c not in p.outs) + "r"
    a = jnp.einsum(f"{p.input},{p.stack}{p.ins}r->{between}", x, self.lora_a.astype(x.dtype))
    y = jnp.einsum(f"{between},{p.stack}r{p.outs}->{p.output}", a, self.lora_b.astype(x.dtype),
                   preferred_element_type=dtype)
    return layers.einsum(eqn, x, self.base, dtype) + self.scale * y

  def lookup(self, ids):
    rows = layers.lookup(self.base, ids)
    change = jnp.einsum("r...,Dr->...D", self.lora_b[:, ids], self.lora_a)
    return rows + (self.scale * change).astype(rows.dtype)

  def merge(self):
    """The weight as an array of the base's dtype, or of that from which it was quantized."""
    return _merged(self, _sharding(jax.tree.leaves(self.base)[0]))


@functools.partial(jax.jit, static_argnames="where")
def _merged(node, where):
  """One layer after the other, for float32 copies of all take much memory."""
  p = einsum_hook.EinsumSpec(node.eqn)
  eqn = f"{p.stack}{p.ins}r,{p.stack}r{p.outs}->{p.weight}"

  def one(weight):
    base, a, b = weight
    return (_float32(base) + node.scale * jnp.einsum(eqn, a, b)).astype(node.base.dtype)

  weight = (node.base, node.lora_a, node.lora_b)
  merged = jax.lax.map(one, weight) if p.layers(node.base) else one(weight)
  return jax.lax.with_sharding_constraint(merged, where) if where else merged


def _float32(base):
  if isinstance(base, quantize.Quantized):
    return base.dequantize()
  return base.astype(jnp.float32)


def _sharding(x):
  placed = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
  return x.sharding if placed else None


def add(model, params, rank=8, targets=DECODER, alpha=None, seed=0):
  """params with a LoRA in place of each weight whose name the regex `targets` matches.

  targets: must match all of a name of trees.names, as in ".*attn.*|img/head/kernel"; what it
  matches beside weights that multiply (biases, norms) is left out. alpha: None is rank, that is,
  scale 1. A weight's A depends on seed and its name alone. Quantized weights stay so (QLoRA).
  Raises ValueError for a pattern that matches no weight, for a rank below 1, and for params that
  have adapters.
  """
  if rank < 1 or int(rank) != rank:
    raise ValueError(f"The rank of LoRA is {rank}: it must be a whole number above 0.")
  weights = einsum_hook.weights(params)
  if adapted := [name for name, w in weights.items() if isinstance(w, LoRA)]:
    raise ValueError(f"{len(adapted)} weights have adapters already, e.g. {adapted[0]}: merge them "
                     "first, or add new ones to the parameters from before.")
  products = einsum_hook.products(model)
  scale = float(rank if alpha is None else alpha) / rank
  return einsum_hook.replace(params, {
      name: _fresh(name, weights[name], products[name], rank, scale, seed)
      for name in _matches(targets, list(products))})


def _matches(targets, names):
  """The names that the regex matches; each of its alternatives must match some."""
  def match(pattern):
    try:
      return [n for n in names if re.fullmatch(pattern, n)]
    except re.error as e:
      raise ValueError(f"The LoRA targets {pattern!r} are no regular expression: {e}.") from None
  found = match(targets)
  for pattern in _alternatives(targets) if found else [targets]:
    if not match(pattern):
      near = near_miss(re.sub(r"\.\*|\\", "", pattern), names)
      examples = ", ".join([*names[:2], *names[-2:]])
      raise ValueError(f"The LoRA targets {pattern!r} match no weight of the model.{near} The "
                       f"regex must match all of a name such as {examples}.")
  return found


def _alternatives(pattern):
  """"a|b(c|d)" -> ["a", "b(c|d)"]: split where no group and no set is open."""
  depth, parts = 0, [""]
  for piece in re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern):
    depth += (piece == "(") - (piece == ")")
    if piece == "|" and depth == 0:
      parts.append("")
    else:
      parts[-1] += piece
  return parts


def _fresh(name, base, product, rank, scale, seed):
  lead = (*product.layers(base), *(base.shape[i] for i in product.axes(product.stack)))
  ins, outs = (tuple(base.shape[i] for i in product.axes(letters))
               for letters in (product.ins, product.outs))
  bound = math.prod(ins) ** -0.5  # torch's and PEFT's init of a linear layer
  rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
  a = rng.uniform(-bound, bound, (*lead, *ins, rank)).astype(np.float32)
  b = np.zeros((*lead, rank, *outs), np.float32)
  where = _sharding(jax.tree.leaves(base)[0])
  if isinstance(where, NamedSharding):
    where = NamedSharding(where.mesh, PartitionSpec())
  return LoRA(base, jax.device_put(a, where), jax.device_put(b, where), product.eqn, scale)


def adapters(params):
  """{name: LoRA} of params. Raises ValueError if there are none."""
  found = {n: w for n, w in einsum_hook.weights(params).items() if isinstance(w, LoRA)}
  if not found:
    raise ValueError("The parameters have no LoRA adapters: add some first (vlm.with_lora).")
  return found


def merge(params):
  """params with base + scale * A B, computed in float32, in place of each LoRA.

  In the base's dtype. A quantized base is dequantized first and its weight is not quantized again:
  it takes the memory that it took before quantization.
  """
  return einsum_hook.replace(params, {name: node.merge() for name, node in adapters(params).items()})


def save(params, path, targets=""):
  """Writes the adapters, and nothing of the base, as one safetensors file.

  Tensors are named as trees.names names them; the metadata has "rank", "alpha" and "targets", the
  regex of add(), or the names of the adapted weights where it is left empty.
  """
  nodes, path = adapters(params), pathlib.Path(path)
  node = next(iter(nodes.values()))
  tensors = {f"{name}/{part}": np.asarray(getattr(node, part))
             for name, node in nodes.items() for part in ("lora_a", "lora_b")}
  meta = {"format": "big_vlm.lora", "rank": node.rank, "alpha": node.scale * node.rank,
          "targets": targets or "|".join(map(re.escape, nodes))}
  partial = path.with_name(path.name + ".partial")
  safetensors.numpy.save_file(tensors, partial, {k: str(v) for k, v in meta.items()})
  partial.replace(path)


def load(model, params, path):
  """params with the adapters of a file that save() wrote.

  Strict: raises ValueError with all tensors that are missing, unexpected or of another shape.
  """
  with safetensors.safe_open(path, "numpy") as file:
    meta = file.metadata() or {}
    if meta.get("format") != "big_vlm.lora":
      raise ValueError(f"{path} holds no adapters of this project: its metadata is {meta}. A "
                       "folder of PEFT is read by adapt.peft.load.")
    tensors = {name: file.get_tensor(name) for name in file.keys()}
  fresh = add(model, params, int(meta["rank"]), meta["targets"], float(meta["alpha"]))
  return filled(fresh, tensors, path)


def filled(params, tensors, source):
  """params with the adapters' values {name: array}; source: file or folder, for the error."""
  wanted = {n: x.shape for n, x in zip(trees.names(params), jax.tree.leaves(params))
            if re.fullmatch(TRAINABLE, n)}
  param_map.compare(tensors, wanted, source)
  return trees.map_with_names(
      lambda n, x: jax.device_put(np.asarray(tensors[n], x.dtype), x.sharding)
      if n in tensors else x, params)


def part(name):
  """The part of the model that a leaf belongs to: "decoder adapters"."""
  of = next((part for start, part in PARTS.items() if name.startswith(start)), "other")
  return of + (" adapters" if re.fullmatch(TRAINABLE, name) else "")
