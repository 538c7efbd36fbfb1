"""Prepares a data set as ArrayRecord: python -m big_vlm.datasets.prepare digits/small"""
import argparse

from big_vlm import reporting
from big_vlm.data import tfds


def prepare(name, data_dir=None):
  """Writes the data set unless it is there already; returns its folder."""
  builder = tfds.builder(name, data_dir)
  if not builder.is_prepared():
    builder.download_and_prepare()  # into a temporary folder, moved into place when whole
  return builder.data_dir


def main(argv=None):
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("name", help='data set and config, e.g. "digits/small"')
  parser.add_argument("--data_dir", help="where prepared data sets live (default: TFDS's)")
  args = parser.parse_args(argv)
  print(f"{args.name} is ready in {prepare(args.name, args.data_dir)}")


if __name__ == "__main__":
  reporting.run(main)
