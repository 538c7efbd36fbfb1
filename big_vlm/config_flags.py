"""A config file, and the flags --config.FIELD=VALUE that change fields of it.

ml_collections parses the values; what a field is, and which there are, is checked here first, so
that each mistake is one sentence.
"""
import glob
import importlib.util
import math
import os
import re

from absl import flags

from big_vlm import big_vision_config, config_fields
from pp.names import near_field, near_miss, new_name

# How each type of a field is written.
KINDS = {bool: "true or false", int: "a whole number", float: "a number",
         tuple: "a tuple, such as (1, 2)", str: "a text"}
STEP = re.compile(r"\.([^.\[\]]+)|\[['\"](.*?)['\"]\]|\[([^\[\]]*)\]")


def names(args):
  """The names of the flags in arguments: "config.lr" of "--config.lr=1"."""
  return (arg[2:].partition("=")[0] for arg in args if arg.startswith("--"))


def fields(config, place=""):
  """"optimizer.lr", ...: the fields of a ConfigDict and of those in it."""
  for name, value in config.items():
    yield f"{place}{name}"
    if hasattr(value, "items"):
      yield from fields(value, f"{place}{name}.")


def load(path):
  """What get_config() of "FILE" or "FILE:ARGUMENTS" returns."""
  file, colon, argument = path.partition(":")
  if not os.path.isfile(file):
    found = [*glob.glob(os.path.join(os.path.dirname(file), "*.py")),
             *glob.glob("configs/**/*.py", recursive=True)]
    name = os.path.basename(file).removesuffix(".py") + ".py"
    same = [f for f in found if os.path.basename(f) == name]
    near = f" Did you mean {same[0]!r}?" if same else near_miss(file, found)
    raise FileNotFoundError(f"--config={path}: there is no file {file}.{near}")
  spec = importlib.util.spec_from_file_location("config", file)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    config = module.get_config(*([argument] if colon else []))
  except ImportError as error:
    if (error.name or "").split(".")[0] != "big_vision":
      raise
    raise ValueError(f"--config={path} is a config of big_vision, which imports big_vision: with "
                     "its checkout in PYTHONPATH an error says what has the place of each field "
                     "here.") from error
  except NotImplementedError as error:  # configs of big_vision about videos raise it themselves
    raise ValueError(f"--config={path} raises NotImplementedError: {error or 'it is not finished'}"
                     ".") from error
  except (OSError, SyntaxError, TypeError, ValueError) as error:
    raise ValueError(f"--config={path}: {error}") from error
  if not hasattr(config, "unlocked"):
    raise ValueError(f"--config={path}: get_config() returns a {type(config).__name__}, not a "
                     "ConfigDict, as that of configs/common.py.")
  big_vision_config.refuse(config, file)
  return config


def read(path, args):
  """(config, {field: value changed}, what is left of the arguments).

  Raises ValueError or OSError for a config that cannot be read or changed so.
  """
  from ml_collections import config_flags  # here: few commands have a config
  config = load(path)
  args = [f"-{arg}" if re.match(r"-(no)?config\.", arg) else arg for arg in args]
  kinds = {name: _kind(config, name) for name in names(args) if re.match(r"(no)?config\W", name)}
  try:
    values, quoted = flags.FlagValues(), list(map(_quoted, args))
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=quoted)
    left = values(["", *quoted], known_only=True)[1:]
  except (flags.Error, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
    raise _not_so(kinds, args) or ValueError(error.args[0]) from error
  changes = dict(values["config"].override_values)
  for field, value in changes.items():
    if isinstance(value, float) and not math.isfinite(value):
      raise ValueError(f"--config.{field}={value}: it is not a number.")
  config_fields.check(config)
  return config, changes, left


def _quoted(arg):
  """--config.evals.okvqa/val.steps=5 as ml_collections reads it, with evals["okvqa/val"]."""
  name, *value = arg.split("=", 1)
  if re.match(r"--(no)?config\.", name):
    name = re.sub(r"\.([^.\[\]]*[^\w.\[\]][^.\[\]]*)", r'["\1"]', name)
  return "=".join([name, *value])


def _kind(config, name):
  """The type of the field "config.a.b" of a config. Raises ValueError where there is none.

  An entry of evals gets a new field, which can hold any literal: the evaluator knows what its type
  takes.
  """
  place, *rest = re.split(r"(?=[.\[])", name, maxsplit=1)
  if "".join(m[0] for m in STEP.finditer("".join(rest))) != "".join(rest):
    raise ValueError(f"--{name} does not name a field, as --config.input.batch_size does.")
  kind = None
  for step in STEP.finditer("".join(rest)):
    field, index = step[1] or step[2], step[3]
    if index is not None:
      kind = _entry(config, place, index, name)
      place, config = f"{place}[{index}]", config[int(index)]
    else:
      kind = _field(config, place, field, name)
      place, config = f"{place}.{field}", config[field]
  if name.startswith("no") and kind is not bool:
    raise ValueError(f"--{name}: the field is not true or false, so give it a value.")
  return kind


def _entry(config, place, index, name):
  if not isinstance(config, (list, tuple)):
    raise ValueError(f"--{name}: {place} is not a list.")
  if not (re.fullmatch(r"-?\d{1,9}", index) and -len(config) <= int(index) < len(config)):
    raise ValueError(f"--{name}: {place} has {len(config)} entries, from [0] on.")
  return type(config[int(index)])


def _field(config, place, field, name):
  if not hasattr(config, "keys"):
    raise ValueError(f"--{name}: {place} is {str(config)[:80]!r}, which has no fields.")
  known = list(config.keys())
  if new := new_name(field, known):
    raise ValueError(f"--{place}.{field} is now --{place}.{new}")
  if field not in known and re.fullmatch(r"(no)?config\.evals\.[^.]+", place):
    from ml_collections import config_dict  # here: few commands have a config
    with config.unlocked():
      config[field] = config_dict.placeholder(object)
  elif field not in known:
    same = next((f for f in fields(config) if f.rpartition(".")[2] == field), None)
    near = f" Did you mean --{place}.{same}?" if same else near_field(field, known)
    raise ValueError(
        f"--{name}: the config has no field {place}.{field}.{near} Flags change fields that the "
        "config file has; set others, such as model.img.remat, in it.")
  return config.get_type(field) if hasattr(config, "get_type") else type(config[field])


def _not_so(kinds, args):
  """The ValueError of the first flag whose value its field does not take; None: there is none."""
  for i, arg in enumerate(args):
    name, found, value = arg[2:].partition("=")
    if (kind := kinds.get(name)) is None:
      continue
    if not found and kind is not bool:
      value = args[i + 1] if i + 1 < len(args) else ""
    if hasattr(kind, "items") or kind is list:
      what, one = ("fields", ".FIELD") if hasattr(kind, "items") else ("entries", "[0]")
      return ValueError(f"--{name}={value[:80]}: it has {what} of its own: change one of them, "
                        f"--{name}{one}=..., or the config file.")
    if not _takes(kind, value):
      return ValueError(f"--{name}={value[:80]}: the field is {KINDS.get(kind, 'a literal')}.")
  return None


def _takes(kind, value):
  try:
    if kind in (int, float):
      kind(value)
    return kind is not bool or value.lower() in ("true", "false", "1", "0", "")
  except ValueError:
    return False
