"""Model configs as rows of tables: a named row and what differs from it."""
import dataclasses
import numbers
import types
import typing

from big_vlm.config_fields import DTYPES
from big_vlm.nn import attention, layers
from pp.names import near_field, pick

# What a value of a declared kind is, and how that is said.
KINDS = {
    int: (numbers.Integral, "a whole number of 1 or more", lambda x: 1 <= x < 2**31),
    float: (numbers.Real, "a finite number", lambda x: -1e300 < x < 1e300),
    bool: (bool, "True or False", lambda x: True), str: (str, "a text", lambda x: True),
    # of a field's name
    "pad_token": (numbers.Integral, "the id of a token", lambda x: 0 <= x < 2**31),
    "dropout": (numbers.Real, "a number from 0 to below 1", lambda x: 0 <= x < 1)}


def check(config):
  """Raises ValueError where the config of a tower or decoder has a field of another kind than it is
  declared, sizes below 1 or that do not divide into heads, or names a kernel or rematerialization
  that there is not."""
  for field in dataclasses.fields(config):
    value, kind = getattr(config, field.name), field.type
    if optional := isinstance(kind, types.UnionType):
      kind = typing.get_args(kind)[0]  # of int | None
    of, words, fits = KINDS.get(field.name) or KINDS[kind]
    switch = isinstance(value, bool) and kind is not bool  # which is a number in Python
    if not (optional and value is None) and (
        switch or not isinstance(value, of) or not fits(value)):
      raise ValueError(f"{field.name}={value!r:.80} of a {type(config).__name__}: give {words}.")
  whole, part = (("heads", "kv_heads") if any(
      field.name == "kv_heads" for field in dataclasses.fields(config)) else ("width", "heads"))
  if getattr(config, whole) % getattr(config, part):
    raise ValueError(f"{whole}={getattr(config, whole)} of a {type(config).__name__} does not "
                     f"divide into {part}={getattr(config, part)}.")
  pick(dict.fromkeys(DTYPES), config.dtype, "dtype of activations")
  pick({"auto": None, **attention.KERNELS}, config.attention, "attention kernel")
  pick(layers.REMAT, config.remat, "rematerialization")


def config(rows, what, variant, **changes):
  """The row `variant` of {name: config} with some fields changed.

  Raises ValueError for a row or a field that there is not; what: names the table in it.
  """
  row = pick(rows, variant, what)
  fields = [f.name for f in dataclasses.fields(row)]
  if bad := [name for name in changes if name not in fields]:
    raise ValueError(f"The {what} {variant!r} has no field {bad[0]!r}.{near_field(bad[0], fields)} "
                     f"Known: {', '.join(fields)}.")
  return dataclasses.replace(row, **changes)


def to_dict(rows, config):
  """{"variant": name, **changes}: the row of {name: config} that needs the fewest changes.

  The reverse of config().
  """
  fields = [f.name for f in dataclasses.fields(config)]
  changes = {
      name: {f: getattr(config, f) for f in fields if getattr(config, f) != getattr(row, f)}
      for name, row in rows.items() if type(row) is type(config)}
  variant = min(changes, key=lambda name: len(changes[name]))
  return {"variant": variant, **changes[variant]}
