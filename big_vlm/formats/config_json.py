"""The config.json of another framework: read, checked, and its fields renamed in both directions.

`fields` is a table {our field: their key}.
"""
import json
import pathlib


def read(folder):
  """The object in folder/config.json. Raises FileNotFoundError, or ValueError with the line."""
  file = pathlib.Path(folder) / "config.json"
  try:
    config = json.loads(file.read_text())
  except FileNotFoundError:
    raise FileNotFoundError(f"{folder} holds weights but no config.json, which says what model "
                            "they are: fetch it from where they came from.") from None
  except json.JSONDecodeError as e:
    raise ValueError(f"{file}, line {e.lineno}, column {e.colno}: not valid JSON ({e.msg}). "
                     "Download it again.") from None
  except UnicodeDecodeError as e:
    raise ValueError(f"{file} is not text ({e}). Download it again.") from None
  return config if isinstance(config, dict) else {}


def check_fixed(config, fixed, where):
  """Raises a ValueError unless each key of `fixed` has one of its allowed values in `config`.

  The first allowed value stands in for a key that is absent. where: the file, for the message.
  """
  for key, allowed in fixed.items():
    if (value := config.get(key, allowed[0])) not in allowed:
      raise ValueError(f"{where}: {key} is {value!r}; only {' or '.join(map(repr, allowed))} is "
                       "supported.")


def import_fields(fields, config):
  """{our field: value} of their config."""
  return {name: config[external] for name, external in fields.items()}


def export_fields(fields, config):
  """{their key: value} of our config dataclass."""
  return {external: getattr(config, name) for name, external in fields.items()}
