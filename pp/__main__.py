"""Lists the pp ops with their arguments and the first line of their docstrings: python -m pp

`python -m pp NAME ...` prints the whole docstrings of these ops. "random" marks an op that can draw
from the example's generator, which an evaluation does not have.
"""
import argparse
import inspect
import sys

from pp import builder  # noqa: F401 (it registers all ops)
from pp.names import pick
from pp.registry import OPS


def table(names):
  """Yields the lines of the listing; with names, of these ops alone, their whole docstrings."""
  for name in names or sorted(OPS):
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
