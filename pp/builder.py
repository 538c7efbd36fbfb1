"""Pipeline strings: "decode|resize(224)|strfmt('caption {lang}', outkey='prefix')".

Sections are separated by "|" outside quotes and brackets and run from left to right on one
example (a dict of numpy arrays, strings and numbers). `pp.registry` says what a section may hold.
"""

import importlib
import logging
import pathlib
import re
from collections.abc import Callable

import numpy as np

from pp.context import Context
from pp.names import near_miss
from pp.registry import OPS

logger = logging.getLogger(__name__)
BRACKETS = {"(": ")", "[": "]", "{": "}"}
TOKEN = re.compile(r"""'(?:\\.|[^\\'])*'|"(?:\\.|[^\\"])*"|[][(){}|'"]""", re.DOTALL)

for _path in sorted(pathlib.Path(__file__).parent.glob("ops_*.py")):  # they register ops
  if not _path.stem.endswith("_test"):
    importlib.import_module(f"pp.{_path.stem}")


def import_modules(names):
  """Imports modules that register ops of one's own, such as ("my.ops",); ValueError for none."""
  if isinstance(names, str):
    raise ValueError(f"pp_modules is a list or tuple of modules, not the string {names!r}: "
                     f"({names!r},).")
  for name in names:
    try:
      importlib.import_module(name)
    except ImportError as e:
      raise ValueError(f"pp_modules: {name!r} cannot be imported: {e}. It is a module that Python "
                       "finds from here, such as my.ops in the file my/ops.py.") from e


class PreprocessError(ValueError):
  """An op failed on an example. The text names the op, the example and the reason."""


def get_preprocess_fn(pp: str | None, context: Context | None = None,
                      log_data: bool | str = False) -> Callable[[dict], dict]:
  """The function example -> example that the pipeline string `pp` describes.

  Args:
    pp: the pipeline; None and "" give the identity, empty sections are skipped.
    context: pp.context.Context, the fields that ops take where the string does not say.
    log_data: log the example's keys, shapes and dtypes before and after, on the first call; a
      string is used as the label.

  Returns:
    A function that leaves the example it is given untouched and returns a new dict. It raises
    PreprocessError if an op fails.

  Raises:
    ValueError: unknown op, wrong argument, unbalanced quote or bracket, or an argument that
      contradicts the context.
  """
  sections = split_pipeline(pp or "")
  if context:
    context.check([_fields(text, context) for text in sections])
  ops = [(text, OPS.build(text, context)) for text in sections]
  unlogged = [log_data] if log_data else []

  def preprocess(example):
    log = f"pp {unlogged.pop()}: {_describe(example)}" if unlogged else None
    example = dict(example)
    for text, op in ops:
      try:
        result = op(example)
        if not isinstance(result, dict):
          raise TypeError(f"it returned {type(result).__name__} instead of the example's dict")
      except PreprocessError:
        raise
      except Exception as e:
        name = next((f" on example {example[k]}" for k in ("_id", "id")
                     if example.get(k) is not None), "")
        raise PreprocessError(f"pp op `{text}` failed{name}: {_reason(example, e)}") from e
      example = result
    if log:
      logger.info("%s -> %s", log, _describe(example))
    return example

  return preprocess


def random_ops(pp):
  """The sections of a pipeline that draw from the example's generator, e.g. ["choice(key='a')"].

  An evaluation has none: whoever runs one refuses the pipeline before it reads any data.
  """
  return [text for text in split_pipeline(pp or "") if OPS.fact(text, "random")]


def image_count(pp):
  """Images that the pipeline makes of one example: the frames of a video, a stack of several."""
  return max((OPS.fact(text, "images", 1) for text in split_pipeline(pp or "")), default=1)


def _fields(text, context):
  """(text, {field of the context: value}, key that it writes) of one section."""
  arguments = OPS.arguments(text, context)
  declared = OPS.fact(text, "takes", {}) | OPS.fact(text, "sets", {})
  key = arguments.get("key") or arguments.get("outkey", "image")
  return text, {field: arguments[name] for name, field in declared.items()}, key


def split_pipeline(pp):
  """Splits at "|" outside quotes and brackets; strips blanks and drops empty sections."""
  sections, start, opened = [], 0, []  # opened: where brackets are
  for match in TOKEN.finditer(pp):
    token, i = match[0], match.start()
    if token in ("'", '"'):  # nothing closes it
      opened.append(i)
      break
    if token in BRACKETS:
      opened.append(i)
    elif token in BRACKETS.values():
      if not opened or BRACKETS[pp[opened.pop()]] != token:
        raise ValueError(f"Unmatched {token!r} in the pipeline, at `{pp[start:i + 1].strip()}`.")
    elif token == "|" and not opened:
      sections.append(pp[start:i])
      start = i + 1
  if opened:
    at = opened[-1]
    raise ValueError(f"Unclosed {pp[at]!r} in the pipeline, at `{pp[at:at + 40]}`.")
  sections.append(pp[start:])
  return [s.strip() for s in sections if s.strip()]


def _reason(example, error):
  key = error.args[0] if error.args else None
  if not isinstance(error, KeyError) or not isinstance(key, str) or key in example:
    text = str(error)
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"
  nested = isinstance(example.get(key.split("/")[0]), dict)
  hint = " Put `flatten` before it." if nested else near_miss(key, example)
  return f"the example has no key {key!r}.{hint} Its keys: {', '.join(map(str, example))}."


def _describe(example):
  parts = []
  for key, value in example.items():
    is_array = isinstance(value, np.ndarray)
    kind = f"{value.dtype}{list(value.shape)}" if is_array else type(value).__name__
    parts.append(f"{key} {kind}")
  return ", ".join(parts)
