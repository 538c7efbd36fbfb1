"""What each field of a config holds: check() refuses another value by the name of its field, before
anything is made of it.

A kind is a function of a value: "" where it fits, else what to give; or a dict of the kinds of
fields, "*" for any name; or a list of one such dict, of each entry. What is not listed here has a
reader that checks it (best, tune, the variant of a model, the arguments of an eval's type), or is
the config's own.
"""
import math
import numbers
import os
import re

from pp.names import near_miss

DTYPES = ("float32", "bfloat16", "float16")  # of activations
EVERY = ".*"  # name of a parameter
MOST = 2**31 - 1  # an int32, as the number of a step is


def check(config, fields=None, place="config"):
  """Raises ValueError for the first field of a config, nested dicts, that is of another kind than
  in FIELDS."""
  fields = FIELDS if fields is None else fields
  if not hasattr(config, "items"):
    raise ValueError(f"{place} is {config!r:.80}: it has fields of its own, as "
                     f"{', '.join(fields) if '*' not in fields else 'name=dict(...)'}.")
  kinds = {name: fields["*"] for name in config} if "*" in fields else fields
  for name, kind in kinds.items():
    if name not in config:
      continue
    value, here = config[name], f"{place}.{name}"
    if isinstance(kind, list):
      if not _is_list(value):
        raise ValueError(f"{here} is {value!r:.80}: give a list, [dict(...), ...].")
      for i, entry in enumerate(value):
        check(entry, kind[0], f"{here}[{i}]")
    elif isinstance(kind, dict):
      if name != "tune" or value is not None:  # None: the config does not tune
        check(value, kind, here)
    elif wrong := kind(value):
      raise ValueError(f"{here} is {value!r:.80}: {wrong}")


def whole(least, most=MOST):
  def kind(value):
    fits = _is_number(value, numbers.Integral) and least <= value <= most
    return "" if fits else f"give a whole number from {least} to {most:,}."
  return kind


def number(least=0, most=math.inf):
  """A finite one."""
  def kind(value):
    fits = _is_number(value, numbers.Real) and least <= value <= most and abs(value) < math.inf
    return "" if fits else (f"give a number from {least} to {most:g}." if most < math.inf else
                            f"give a finite number of {least} or more.")
  return kind


def fraction(value):
  """From 0 to below 1: at 1 nothing would be left."""
  fits = _is_number(value, numbers.Real) and 0 <= value < 1
  return "" if fits else "give a number from 0 to below 1."


def text(value):
  return "" if isinstance(value, str) else "give a text."


def source(value):
  """What big_vlm.from_preset takes."""
  return "" if isinstance(value, str | os.PathLike) else "give a text or a path."


def dtype(value):
  """Its name, or the type itself, as optax takes it."""
  return one_of(*DTYPES)(getattr(value, "name", getattr(value, "__name__", value)))


def texts(value):
  """Several, or one."""
  fits = isinstance(value, str) or _is_list(value) and all(isinstance(x, str) for x in value)
  return "" if fits else "give texts, as ('a', 'b')."


def one_of(*names):
  def kind(value):
    if isinstance(value, str) and value in names:
      return ""
    return f"give one of {', '.join(map(repr, names))}.{near_miss(value, names)}"
  return kind


def optional(kind):
  return lambda value: "" if value is None else kind(value)


def mapping(value):
  return "" if hasattr(value, "items") else "give fields, as dict(name=value)."


def switch(value):
  return "" if isinstance(value, bool) else "give True or False."


def rules(kind, example):
  """((regex over names of parameters, a value of a kind), ...); example: a value."""
  def of_rules(value):
    if not (_is_list(value) and all(
        _is_list(rule) and len(rule) == 2 and isinstance(rule[0], str) for rule in value)):
      near = "" if kind(value) else f" Did you mean {((EVERY, value),)!r}?"
      return f"give rules ((regex, value), ...), as {((EVERY, example),)!r}.{near}"
    for regex, of_it in value:
      try:
        re.compile(regex)
      except re.error as e:
        return f"{regex!r} is no regex, {e}; all names are {EVERY!r}."
      if wrong := kind(of_it):
        return f"for {regex!r} {wrong}"
    return ""
  return of_rules


def schedule(value):
  """That of all parameters, or rules."""
  return "" if hasattr(value, "items") else _SCHEDULES(value)


_SCHEDULES = rules(optional(mapping), {"decay": "cosine"})


def axes(value):
  """How a parameter is sharded."""
  named = one_of("fsdp", "replicate")(value)
  if _is_list(value):
    return "" if all(axis is None or isinstance(axis, str) for axis in value) else (
        "give an axis of the mesh or None for each dimension.")
  return named and named.replace(".", ", or for each dimension an axis of the mesh or None.", 1)


def reasons(value):
  """(field, value, why it is so) of defaults."""
  fits = _is_list(value) and all(
      _is_list(row) and len(row) == 3 and isinstance(row[0], str) for row in value)
  return "" if fits else "leave it to the config: rows of (field, value, reason)."


def _is_list(value):
  return isinstance(value, (list, tuple))


def _is_number(value, kind):
  return isinstance(value, kind) and not isinstance(value, bool)


def _durations(*names):
  return {f"{name}_{unit}": optional(number()) for name in names
          for unit in ("steps", "examples", "epochs", "fraction")}


_FACTORS = rules(number(), 1.)
# In the order in which they are checked: tune first, since text_len and evals follow its lengths.
FIELDS = {
    "tune": {"prompt_len": whole(1, 2**18), "max_new_tokens": whole(1, 2**18),
             "samples": whole(2, 10_000), "updates": whole(1, 1000), "kl": optional(number()),
             "clip": number(), "beta": number()},
    "seed": whole(0, 2**32 - 1),
    "model": {"img": optional(mapping), "llm": optional(mapping), "txt": optional(mapping),
              "dtype": one_of("auto", *DTYPES)},
    "init": {**dict.fromkeys(("model", "img", "llm", "txt"), optional(source)),
             "dont_load": texts},
    "resume": optional(text), "tokenizer": optional(text), "text_len": optional(whole(1, 2**18)),
    "mesh": dict.fromkeys(("data", "fsdp", "tensor"), whole(-1)),
    "sharding": rules(axes, "fsdp"), "pp_modules": texts, "trackers": texts,
    "input": {
        "mixture": [{"name": optional(text), "data": mapping, "pp": text, "weight": number()}],
        "batch_size": whole(1), "packing": text, "row_examples": whole(1),
        "workers": whole(0, 1024), "threads": whole(1, 1024), "memory_gb": number(),
        "on_error": text},
    **_durations("total", "log", "checkpoint", "keep_period"),
    "loss": {"name": text, "loss_normalization": text, "label_smoothing": fraction,
             "z_loss": number(0, 1e6)},
    "grad_accum_steps": whole(1),
    "optimizer": {
        "name": text, "args": {
            "b1": fraction, "b2": fraction, "beta": fraction, "momentum": optional(fraction),
            "eps": number(), "ratio": number(), "nesterov": switch,
            "mu_dtype": optional(dtype), "dtype_momentum": dtype},
        "lr": number(0, 1e6), "schedule": schedule,
        "lr_mults": _FACTORS, "weight_decay": number(0, 1e6), "weight_decay_mults": _FACTORS,
        "clip_norm": number(), "ema": fraction},
    "lora": {"rank": whole(0, 1_000_000), "targets": optional(text),
             "alpha": optional(number(0, 1e6)), "dropout": fraction},
    "quantize": optional(text), "max_to_keep": whole(1), "best": mapping,
    "evals": {"*": {
        "type": text, "data": mapping, "pp": text, "batch_size": whole(1),
        "limit": optional(whole(1)), "prompt_len": optional(whole(1, 2**18)),
        "max_new_tokens": optional(whole(1, 2**18)), "cache_dtype": optional(text),
        "logit_bias": optional(mapping), "at_start": switch,
        **{unit: optional(number()) for unit in ("steps", "examples", "epochs", "fraction")}}},
    "defaults": reasons, "published": mapping}
