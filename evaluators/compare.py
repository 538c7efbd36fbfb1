"""Puts evaluations side by side: python -m evaluators.compare workdirs/a/test workdirs/b/test

Each folder is the --workdir of an `evaluators.run`. Prints every metric that all of them have, then
examples of each eval to which their answers differ, with the reference; boxes are in the reports.
"""
import json

from etils import epath

from big_vlm import cli
from big_vlm.reporting import columns
from evaluators import results
from pp.foreign import parse_json, read_bytes, reading
from pp.printable import printable

MAX_BYTES = 1 << 30  # of a metrics.json or a file of predictions
MOST = 40  # characters of an answer that are shown


def compare(folders, examples=5):
  """The text of the comparison. Raises FileNotFoundError for a folder without an evaluation, and
  ValueError where the evaluations have no metric in common, or are of different examples."""
  folders = [epath.Path(folder) for folder in folders]
  read = [read_metrics(folder) for folder in folders]
  metrics, evals = [found["metrics"] for found in read], read[0]["evals"]
  common = [key for key in metrics[0] if all(key in found for found in metrics)]
  if not common:
    raise ValueError("These evaluations have no metric in common: "
                     + "; ".join(f"{folder} has {', '.join(found) or 'none'}"
                                 for folder, found in zip(folders, metrics)))
  names = short_names(folders)
  lines = [["metric", *names, "examples"]]
  tasks = {key: max((t for t in evals if key.startswith(f"{t}/")), key=len) for key in common}
  for key, task in tasks.items():
    row = [{**found[key], "metric": key.removeprefix(f"{task}/")} for found in metrics]
    lines.append([key, *(results.text(r["value"], r) for r in row),
                  " / ".join(dict.fromkeys(str(r["n"]) for r in row))])
  parts = [columns(lines)]
  for task in dict.fromkeys(tasks.values()):
    if found := different(folders, task)[:examples]:
      parts.append(columns([[task, "reference", *names], *found], left=range(2 + len(names))))
  return "\n\n".join(parts)


def read_metrics(folder):
  path = folder / "metrics.json"
  if not path.exists():
    raise FileNotFoundError(f"{folder} holds no finished evaluation: there is no {path}. Give the "
                            "--workdir of an evaluators.run.")
  found = parse_json(read_bytes(path, MAX_BYTES), path)
  if not isinstance(found, dict) or not found.keys() >= {"metrics", "evals"}:
    raise ValueError(f"{path} is not the metrics.json of an evaluators.run.")
  return found


def short_names(folders):
  """The last parts of the paths that tell them apart."""
  for count in range(1, max(len(f.parts) for f in folders) + 1):
    names = ["/".join(f.parts[-count:]) for f in folders]
    if len(set(names)) == len(names):
      break
  return names


def different(folders, task):
  """[[prompt, reference, answer of each folder]] where the answers differ."""
  paths = [folder / "predictions" / f"{task}.jsonl" for folder in folders]
  if not all(path.exists() for path in paths):  # such as of a mean over evals
    return []
  first, *others = [read_predictions(path) for path in paths]
  for path, found in zip(paths[1:], others):
    if alone := sorted(first.keys() ^ found.keys()):
      raise ValueError(f"These are evaluations of different examples: only one of {paths[0]} and "
                       f"{path} has {alone[0]}. Evaluate both on the same data and --split.")
  rows = []
  for key, p in first.items():
    texts = [found[key]["prediction"] for found in (first, *others)]
    wanted = str(p.get("suffix", (p.get("references") or ["-"])[0]))
    # Boxes as text tell a reader nothing: the reports draw them.
    if len(set(texts)) > 1 and "<loc" not in wanted:
      rows.append([printable(str(x).strip(), MOST) for x in (p.get("prefix", "-"), wanted, *texts)])
  return rows


def read_predictions(path):
  """{place of the example in its data: prediction}."""
  with reading(path):  # lines of bytes: an answer may have U+2028, where str.splitlines cuts
    found = [json.loads(line) for line in read_bytes(path, MAX_BYTES).splitlines()]
    return {p["_id"]: p for p in found}


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("folders", nargs="+", metavar="FOLDER", help="--workdir of an evaluators.run")
  parser.add_argument("--examples", type=int, default=5, help="of each eval (default: 5)")
  args = parser.parse_args(argv)
  if len(args.folders) < 2:
    parser.error("give two folders or more")
  print(compare(args.folders, args.examples))


if __name__ == "__main__":
  cli.run(main)
