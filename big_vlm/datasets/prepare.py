"""Prepares a data set as ArrayRecord, which configs read.

  python -m big_vlm.datasets.prepare okvqa --manual_dir downloads/okvqa --data_dir data
  python -m big_vlm.datasets.prepare okvqa      says where it is to be had, and which files it needs
  python -m big_vlm.datasets.prepare            lists all names

After a kill the same command resumes.
"""
import contextlib
import importlib
import inspect
import os
import pkgutil
import sys

from etils import epy

from big_vlm import cli, datasets
from big_vlm.data import tfds as prepared
from pp.printable import raw

with epy.lazy_imports():  # slow to import
  import tensorflow_datasets as tfds

NO_BUILDERS = ("base", "prepare", "conftest", "plain_pickle")


def prepare(name, data_dir=None, manual_dir=None, allow_incomplete=False, splits=(), processes=1):
  """Prepares a data set unless it exists already; returns its folder.

  Args:
    name: of the builder, with its config: "digits/small".
    data_dir: folder of the prepared data sets; None is TFDS's own.
    manual_dir: folder with the files of the dataset release, if the set is made from one.
    allow_incomplete: accept a release whose counts or hashes are not those published.
    splits: prepare these splits only.
    processes: that a builder may use which makes its examples itself.

  Raises:
    ValueError: the name is unknown, the release is not as published, or the set exists without one
      of the splits.
    FileNotFoundError: a file of the release is missing.
  """
  builder = prepared.builder(name, data_dir)
  if not builder.is_prepared():
    builder.allow_incomplete, builder.only = allow_incomplete, tuple(splits)
    builder.processes = processes
    with contextlib.redirect_stderr(raw(sys.stderr)):  # its progress bars move the cursor
      builder.download_and_prepare(
          download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
  elif missing := [split for split in splits if split not in builder.info.splits]:
    raise ValueError(f"{name} is prepared in {builder.data_dir} without {', '.join(missing)}. "
                     "Remove that folder to prepare it anew.")
  return builder.data_dir


def names():
  """{name: first line of its docstring} of all builders."""
  found = {}
  for module in pkgutil.iter_modules(datasets.__path__):
    if module.name not in NO_BUILDERS and not module.name.endswith("_test"):
      doc = importlib.import_module(f"big_vlm.datasets.{module.name}").__doc__
      found[module.name] = doc.partition("\n")[0]
  return found


def release(name, data_dir=None):
  """Where the release is to be had from which a data set is made, and its files; None for a set
  that is prepared already, or is made from nothing."""
  builder = prepared.builder(name, data_dir)
  return None if builder.is_prepared() else getattr(builder, "about", None)


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("name", nargs="?", help='data set and config, e.g. "digits/small"')
  parser.add_argument("--manual_dir", help="folder with the files of the release")
  parser.add_argument("--data_dir", help="folder of the prepared data sets (default: TFDS's)")
  parser.add_argument("--allow_incomplete", action="store_true",
                      help="accept a release whose counts or hashes are not those published")
  parser.add_argument("--splits", help="splits to prepare, separated by commas (default: all)")
  args = parser.parse_args(argv)
  splits = args.splits.split(",") if args.splits else ()
  if not args.name:
    print("\n".join(inspect.cleandoc(line) for line in names().values()))
  elif not args.manual_dir and (about := release(args.name, args.data_dir)):
    print(f"{about}\nWith these files in a folder DIR, it is made by\n"
          f"python -m big_vlm.datasets.prepare {args.name} --manual_dir DIR")
  else:
    folder = prepare(args.name, args.data_dir, args.manual_dir, args.allow_incomplete, splits,
                     processes=os.cpu_count())
    print(f"{args.name} is ready in {folder}")


if __name__ == "__main__":
  cli.run(main)
