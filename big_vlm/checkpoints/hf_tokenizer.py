"""The small files of a Hugging Face folder: config, generation config, tokenizer, image processor.

A tokenizer is written twice: as it is (tokenizer.model, or vocab.json and merges.txt), from which
the folder is read back, and as the tokenizer.json that transformers reads. In the latter PaliGemma
also gets <image> at image_token_index; it is a placeholder that never enters the model's table.
"""
import json
import pathlib

from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

from pp import tokenizer_files
from pp.registry import parse_call
from pp.tokenizer import added_pieces, get_tokenizer

IMAGE = "<image>"
SIGLIP = {"siglip": "SiglipProcessor", "siglip2": "Siglip2Processor"}  # its processors
SPECIAL = ("bos_token", "eos_token", "pad_token")
LEFT = {"padding_side": "left"}  # generation continues behind the prompt; transformers' is right
BILINEAR = 2  # PIL's number; as the images that our models are trained on, here and by big_vision


def write(folder, config, tokenizer):
  """Writes config.json (the dict `config`) and what goes with it.

  tokenizer: a tokenizer string, or None. Its bos, eos and pad ids overrule those of `config`.
  """
  folder, image = pathlib.Path(folder), config.get("image_token_index")  # None: not a PaliGemma
  kind = config["model_type"]
  processor = {} if image is None else {"processor_class": "PaliGemmaProcessor"}
  if kind.startswith("siglip"):
    processor = {"processor_class": SIGLIP[kind]} if kind in SIGLIP else {}
    if tokenizer:
      length = config.get("text_config", config)["max_position_embeddings"]
      _dump(folder / "tokenizer_config.json",
            _write_tower_tokenizer(folder, tokenizer, length) | processor)
  elif tokenizer:
    ids = {f"{what}_id": i if i >= 0 else None for what, i in _ids(tokenizer).items()}
    config = config | ids
    names = _write_tokenizer(folder, tokenizer, image) | processor
    if processor:
      config["text_config"] = config["text_config"] | ids
      names["extra_special_tokens"] = {"image_token": IMAGE}
    _dump(folder / "tokenizer_config.json", names)
  _dump(folder / "config.json", config)
  if "eos_token_id" in config:
    ids = {f"{what}_id": config[f"{what}_id"] for what in SPECIAL}
    _dump(folder / "generation_config.json", {"_from_model_config": True, **ids})
  if "patch_size" in (vision := config.get("vision_config", config)):
    _dump(folder / "preprocessor_config.json", _image_processor(vision) | processor)


def _dump(file, value):
  file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _ids(tokenizer):
  """{"bos_token": id, ...} of a tokenizer string; -1 where it has none."""
  return {what: getattr(get_tokenizer(tokenizer), what) for what in SPECIAL}


def _image_processor(vision):
  if "num_patches" in vision:  # NaFlex
    name = "Siglip2ImageProcessor"
    more = dict(patch_size=vision["patch_size"], max_num_patches=vision["num_patches"])
  else:
    name, side = "SiglipImageProcessor", vision["image_size"]
    more = dict(size=dict(height=side, width=side))
  if (tokens := vision.get("num_image_tokens")) is not None:
    more["image_seq_length"] = tokens
  return dict(image_processor_type=name, do_resize=True, do_rescale=True, do_normalize=True,
              do_convert_rgb=None, resample=BILINEAR, rescale_factor=1 / 255,
              image_mean=[0.5] * 3, image_std=[0.5] * 3, **more)


def _write_tower_tokenizer(folder, name, length):
  """The same of SigLIP's, whose texts end with eos and are padded on the right to `length`.

  Gemma's pieces, of SigLIP 2, are a Siglip2Tokenizer, which lower-cases as the models were trained;
  the GemmaTokenizer of some released files does not. Others are a SiglipTokenizer.
  """
  shared = {"padding_side": "right", "model_max_length": length}
  if parse_call(name)[0] == "hf":
    tokenizer_files.save(name, folder)
    beside = folder / "tokenizer_config.json"
    return shared | {"tokenizer_class": "Siglip2Tokenizer"} | (
        json.loads(beside.read_text()) if beside.exists() else {})
  tokenizer, model = get_tokenizer(name), tokenizer_files.serialized(name)
  proto = sentencepiece_model_pb2.ModelProto()
  proto.ParseFromString(model)
  special = {what: tokenizer.piece(i) for what, i in _ids(name).items() if i >= 0}
  special["unk_token"] = proto.pieces[proto.trainer_spec.unk_id].piece
  if proto.trainer_spec.model_type != proto.trainer_spec.BPE:
    (folder / "spiece.model").write_bytes(model)
    special.pop("bos_token", None)
    special["pad_token"] = special["eos_token"]
    return {"tokenizer_class": "SiglipTokenizer", **special, **shared}
  (folder / "tokenizer.model").write_bytes(model)
  fast, _ = from_sentencepiece(proto)
  eos = special["eos_token"]
  fast.post_processor = processors.TemplateProcessing(
      single=f"$A {eos}", pair=f"$A {eos} $B {eos}",
      special_tokens=[(eos, fast.token_to_id(eos))])
  fast.save(str(folder / "tokenizer.json"))
  return {"tokenizer_class": "Siglip2Tokenizer", **special, **shared, "do_lower_case": True}


def _write_tokenizer(folder, name, image):
  """Writes the tokenizer's own files and tokenizer.json; returns tokenizer_config.json's dict."""
  tokenizer_files.save(name, folder)
  kind, args, kwargs = parse_call(name)
  if kind == "hf":
    return _from_json(folder, args, kwargs, image)
  if kind == "bpe":  # OPT: transformers makes the fast tokenizer from vocab.json and merges.txt
    same = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "</s>")
    return {"tokenizer_class": "GPT2Tokenizer", **same, "pad_token": "<pad>",
            **LEFT, "add_prefix_space": False, "add_bos_token": True, "errors": "replace"}
  model = tokenizer_files.serialized(name)
  (folder / "tokenizer.model").write_bytes(model)
  proto = sentencepiece_model_pb2.ModelProto()
  proto.ParseFromString(model)
  fast, is_bpe = from_sentencepiece(proto)
  special = {what: get_tokenizer(name).piece(i) for what, i in _ids(name).items() if i >= 0}
  if bos := special.get("bos_token"):
    fast.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B",
        special_tokens=[(bos, fast.token_to_id(bos))])
  _add_image_token(fast, image)
  fast.save(str(folder / "tokenizer.json"))
  special["unk_token"] = proto.pieces[proto.trainer_spec.unk_id].piece
  _dump(folder / "special_tokens_map.json", special)
  return {"tokenizer_class": "GemmaTokenizer" if is_bpe else "PreTrainedTokenizerFast", **special,
          **LEFT, "add_bos_token": "bos_token" in special, "clean_up_tokenization_spaces": False,
          "model_max_length": 1_000_000_000}


def _from_json(folder, args, kwargs, image):
  fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
  known = fast.get_vocab(with_added_tokens=True)
  tokensets = (*args[1:], kwargs.get("tokensets", ()))[0]
  fast.add_tokens([AddedToken(p, normalized=False) for p in added_pieces(tokensets)
                   if p not in known])
  _add_image_token(fast, image)
  fast.save(str(folder / "tokenizer.json"))
  beside = folder / "tokenizer_config.json"
  return LEFT | (json.loads(beside.read_text()) if beside.exists()
                 else {"tokenizer_class": "PreTrainedTokenizerFast"})


def _add_image_token(fast, index):
  """Gives <image> the id `index`, with unused pieces below it where the vocabulary is shorter."""
  if index is None or fast.token_to_id(IMAGE) == index:
    return
  size = fast.get_vocab_size(with_added_tokens=True)
  if size > index or fast.token_to_id(IMAGE) is not None:
    raise ValueError(
        f"The tokenizer has {size} pieces, the model rows for {index}, and {IMAGE} must be the "
        f"piece {index}: they do not belong together. Export the model with its own tokenizer.")
  fast.add_special_tokens([*(f"<unused_{i}>" for i in range(size, index)), IMAGE])


def from_sentencepiece(proto):
  """(tokenizers.Tokenizer that gives the ids of a SentencePiece ModelProto, whether it is a BPE).

  Raises ValueError for a model that normalises text, which Gemma's do not.
  """
  spec, kinds = proto.trainer_spec, sentencepiece_model_pb2.ModelProto.SentencePiece
  if (rule := proto.normalizer_spec).precompiled_charsmap or rule.remove_extra_whitespaces:
    raise ValueError(f"The tokenizer normalises text ({rule.name or 'extra spaces'}), which is not "
                     "written to a tokenizer.json. Export the model without a tokenizer.")
  is_bpe = spec.model_type == spec.BPE
  pieces = [(p.piece, p.score) for p in proto.pieces]
  if is_bpe:
    ids = {p: i for i, (p, _) in enumerate(pieces)}
    model = models.BPE(ids, _merges(proto, ids), fuse_unk=True, byte_fallback=spec.byte_fallback,
                       unk_token=pieces[spec.unk_id][0])
  else:
    model = models.Unigram(pieces, spec.unk_id, spec.byte_fallback)
  fast = Tokenizer(model)
  spaces = [normalizers.Replace(" ", "▁")]
  if rule.add_dummy_prefix:
    spaces.insert(0, normalizers.Prepend("▁"))
  fast.normalizer = normalizers.Sequence(spaces) if len(spaces) > 1 else spaces[0]
  strip = [decoders.Strip(" ", 1, 0)] if rule.add_dummy_prefix else []
  fast.decoder = decoders.Sequence(
      [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
  control = [p.piece for p in proto.pieces if p.type in (kinds.CONTROL, kinds.UNKNOWN)]
  fast.add_special_tokens([AddedToken(p, normalized=False) for p in control])
  fast.add_tokens([AddedToken(p.piece, normalized=False) for p in proto.pieces
                   if p.type == kinds.USER_DEFINED])
  return fast, is_bpe


def _merges(proto, ids):
  """The merges of a BPE that SentencePiece keeps as scored pieces, best first."""
  found = []
  for p in proto.pieces:
    if p.type == p.NORMAL:
      splits = ((p.piece[:i], p.piece[i:]) for i in range(1, len(p.piece)))
      found += sorted(((-p.score, ids[a], ids[b], (a, b)) for a, b in splits
                       if a in ids and b in ids))
  return [pair for *_, pair in sorted(found, key=lambda m: m[:3])]
