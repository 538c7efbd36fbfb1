"""Model configs as rows of tables: a named row and what differs from it."""
import dataclasses

from big_vlm.nn import attention, layers
from pp.names import near_field, pick


def check(config):
  """Raises ValueError where the config of a tower or decoder names a kernel or rematerialization
  that there is not."""
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
