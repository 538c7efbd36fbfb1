"""The files of a tokenizer: copied into a checkpoint, found in one, baked into one file.

  description = save("sp('a/b.model', tokensets=('loc',))", "W")   ["sp", {"tokensets": ["loc"]}]
  load(description, "W")                     "sp(model='W/tokenizer.model', tokensets=('loc',))"
  find("folder of Hugging Face or KerasHub")                      the same kind of string, or None

  kind       argument: name in a checkpoint      beside it, where there
  sp, gemma  model: tokenizer.model
  hf         file: tokenizer.json                tokenizer_config.json, special_tokens_map.json
  bpe        vocab: vocab.json, merges: merges.txt
"""
import hashlib
import json
import re

from pp.foreign import parse_json, read_bytes, reading
from pp.names import pick
from pp.printable import printable
from pp.registry import parse_call
from pp.tokenizer import (
  MAX_BYTES,
  SentencePiece,
  gemma_file,
  get_tokenizer,
  known_tokenizers,
  local_or_remote,
  read_file,
)
from pp.tokenizer_fast import COMPANIONS

UNUSED = re.compile(r"<image(_soft_token)?>|<unused_?\d+>")  # or of models with images alone
STANDARD = {
    "sp": {"model": "tokenizer.model"},
    "gemma": {"model": "tokenizer.model"},
    "hf": {"file": "tokenizer.json"},
    "bpe": {"vocab": "vocab.json", "merges": "merges.txt"},
}


def files(name):
  """{argument: path} of the files that a tokenizer string names."""
  kind, arguments = _arguments(name)
  return {argument: str(arguments[argument]) for argument in STANDARD[kind]}


def save(name, folder):
  """Copies the files of a tokenizer string into a folder, under their standard names.

  Returns the rest of the string as [kind, {argument: value}], ready for JSON and for `load`.
  """
  description, copies = _contents(name)
  folder = local_or_remote(folder)
  for target, data in copies.items():  # after all reads: the files may lie in the folder already
    (folder / target).write_bytes(data)
  return description


def fingerprint(name):
  """SHA-256 of a tokenizer string and the content of its files, wherever they lie."""
  description, copies = _contents(name)
  sums = {target: hashlib.sha256(data).hexdigest() for target, data in sorted(copies.items())}
  return hashlib.sha256(json.dumps([description, sums]).encode()).hexdigest()


def _contents(name):
  """([kind, {argument: value} without files], {standard name: bytes of the file})."""
  kind, arguments = _arguments(name)
  copies = {}
  for argument, target in STANDARD[kind].items():
    source = str(arguments.pop(argument))
    copies[target] = read_file(source, f"file {source!r}")
    if kind == "hf":
      beside = [local_or_remote(source).parent / c for c in COMPANIONS]
      copies |= {b.name: b.read_bytes() for b in beside if b.exists()}
  return [kind, {k: list(v) if isinstance(v, tuple) else v for k, v in arguments.items()}], copies


def load(description, folder):
  """The tokenizer string of what `save` returned, with its files in `folder`."""
  if not (isinstance(description, list) and len(description) == 2
          and isinstance(description[0], str) and isinstance(description[1], dict)):
    raise ValueError(f"{folder}: the tokenizer {printable(description)} is not [kind, arguments].")
  kind, arguments = description
  folder = local_or_remote(folder)
  standard = pick(STANDARD, kind, "tokenizer")
  if odd := [a for a in arguments if a in standard or not a.isidentifier()]:
    # Another file of this machine would be read, and go out with the next export.
    raise ValueError(f"{folder}: its tokenizer sets {printable(odd[0])!r}; its files are "
                     f"{', '.join(standard.values())} of the folder, no others.")
  return _call(kind, {a: str(folder / file) for a, file in standard.items()} | arguments)


def find(folder, multimodal=False):
  """The tokenizer string of a checkpoint folder of Hugging Face or KerasHub; None: it has none.

  A SentencePiece model comes first, as it is the tokenizer that the models were trained with.
  multimodal: whether <loc> and <seg> are pieces of this model.
  """
  folder = local_or_remote(folder)
  tokensets = {"tokensets": ("loc", "seg")} if multimodal else {}
  assets = folder / "assets" / "tokenizer"  # of KerasHub
  for kind, names, more in [
      ("sp", {"model": folder / "tokenizer.model"}, tokensets),
      ("sp", {"model": folder / "spiece.model"}, tokensets),  # of SigLIP
      ("hf", {"file": folder / "tokenizer.json"}, tokensets),
      ("bpe", {"vocab": folder / "vocab.json", "merges": folder / "merges.txt"}, {}),
      ("sp", {"model": assets / "vocabulary.spm"}, tokensets),
      ("bpe", {"vocab": assets / "vocabulary.json", "merges": assets / "merges.txt"}, {})]:
    if all(p.exists() for p in names.values()) and not (kind == "hf" and _is_keras(names["file"])):
      return _call(kind, {k: str(p) for k, p in names.items()} | more)
  return None


def check(folder, name, rows):
  """Raises ValueError unless the tokenizer files of a folder agree with each other and the model.

  name: the tokenizer string that find() chose. rows: of the model's table, one for each piece.
  Every piece of tokenizer.json, added_tokens.json and tokenizer_config.json must be that id in it.
  Neither holds for images' and unused pieces.
  """
  tokenizer, folder, pieces = get_tokenizer(name), local_or_remote(folder), {}
  for file in ("tokenizer.json", "added_tokens.json", "tokenizer_config.json"):
    if (path := folder / file).exists() and not _is_keras(path):
      with reading(path):
        found = parse_json(read_bytes(path, MAX_BYTES), path)
        if file == "tokenizer.json":
          vocab = found["model"]["vocab"]
          vocab = vocab if isinstance(vocab, dict) else {p: i for i, (p, _) in enumerate(vocab)}
          found = vocab | {t["content"]: t["id"] for t in found.get("added_tokens") or []}
        elif file == "tokenizer_config.json":
          added = found.get("added_tokens_decoder") or {}
          found = {token["content"]: int(id_) for id_, token in added.items()}
        pieces |= {piece: (id_, path) for piece, id_ in found.items()}
  size = tokenizer.vocab_size
  for piece, (id_, path) in pieces.items():
    if not UNUSED.fullmatch(piece) and not (
        type(id_) is int and 0 <= id_ < min(size, rows) and tokenizer.piece(id_) == piece):
      other = f", the model has {rows} rows" if type(id_) is int and id_ >= rows else ""
      raise ValueError(
          f"{path} has the piece {piece[:80]!r} as id {str(id_)[:20]}, which {name} lacks or has "
          f"elsewhere{other}. Were tokens added? Remove the tokenizer file that is out of date.")
  for i in range(rows, size):
    if not UNUSED.fullmatch(tokenizer.piece(i)):
      raise ValueError(f"{name} has {size} pieces, {tokenizer.piece(i)[:80]!r} as id {i}, and the "
                       f"model has {rows} rows: they do not belong together.")


def serialized(name):
  """bytes: the SentencePiece model of a tokenizer string with its added pieces baked in.

  This is the tokenizer.model of Hugging Face and the vocabulary.spm of KerasHub. Raises ValueError
  if the tokenizer is not a SentencePiece one.
  """
  tokenizer = get_tokenizer(name)
  if isinstance(tokenizer, SentencePiece):
    return tokenizer.serialized()
  raise ValueError(f"The tokenizer {name} is not a SentencePiece one, so it cannot be written as a "
                   "tokenizer.model or vocabulary.spm; export its own files instead.")


def _arguments(name):
  """"sp('a.model', ('loc',))" -> ("sp", {"model": "a.model", "tokensets": ("loc",)})."""
  kind, arguments = parse_call(name)[0], dict(known_tokenizers().bind(name).arguments)
  pick(STANDARD, kind, "tokenizer with files")
  if kind == "gemma":
    arguments["model"] = gemma_file(arguments.get("model"))
  return kind, arguments


def _call(kind, arguments):
  literal = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
  return f"{kind}({', '.join(f'{k}={v!r}' for k, v in literal.items())})"


def _is_keras(path):
  """Whether a tokenizer.json holds the settings of a KerasHub tokenizer, not a vocabulary."""
  return b'"registered_name"' in path.read_bytes()[-500:]
