"""The config.json of another framework: read, checked, and its fields renamed in both directions.

`fields` is a table {our field: their key}.
"""
import numbers
import pathlib
import re

from pp.foreign import parse_json, read_bytes

MAX_BYTES = 4 << 20  # of a config.json
# One schema for the configs of all frameworks and our own: sizes that a machine can hold. A key
# that is absent or null has its framework's default.
SIZES = {  # regex of keys: (smallest, largest)
    r"depth|(vit_)?num_(hidden_)?layers": (1, 1_000),
    r"(kv_)?heads|(vit_)?num_(attention_|query_|key_value_)?heads|global_every|"
    r"_?sliding_window_pattern": (1, 100_000),
    r"width|mlp|(vit_)?hidden_(size|dim)|(vit_)?intermediate_(size|dim)|ffn_dim|head_dim|"
    r"(projection|embedding)_dim|projection_size|out_width|word_embed_proj_dim": (1, 1_000_000),
    r"length|num_patches": (1, 1_000_000),
    r"pad_token": (0, 10_000_000),
    r"vocab(ulary)?_size": (1, 10_000_000),
    r"image_token_(index|id)": (0, 10_000_000),
    r"window|sliding_window(_size)?|max_positions|max_(position_embeddings|sequence_length)":
        (1, 100_000_000)}
POSITIVE = r".*soft_?cap(ping)?|query_pre_attn_scalar|query_scale|rope_(theta|base)|factor|" \
    r"rope_local_base_freq|global_rope_.*"


SWITCHES = r"use_(sliding_window|bidirectional)_attention|use_post_\w+_norm|use_query_key_norm|" \
    r"query_head_dim_normalize|vision_use_head|attention_bias|tie_word_embeddings|enable_bias|" \
    r"do_layer_norm_before|post_norms|naflex"


def check_sizes(config, where):
  """Raises ValueError, naming the key, unless all sizes in `config` and the dicts in it are whole
  numbers in their ranges, all scales are positive, and all switches are true or false."""
  for key, value in config.items():
    if isinstance(value, dict):
      check_sizes(value, where)
    if value is None:
      continue
    low, high = next((r for regex, r in SIZES.items() if re.fullmatch(regex, key)), (None, None))
    if re.fullmatch(SWITCHES, key) and not isinstance(value, bool):
      raise ValueError(f"{where}: {key} is {str(value)[:40]!r}, neither true nor false.")
    if low is not None and (type(value) is not int or not low <= value <= high):
      raise ValueError(f"{where}: {key} is {str(value)[:40]!r}, not a whole number from {low} to "
                       f"{high:,}.")
    if re.fullmatch(POSITIVE, key) and (
        isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < value < 1e12):
      raise ValueError(f"{where}: {key} is {str(value)[:40]!r}, not a positive number.")


def read(folder):
  """The object in folder/config.json, its sizes in range. Raises FileNotFoundError, ValueError."""
  file = pathlib.Path(folder) / "config.json"
  try:
    config = parse_json(read_bytes(file, MAX_BYTES), file)
  except FileNotFoundError:
    raise FileNotFoundError(f"{folder} holds weights but no config.json, which says what model "
                            "they are: fetch it from where they came from.") from None
  if not isinstance(config, dict):
    return {}
  check_sizes(config, file)
  return config


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
