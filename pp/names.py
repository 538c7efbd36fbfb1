"""Look-ups by name whose errors offer the nearest name and list all of them."""
import difflib

# Spellings of earlier versions: {old: new}. An old one is an error that names the new one.
RENAMED = {
    "decay_mults": "weight_decay_mults", "microbatches": "grad_accum_steps",
    "mean": "loss_normalization", "stair": "piecewise_constant", "percent": "fraction",
    **{f"{what}_percent": f"{what}_fraction"
       for what in ("warmup", "cooldown", "total", "log", "checkpoint", "keep_every")},
    "window_rule": "sliding_window_mode", "two_sided": "symmetric",
    "prefix_exempt": "prefix_bidirectional", "dots": "save_attn", "wide_dots": "save_mlp",
}


def near_miss(name, names):
  """" Did you mean 'x'?" if one of `names` is close to `name`, else ""."""
  if RENAMED.get(name) in names:
    return f" It is now called {RENAMED[name]!r}."
  near = difflib.get_close_matches(str(name), [str(n) for n in names], n=1)
  return f" Did you mean {near[0]!r}?" if near else ""


def pick(table, name, what):
  """table[name], or a ValueError that offers the nearest name and lists all of them."""
  if name in table:
    return table[name]
  known = ", ".join(sorted(map(str, table)))
  raise ValueError(f"Unknown {what} {name!r}.{near_miss(name, table)} Known: {known}.")


def check_names(given, known, what):
  """Raises a ValueError for the first of `given` that is not known; it offers the nearest name."""
  if odd := sorted(set(given) - set(known)):
    raise ValueError(f"{what} has no {odd[0]!r}.{near_miss(odd[0], known)} It takes "
                     f"{', '.join(known)}.")
