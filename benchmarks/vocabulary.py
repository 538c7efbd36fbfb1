"""A SentencePiece model with as many pieces as Gemma's, whose own may not be shipped."""
import itertools

import numpy as np
from sentencepiece import sentencepiece_model_pb2

PIECES = 256_000


def write(path, count=PIECES):
  """Writes a Unigram model of `count` pieces: control pieces, bytes, printable ASCII, and words of
  2 to 12 letters, half of them after a space, as they are spread in Gemma's."""
  proto, rng = sentencepiece_model_pb2.ModelProto(), np.random.default_rng(0)
  kinds = proto.SentencePiece.Type
  proto.trainer_spec.model_type = proto.trainer_spec.UNIGRAM
  proto.trainer_spec.byte_fallback = True
  for i, name in enumerate(("pad", "eos", "bos", "unk")):
    setattr(proto.trainer_spec, f"{name}_id", i)
    setattr(proto.trainer_spec, f"{name}_piece", f"<{name}>")
  proto.normalizer_spec.name = "identity"
  proto.normalizer_spec.add_dummy_prefix = False
  proto.normalizer_spec.remove_extra_whitespaces = False
  special = [("<pad>", kinds.CONTROL), ("<eos>", kinds.CONTROL), ("<bos>", kinds.CONTROL),
             ("<unk>", kinds.UNKNOWN), ("\n", kinds.USER_DEFINED),
             *((f"<0x{b:02X}>", kinds.BYTE) for b in range(256))]
  plain = dict.fromkeys(["▁", *map(chr, range(0x21, 0x7f))])
  letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz" + "äöüéñçабвгде中日本"))
  weights = 1 / (1 + np.arange(len(letters)))
  weights /= weights.sum()
  for block in itertools.count():
    lengths = np.random.default_rng(block).integers(2, 13, 20_000)
    drawn = rng.choice(letters, lengths.sum(), p=weights)
    for i, word in enumerate(np.split(drawn, np.cumsum(lengths)[:-1])):
      plain["▁" * (i % 2) + "".join(word)] = None
    if len(plain) + len(special) >= count:
      break
  words = itertools.islice(plain, count - len(special))
  rows = special + [(word, kinds.NORMAL) for word in words]
  for i, (piece, kind) in enumerate(rows):
    proto.pieces.add(piece=piece, score=-float(i) / 1000, type=kind)
  path.write_bytes(proto.SerializeToString())
