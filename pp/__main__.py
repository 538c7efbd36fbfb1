"""Prints every pp op with its arguments and what it does: python -m pp [NAME ...]

With names, these ops with their whole description. "random" stands before ops that draw from the
example's generator, or can be told to, and so have no place in an evaluation.
"""
import argparse
import inspect
import sys

from pp import builder  # noqa: F401 (it registers all ops)
from pp.names import pick
from pp.ops_legacy import INSTEAD
from pp.registry import OPS


def table(names):
  """One paragraph for each op: its call, and its description, whole if it was asked for by name."""
  for name in names or sorted(set(OPS) - set(INSTEAD)):
    factory = pick(OPS, name, "pp op")
    text = inspect.getdoc(factory) or ""
    yield f"{'random ' * OPS.may_be_random(name)}{name}{inspect.signature(factory)}"
    for line in text.splitlines() if names else text.splitlines()[:1]:
      yield f"    {line}".rstrip()


if __name__ == "__main__":
  parser = argparse.ArgumentParser(prog="python -m pp", description=__doc__)
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.add_argument("names", nargs="*", metavar="NAME", help="an op")
  try:
    print("\n".join(table(parser.parse_args().names)))
  except ValueError as e:
    sys.exit(str(e))
