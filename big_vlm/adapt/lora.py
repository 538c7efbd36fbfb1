"""LoRA (arXiv 2106.09685): y = x W + scale * (x A) B, where only A and B train.

A [(layers, X,) in axes, r], B [(layers, X,) r, out axes] of a weight [(layers, X,) ...]: matrices
that lie side by side on the axis X have adapters of their own. scale is alpha / r. A starts random
and B at zero, so that the first step begins from the base, bit for bit. Both are float32 and
multiply in the dtype of x. With a dropout rate a training drops elements of x before A, and scales
the others up, as PEFT does.
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
from big_vlm.families.spec import ParamSpec
from big_vlm.formats import param_map
from big_vlm.nn import layers
from pp.names import near_miss

TRAINABLE = r".*/lora_[ab]"


@flax.struct.dataclass
class LoRA:
  """The weight base + scale * A B."""
  base: Any  # array or quantize.Quantized
  lora_a: jax.Array
  lora_b: jax.Array
  spec: ParamSpec = flax.struct.field(pytree_node=False)  # of the weight
  scale: float = flax.struct.field(pytree_node=False)
  dropout: float = flax.struct.field(pytree_node=False, default=0.)
  key: Any = None  # uint32 [(layers,) 2], of a training step alone: see with_dropout()

  @property
  def rank(self):
    return self.lora_a.shape[-1]

  def einsum(self, eqn, x, dtype):
    s, (inputs, _, output) = self.spec, re.split(",|->", eqn)
    between = "".join(c for c in output if c not in s.outs) + "r"
    a = jnp.einsum(f"{inputs},{s.side_by_side}{s.ins}r->{between}", self._dropped(x),
                   self.lora_a.astype(x.dtype))
    y = jnp.einsum(f"{between},{s.side_by_side}r{s.outs}->{output}", a,
                   self.lora_b.astype(x.dtype), preferred_element_type=dtype)
    return layers.einsum(eqn, x, self.base, dtype) + self.scale * y

  def _dropped(self, x):
    if self.key is None:
      return x
    kept = jax.random.bernoulli(jax.random.wrap_key_data(self.key), 1 - self.dropout, x.shape)
    return jnp.where(kept, x / (1 - self.dropout), 0).astype(x.dtype)

  def lookup(self, ids):
    rows = layers.lookup(self.base, ids)
    change = jnp.einsum("r...,Dr->...D", self.lora_b[:, ids], self.lora_a)
    return rows + (self.scale * change).astype(rows.dtype)

  def merge(self):
    """The weight as an array of the base's dtype, or of that from which it was quantized."""
    return _merged(self, _sharding(jax.tree.leaves(self.base)[0]))


@functools.partial(jax.jit, static_argnames="where")
def _merged(wrapper, where):
  """One layer after the other, since float32 copies of all take much memory."""
  s = wrapper.spec
  eqn = f"{s.side_by_side}{s.ins}r,{s.side_by_side}r{s.outs}->{s.weight}"

  def one(weight):
    base, a, b = weight
    return (_float32(base) + wrapper.scale * jnp.einsum(eqn, a, b)).astype(wrapper.base.dtype)

  weight = (wrapper.base, wrapper.lora_a, wrapper.lora_b)
  merged = jax.lax.map(one, weight) if s.stacked else one(weight)
  return jax.lax.with_sharding_constraint(merged, where) if where else merged


def _float32(base):
  if isinstance(base, quantize.Quantized):
    return base.dequantize()
  return base.astype(jnp.float32)


def _sharding(x):
  placed = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
  return x.sharding if placed else None


def add(model, params, rank=8, targets=None, alpha=None, seed=0, dropout=0.):
  """params with a LoRA in place of each weight whose name the regex `targets` matches.

  targets: must match all of a name of trees.names, as in ".*attn.*|img/head/kernel"; what it
  matches beside weights that multiply (biases, norms) is left out. None: the projections of the
  decoder's layers. alpha: None is rank, that is, scale 1. A weight's A depends on seed and its
  name alone. dropout: of the adapters' input, in a training. Quantized weights stay so (QLoRA).
  Raises ValueError for a pattern that matches no weight, for a rank below 1, a dropout outside of
  [0, 1), and for params that have adapters.
  """
  if rank < 1 or int(rank) != rank:
    raise ValueError(f"The rank of LoRA is {rank}: it must be a whole number above 0.")
  if not 0 <= dropout < 1:
    raise ValueError(f"The dropout of LoRA is {dropout}: it must be in [0, 1), such as 0.05.")
  weights = einsum_hook.weights(params)
  if adapted := [name for name, w in weights.items() if isinstance(w, LoRA)]:
    raise ValueError(f"{len(adapted)} weights have adapters already, e.g. {adapted[0]}: merge them "
                     "first, or add new ones to the parameters from before.")
  specs = einsum_hook.multiplying(model)
  names = _matches(targets, list(specs)) if targets is not None else [
      n for n, spec in specs.items() if n.startswith("llm/") and spec.stacked]
  if not names:
    raise ValueError("The model has no decoder, whose projections get adapters by default: name "
                     "targets, such as 'img/.*Dense_0/kernel'.")
  scale = float(rank if alpha is None else alpha) / rank
  return einsum_hook.replace(params, {
      name: _random(name, weights[name], specs[name], rank, scale, seed).replace(dropout=dropout)
      for name in names})


def with_dropout(params, rng):
  """params for the forward pass of a training step: adapters with a dropout rate draw from rng.

  What a weight drops depends on rng, its name and its layer. Other params are returned unchanged.
  """
  found = {name: w for name, w in einsum_hook.weights(params).items()
           if isinstance(w, LoRA) and w.dropout}
  def keyed(name, w):
    key = jax.random.fold_in(rng, zlib.crc32(name.encode()))
    keys = jax.random.split(key, len(w.lora_a)) if w.spec.stacked else key
    return w.replace(key=jax.random.key_data(keys))
  return einsum_hook.replace(params, {name: keyed(name, w) for name, w in found.items()})


def _matches(targets, names):
  """The names that the regex matches; each of its alternatives must match some."""
  def match(pattern):
    try:
      return [n for n in names if re.fullmatch(pattern, n)]
    except re.error as e:
      raise ValueError(f"The LoRA targets {pattern!r} are not a regular expression: {e}.") from None
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


def _random(name, base, spec, rank, scale, seed):
  """The LoRA of a weight that starts as that weight."""
  of = lambda letters: tuple(base.shape[i] for i in spec.at(letters))
  lead = (*base.shape[:spec.stacked], *of(spec.side_by_side))
  ins, outs = of(spec.ins), of(spec.outs)
  bound = math.prod(ins) ** -0.5  # torch's and PEFT's init of a linear layer
  rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
  a = rng.uniform(-bound, bound, (*lead, *ins, rank)).astype(np.float32)
  b = np.zeros((*lead, rank, *outs), np.float32)
  where = _sharding(jax.tree.leaves(base)[0])
  if isinstance(where, NamedSharding):
    where = NamedSharding(where.mesh, PartitionSpec())
  return LoRA(base, jax.device_put(a, where), jax.device_put(b, where), spec, scale)


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
  return einsum_hook.replace(
      params, {name: wrapper.merge() for name, wrapper in adapters(params).items()})


def save(params, path, targets=None):
  """Writes the adapters, and nothing of the base, as one safetensors file.

  Tensors are named as trees.names names them; the metadata has "rank", "alpha" and "targets", the
  regex of add(), or the names of the adapted weights where it is None.
  """
  wrappers, path = adapters(params), pathlib.Path(path)
  wrapper = next(iter(wrappers.values()))
  tensors = {f"{name}/{part}": np.asarray(getattr(wrapper, part))
             for name, wrapper in wrappers.items() for part in ("lora_a", "lora_b")}
  meta = {"format": "big_vlm.lora", "rank": wrapper.rank, "alpha": wrapper.scale * wrapper.rank,
          "targets": targets or "|".join(map(re.escape, wrappers))}
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
