"""The small files beside the weights of a Hugging Face folder, compared with the model.

  generation_config.json   ids of bos, eos and pad; what bans or forces tokens
  tokenizer_config.json, special_tokens_map.json   names of bos, eos and pad
  preprocessor_config.json, processor_config.json  image size, scaling, length of an image

None of them is needed, and none is believed: what differs from the model, the tokenizer or what is
done here is refused, with the file and the key. formats/foreign_keys.py has the keys.
"""
import pathlib

from big_vlm.formats import config_json, foreign_keys
from pp import tokenizer_files
from pp.foreign import parse_json, read_bytes
from pp.tokenizer import get_tokenizer

NAMES = ("tokenizer_config.json", "special_tokens_map.json")
IMAGES = ("preprocessor_config.json", "processor_config.json")
SPECIAL = ("bos", "eos", "pad")


def check(folder, described, config, tokenizer):
  """Raises ValueError for the first file that disagrees.

  described: config.json's dict. config: the PaliGemmaConfig of it. tokenizer: a tokenizer string,
  or None.
  """
  folder = pathlib.Path(folder)
  files = {name: parse_json(read_bytes(path, config_json.MAX_BYTES), path)
           for name in ("generation_config.json", *NAMES, *IMAGES)
           if (path := folder / name).is_file()}
  where = {name: folder / name for name in ["config.json", *files]}
  if config.llm:
    generation = files.get("generation_config.json", {})
    foreign_keys.check(generation, foreign_keys.GENERATION, where.get("generation_config.json"))
    ids = {where["config.json"]: described,
           f"{where['config.json']}, text_config": described.get("text_config") or {},
           where.get("generation_config.json"): generation}
    _check_ids(ids, get_tokenizer(tokenizer) if tokenizer else None, config.llm)
    ends = generation.get("eos_token_id")
    if isinstance(ends, list) and len(ends) > 1:  # of chat models, which end a turn
      print(f"{where['generation_config.json']} ends answers at any of {ends}: name those that are "
            f"not the eos, as generate(stop=('eos', {ends[-1]})).")
  if config.llm or config.txt:
    table = (foreign_keys.TOWER_TOKENIZER if config.txt else
             foreign_keys.TOKENIZER if config.img else foreign_keys.TEXT_TOKENIZER)
    for name in NAMES:
      if name in files and tokenizer:
        foreign_keys.check(files[name], table, where[name])
        _check_names(files[name], get_tokenizer(tokenizer), where[name])
  if config.img:
    for name in IMAGES:
      content = files.get(name) or {}
      nested = content.get("image_processor") or {} if name == "processor_config.json" else content
      foreign_keys.check(nested, foreign_keys.IMAGES, where.get(name))
      _check_images({**content, **nested}, config.img, where.get(name))


def _check_ids(found, tokenizer, llm):
  """found: {file: dict with bos_token_id, ...}. Without a tokenizer the files must agree, and the
  eos is that of the decoder's family."""
  known = {what: getattr(tokenizer, f"{what}_token", None) for what in SPECIAL}
  known["eos"] = tokenizer.eos_token if tokenizer else llm.eos_token
  source = f"of the tokenizer {tokenizer.path}" if tokenizer else "where there is no tokenizer"
  for where, content in found.items():
    for what in SPECIAL:
      value = content.get(f"{what}_token_id")
      ids = value if isinstance(value, list) and what == "eos" else [value]
      if value is None or value == [] or what == "pad" and known["pad"] == -1:
        continue
      if not all(type(i) is int and i >= 0 for i in ids):
        raise ValueError(f"{where}: {what}_token_id is {str(value)[:80]}, not a token id.")
      like = [known[w] for w in SPECIAL] if what == "pad" else [known[what]]
      if known[what] is None:
        known[what], source = ids[0], f"of {where}"
      elif not set(ids) & set(like):
        raise ValueError(f"{where}: {what}_token_id is {value}, but the {what} {source} is "
                         f"{known[what]}. Correct the file that is wrong.")


def _check_names(content, tokenizer, where):
  pieces = {what: tokenizer.piece(i) for what in SPECIAL
            if (i := getattr(tokenizer, f"{what}_token")) >= 0}
  for what in SPECIAL:
    name = _spelling(content.get(f"{what}_token"))
    like = pieces.values() if what == "pad" else [pieces.get(what)]  # nothing sees padding
    if name is not None and name not in like:
      raise ValueError(f"{where}: {what}_token is {str(name)[:80]!r}, but {pieces.get(what)!r} in "
                       f"the tokenizer {tokenizer.path}. Correct the file that is wrong.")
  more = content.get("extra_special_tokens") or {}
  more = [*(content.get("additional_special_tokens") or []),
          *(more.values() if isinstance(more, dict) else more)]
  for name in map(_spelling, more):
    if not tokenizer_files.UNUSED.fullmatch(name) and len(tokenizer.to_int(name)) > 1 and not any(
        tokenizer.piece(i) == name for i in range(tokenizer.vocab_size)):  # control pieces
      raise ValueError(f"{where}: the special token {name[:80]!r} is no piece of the tokenizer "
                       f"{tokenizer.path}. Correct the file that is wrong.")


def _spelling(token):
  return token.get("content") if isinstance(token, dict) else token


def _check_images(content, img, where):
  size, length = content.get("size"), content.get("image_seq_length")
  named = size if isinstance(size, dict) else {"height": size, "width": size}
  named = {key: side for key, side in named.items() if side is not None}
  if named and named != {"height": img.image_size, "width": img.image_size}:
    raise ValueError(f"{where}: size is {size}, but the model takes images of {img.image_size} x "
                     f"{img.image_size} pixels.")
  if length is not None and length != img.patches:
    raise ValueError(f"{where}: image_seq_length is {length}, but an image of the model has "
                     f"{img.patches} tokens.")
