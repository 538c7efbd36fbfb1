"""`outfile` of an eval: one more file of its predictions, at a path of the user's own pattern.

  config.evals.okvqa.outfile = "{workdir}/{split}-{step}.json"

  {workdir}   of the training or of evaluators.run
  {name}      of the eval, which may have folders: "okvqa/val"
  {split}     of its data, "" where they have none; []%: in it become _, as in big_vision
  {step}      of the training; in evaluators.run the last part of the checkpoint's path

A ".json" is one list of the predictions, as big_vision writes, a ".jsonl" one prediction a line.
Without {step} an evaluation replaces the file of the one before.
"""
import posixpath
import re
import string

from pp.names import check_names

FIELDS = ("workdir", "name", "split", "step")
ENDINGS = (".json", ".jsonl")
WORKDIR = "{workdir}"
# Files of a run that a pattern could name by {name}.
OURS = ("config.json", "metrics.json", "metrics.jsonl", "model.json", "reference.json")


def check(pattern, name):
  """Raises ValueError for a pattern of the eval `name` that says no file."""
  what = f"The eval {name!r} has outfile={pattern!r}"
  if not isinstance(pattern, str) or not pattern.endswith(ENDINGS):
    raise ValueError(f"{what}: give a path that ends in .json or .jsonl.")
  try:
    parts = list(string.Formatter().parse(pattern))
  except ValueError as e:
    raise ValueError(f"{what}: {e}.") from None
  check_names([field for _, field, *_ in parts if field is not None], FIELDS, what)
  if odd := [field for _, field, spec, conversion in parts if spec or conversion]:
    raise ValueError(f"{what}: write {{{odd[0]}}} alone, without a format.")
  path = posixpath.normpath(resolve(pattern, WORKDIR, name, {}, "{step}"))
  last = posixpath.basename(posixpath.normpath(pattern))
  if posixpath.dirname(path) == WORKDIR and ("{" not in last or posixpath.basename(path) in OURS):
    raise ValueError(f"{what}, which could be a file of the run itself: put {{name}} into it, or a "
                     "folder before it.")


def check_apart(entries):
  """Raises ValueError where two of a config's evals {name: entry} would write the same file."""
  found = {}
  for name, entry in entries.items():
    if pattern := entry.get("outfile"):
      path = resolve(pattern, WORKDIR, name, entry["data"], "{step}")
      if other := found.get(path):
        raise ValueError(f"The evals {other!r} and {name!r} have the same outfile, {path!r}: put "
                         "{name} into it.")
      found[path] = name


def resolve(pattern, workdir, name, data, step):
  """The path that a pattern says for an evaluation. data: of the eval's entry."""
  split = re.sub(r"[]\[%:]", "_", str(data.get("split", "")))
  return pattern.format(workdir=workdir, name=name, split=split, step=step)
