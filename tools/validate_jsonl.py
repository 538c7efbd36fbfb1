"""Checks JSONL data before a training reads it.

  python -m tools.validate_jsonl my/train.jsonl
  python -m tools.validate_jsonl 'my/*.jsonl.gz' --check_overlap my/val.jsonl --text_len 128 \\
    --tokenizer gemma.model --html sheet.html
  python -m tools.validate_jsonl --config configs/forkme.py --html sheet.html

With --config it checks the JSONL files that the config trains on, with its tokenizer and text_len;
prefix and suffix are then what the config's pp writes.

Reports file, line and reason of lines that are not JSON, of files that are missing, refused or do
not decode, of texts that are missing, of malformed boxes and masks, and of answers that are too
long for --text_len; warns of prompts that the released models do not know, of what other trainers
want in a text (<eos>, a newline at the end of a prefix) and of repeated lines; and gives the
lengths of texts. --html writes a contact sheet. The exit status is 1 if there is an error.
"""
import collections
import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import re
import sys

import numpy as np

from big_vlm import cli, reporting
from big_vlm.data import jsonl, mixture, source
from pp.builder import PreprocessError, get_preprocess_fn, split_pipeline
from pp.locations import PIECE
from pp.registry import OPS, parse_call
from pp.text_layout import prompt_ids, suffix_ids
from pp.tokenizer import check_single_ids, get_tokenizer
from tools import contact_sheet, jsonl_images, jsonl_text
from tools.jsonl_text import KINDS

SHOWN = 20  # findings of a kind
QUANTILES = (0.5, 0.9, 0.99)
NO_TEXT = hashlib.blake2b(b"", digest_size=16).digest()
WORD = re.compile(rf"{PIECE.pattern}|\w+|[^\w\s]")


@dataclasses.dataclass
class Findings:
  """The findings on data (a Jsonl), of which the first `count` lines were read."""
  data: jsonl.Jsonl
  count: int
  problems: dict  # {kind: [(index, text)]}
  lengths: np.ndarray  # int [N, 3]: prefix, suffix, and all that a row holds
  unit: str  # of the lengths: "tokens" or "words"
  text_len: int
  files: int = 0  # different files that lines name

  @property
  def failed(self):
    return any(KINDS[kind][0] == "error" for kind in self.problems)


@dataclasses.dataclass
class _LineDigests:
  """Digests of a line, to compare it with all others."""
  index: int
  paths: list  # of (field, path)
  whole: bytes  # digests, as all lines are kept
  prefix: bytes
  suffix: bytes
  masks: bool  # whether it has any


def validate(path, root=None, allow=(), tokenizer=None, text_len=128, against=None, limit=None,
             texts_of=None):
  """Findings of JSONL files; prints a line of progress.

  tokenizer: as get_tokenizer takes it, or a .model or tokenizer.json file, whose <loc> and <seg>
  are then added; None: lengths are in words. against: other files, of the same root, whose images
  should be others. limit: look at so many lines only. texts_of: a function (data, index) ->
  {"prefix": ..., "suffix": ...}, see of_config(); None: those of the line.
  """
  tok = read_tokenizer(tokenizer)
  paths = (path,) if isinstance(path, str) else tuple(path)
  if (kind := source.of_paths(paths)["name"]) != "jsonl":
    raise ValueError(f"{paths[0]} is data of the kind {kind!r}: validate_jsonl checks JSONL alone. "
                     "A training checks the fields of others when it starts, and "
                     "tools.inspect_batch shows them.")
  data = jsonl.Jsonl(path, root, allow, check=False)
  others = _hashes(against, root, allow) if against else {}
  count = min(len(data), limit or len(data))
  found = Findings(data, count, collections.defaultdict(list), None,
                   "tokens" if tok else "words", text_len)
  add = lambda index, kind, text: found.problems[kind].append((index, text))
  lines, lengths, single, failed = [], [], {}, {}
  for i in range(count):
    try:
      line = data.line(i)
    except ValueError as e:
      add(i, "line", _without(data.where(i), e))
      continue
    try:
      example = line | (texts_of(data, i) if texts_of else {})
    except (PreprocessError, OSError) as e:
      example, failed[i] = line, str(e)
    texts = [x if isinstance(x, str) else "" for x in map(example.get, ("prefix", "suffix"))]
    lengths.append(_lengths(tok, *texts))
    for kind, reason in () if i in failed else jsonl_text.problems(example):
      add(i, kind, reason)
    if reason := jsonl_text.unknown_task(texts[0]):
      add(i, "task", reason)
    if reason := tok and _split(tok, "".join(texts), single):
      add(i, "tokenizer", reason)
    if reason := tok and _cut(*lengths[-1], text_len):
      add(i, "cut", reason)
    whole = _digest(json.dumps(line, sort_keys=True))
    objects = line.get("objects")
    lines.append(_LineDigests(i, _resolved(data, i, line, add), whole, *map(_digest, texts),
                       masks=isinstance(objects, dict) and "mask" in objects))
  found.lengths = np.array(lengths, int).reshape(-1, 3)
  checks = jsonl_images.check_files([p for line in lines for p in line.paths])
  found.files = len(checks)
  for line in lines:
    for p in line.paths:
      if checks[p].problem:
        add(line.index, "image", checks[p].problem)
      elif checks[p].orientation != 1:
        add(line.index, "turned", f"{p[1]} has the orientation {checks[p].orientation}")
      if checks[p].transparent:
        add(line.index, "transparent", f"{p[1]}: save it on a background of your choice")
    if line.masks:
      size = checks[line.paths[0]].size if line.paths else None
      for reason in jsonl_text.mask_problems(data.line(line.index), size):
        add(line.index, "fields", reason)
  unread = {i for kind in ("file", "image") for i, _ in found.problems.get(kind, ())}
  for i in failed.keys() - unread:  # of those the op says what the check of the file has said
    add(i, "pp", failed[i])
  _compare(found, lines, checks, add)
  _leaks(found, lines, checks, others, add)
  return found


def of_config(config):
  """{name: arguments of validate()} of the JSONL components that a config trains on.

  Raises ValueError where there are none, and for a pp string that does not fit the config.
  """
  context, found = mixture.context_of(config), {}
  for _, component in mixture.switched_on(config.input.mixture):
    data = dict(component["data"])
    if (kind := data.pop("name")) != "jsonl":
      print(f"not checked: the data of the kind {kind!r}")
      continue
    if part := [key for key in source.PART if data.get(key) is not None]:
      print(f"{part[0]} of the data is left out of account: all lines are checked")
    get_preprocess_fn(component["pp"], context)
    sections, texts_of = split_pipeline(component["pp"]), None
    layout = dict(tokenizer=context.tokenizer, text_len=context.text_len)
    if "text_layout" in (names := [parse_call(section)[0] for section in sections]):
      at = names.index("text_layout")
      layout = {key: OPS.arguments(sections[at], context)[key] for key in layout}
      texts_of = functools.partial(_texts, get_preprocess_fn("|".join(sections[:at]), context))
    found[str(component.get("name") or len(found) + 1)] = dict(
        path=data["path"], root=data.get("root"), allow=data.get("allow", ()), **layout,
        texts_of=texts_of)
  if not found:
    raise ValueError("The config trains on no JSONL file: its input.mixture has none.")
  return found


def _texts(preprocess, data, index):
  """The prefix and suffix that the ops before text_layout write."""
  rng = np.random.default_rng(index)
  made = preprocess({**data[index], "_rng": rng, "_epoch": 0})
  return {key: made[key] for key in ("prefix", "suffix") if key in made}


def read_tokenizer(name):
  """The tokenizer of a string or of a file; None for None."""
  if name and "(" not in name and name.endswith((".model", ".json")):
    kind = "sp" if name.endswith(".model") else "hf"
    name = f"{kind}({name!r}, tokensets=('loc', 'seg'))"
  return name and get_tokenizer(name)


def _resolved(data, index, example, add):
  paths = []
  for field, name in jsonl_images.named(example):
    try:
      paths.append((field, data.resolve(index, name)))
    except (ValueError, FileNotFoundError) as e:
      add(index, "file", _without(data.where(index), e))
  return paths


def _without(where, error):
  """The text of an error of Jsonl, without the place that it begins with."""
  return str(error).removeprefix(where).lstrip(": ")


def _digest(text):
  return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _lengths(tok, prefix, suffix):
  """(prefix, suffix, all of bos, prefix, separator, suffix, eos) in tokens or words."""
  if not tok:
    words = len(WORD.findall(prefix)), len(WORD.findall(suffix))
    return *words, sum(words)
  prompt, answer = prompt_ids(tok, prefix), suffix_ids(tok, suffix)
  return len(prompt) - len(prompt_ids(tok, "")), len(answer) - 1, len(prompt) + len(answer)


def _cut(prefix, suffix, total, text_len):
  if total <= text_len + 1:  # the last token is only predicted
    return None
  left = max(text_len + 1 - (total - suffix - 1), 0)
  return (f"{total - 1} tokens do not fit text_len {text_len}: {left} are left of the answer's "
          f"{suffix} and its eos")


def _split(tok, text, single):
  """A warning of the <loc> and <seg> of a text that are not one token each, or None.

  single: {piece: whether it is one}, of those that came before.
  """
  pieces = dict.fromkeys(p for p in PIECE.findall(text) if jsonl_text.is_piece(p))
  for piece in pieces:
    if piece not in single:
      try:
        check_single_ids(tok, (piece,))
        single[piece] = True
      except ValueError:
        single[piece] = False
  split = [p for p in pieces if not single[p]]
  if not split:
    return None
  return (f"{', '.join(split[:4])} {'are' if len(split) > 1 else 'is'} read as ordinary "
          "characters: name the tokensets, e.g. gemma(tokensets=('loc', 'seg'))")


def _compare(found, lines, checks, add):
  """Lines and images that are there twice, and answers that contradict each other."""
  wheres, whole, names, answers = found.data.where, {}, {}, {}
  for line in lines:
    first = whole.setdefault(line.whole, line.index)
    if first != line.index:
      add(line.index, "repeated", f"is the same as {wheres(first)}")
    digests = tuple(checks[p].digest for p in line.paths)
    for digest, (_, path) in zip(digests, line.paths):
      other = names.setdefault(digest, path) if digest else path
      if other != path:
        add(line.index, "copies", f"{path} has the same bytes as {other}")
    before = answers.setdefault((digests, line.prefix), line)
    if before.suffix != line.suffix and line.prefix != NO_TEXT:
      add(line.index, "contradiction", f"answers otherwise than {wheres(before.index)}")


def _hashes(against, root, allow):
  """{digest: where} of the images of other JSONL files."""
  data, wanted = jsonl.Jsonl(against, root, allow, check=False), {}
  for i in range(len(data)):
    try:
      for field, name in jsonl_images.named(data.line(i)):
        wanted.setdefault((field, data.resolve(i, name)), i)
    except (ValueError, FileNotFoundError):
      continue  # the other files are not checked here
  checks = jsonl_images.check_files(wanted, decode=False, name="images of --check_overlap")
  return {s.digest: data.where(wanted[p]) for p, s in checks.items() if s.digest}


def _leaks(found, lines, checks, others, add):
  for line in lines:
    for p in line.paths:
      if where := others.get(checks[p].digest):
        add(line.index, "leak", f"{p[1]} is an image of {where}")


def show(found, most=SHOWN):
  """Prints the findings, at most so many of a kind."""
  for kind, (level, heading) in KINDS.items():
    if not (some := found.problems.get(kind)):
      continue
    print(f"\n{level.upper() if level == 'error' else level}  {heading}: {len(some):,}")
    if kind == "task":
      _show_tasks(found, some, most)
      continue
    for index, text in some[:most]:
      print(f"  {found.data.where(index)}: {text}")
    if len(some) > most:
      print(f"  and {len(some) - most:,} more (--all shows them)")
  print()
  print(lengths_table(found))
  counts = collections.Counter()
  for kind, some in found.problems.items():
    counts[KINDS[kind][0]] += len(some)
  print(f"\n{found.count:,} of {len(found.data):,} lines, {found.files:,} files: "
        + (", ".join(f"{n:,} {level}{'s' * (n > 1)}" for level, n in sorted(counts.items()))
           or "nothing wrong"))


def _show_tasks(found, some, most):
  """Unknown first words by how often they are there."""
  by_reason = collections.defaultdict(list)
  for index, text in some:
    by_reason[text].append(index)
  ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
  for text, indices in ordered[:most]:
    print(f"  {len(indices):,} x, first in {found.data.where(indices[0])}: {text}")
  if len(ordered) > most:
    print(f"  and {len(ordered) - most:,} more words (--all shows them)")
  print(f"  {len(some) / max(found.count, 1):.0%} of the lines; the released models know "
        f"{', '.join(jsonl_text.TASKS)}. You can train another word, but it means nothing to them.")


def lengths_table(found):
  """The percentiles of the lengths as text, and the lines that text_len cuts."""
  if not len(found.lengths):
    return "lengths: no line could be read"
  rows = [[f"lengths in {found.unit}", *(f"{s:.0%}" for s in QUANTILES), "longest"]]
  for i, name in enumerate(("prefix", "suffix", "row")):
    column = found.lengths[:, i] - (i == 2 and found.unit == "tokens")
    values = [int(np.quantile(column, s, method="higher")) for s in QUANTILES]
    rows.append([name, *map(str, values), str(column.max())])
  table = reporting.columns(rows)
  if found.unit == "words":
    return (table + "\nThese are words and signs, a <loc> or <seg> being one. Tokens are more: "
            "--tokenizer TOKENIZER.model counts them, and says whether they fit --text_len.")
  needed = found.lengths[:, 2] - 1
  cut = float(np.mean(needed > found.text_len))
  most = math.ceil(np.quantile(needed, 0.999, method="higher"))
  summary = (f"text_len {found.text_len} cuts {cut:.2%} of the lines" if cut else
             f"text_len {found.text_len} holds every line")
  return (f"{table}\nA row is bos, prefix, separator and suffix. {summary}; {most} would hold "
          "99.9 % of them.")


def main(argv=None):
  parser = cli.Parser(__doc__, config="optional")
  parser.add_argument("path", nargs="*", help="files or patterns such as 'my/*.jsonl'")
  parser.add_argument("--root", help="folder that paths in the lines are relative to")
  parser.add_argument("--allow", nargs="*", default=(), choices=jsonl.ALLOW, metavar="WHAT",
                      help=f"allow, which is refused otherwise: {', '.join(jsonl.ALLOW)}")
  parser.add_argument("--tokenizer", help="e.g. \"gemma(tokensets=('loc', 'seg'))\", or a "
                                          "SentencePiece .model or a tokenizer.json")
  parser.add_argument("--text_len", type=int, help="tokens that the model reads (default: 128)")
  parser.add_argument("--check_overlap", nargs="+",
                      help="other JSONL files, e.g. for validation: images in both are an error")
  parser.add_argument("--limit", type=int, help="look at the first so many lines")
  parser.add_argument("--all", action="store_true", help=f"show more than {SHOWN} of a kind")
  parser.add_argument("--html", help="contact sheet to write")
  parser.add_argument("--sample", type=int, default=200, help="lines on it beside those with a "
                                                              "problem")
  parser.add_argument("--seed", type=int, default=0, help="of the sample")
  args = parser.parse_args(argv)
  given = dict(path=args.path, root=args.root, allow=args.allow, tokenizer=args.tokenizer,
               text_len=args.text_len)
  given = {key: value for key, value in given.items() if value}
  if args.config and given:
    parser.error(f"{', '.join(given)}: the config says it; change it there, or with "
                 "--config.FIELD=VALUE")
  if not args.config and not args.path:
    parser.error("give files, or --config")
  failed = False
  jobs = of_config(args.config) if args.config else {"": given}
  for name, job in jobs.items():
    if len(jobs) > 1:
      print(f"\n== {name}: {job['path']}")
    found = validate(**job, against=args.check_overlap, limit=args.limit)
    show(found, sys.maxsize if args.all else SHOWN)
    failed |= found.failed
    if args.html:
      page = pathlib.Path(args.html)
      page = page.with_stem(f"{page.stem}-{name}") if len(jobs) > 1 else page
      print(f"contact sheet: {contact_sheet.write_sheet(found, page, args.sample, args.seed)}")
  if failed:
    sys.exit(1)


if __name__ == "__main__":
  cli.run(main)
