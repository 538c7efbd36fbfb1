"""Makes tests/golden/tokenizers/ with transformers 5.23 and keras-hub 0.32: small tokenizers, ids.

  KERAS_BACKEND=jax python tests/golden/make_tokenizers.py     (same files each time)

  gemma/tokenizer.model    SentencePiece BPE like Gemma's, with 16 <loc> and 8 <seg> baked in as in
                           a released PaliGemma
  gemma/tokenizer.json, tokenizer_config.json     the same as transformers' GemmaTokenizer saves it,
                           with <image> added as PaliGemmaProcessor does
  opt/vocab.json, merges.txt      byte-level BPE with OPT's ids 0..3
  opt/tokenizer.json, tokenizer_config.json       the same as transformers' GPT2Tokenizer saves it
  golden.json              {"texts": [...], "<reference>": [ids of each text, without bos and eos]}
"""
import io
import json
import os
import pathlib
import shutil
import sys
import tempfile

os.environ["KERAS_BACKEND"] = "jax"

import keras_hub
import sentencepiece
import tokenizers
import transformers
from sentencepiece import sentencepiece_model_pb2
from transformers.models.paligemma import processing_paligemma

HERE = pathlib.Path(__file__).parent / "tokenizers"
CORPUS = [
    "detect cat ; dog", "segment the quick brown fox", "caption en\n", "answer en what is it?\n",
    "The quick brown fox jumps over the lazy dog. It's his dog, isn't it? We'll see, I'd say.",
    "In 2024 there were 1,234,567 cats and 3.14159 dogs at 12:30.",
    "def f(x):\n    return x  # no",
    "Der schnelle braune Fuchs springt über den faulen Hund. Straße, Größe, Übung.",
    "Le renard brun saute par-dessus le chien paresseux. Où est l'été ? Ça va, cœur.",
    "El rápido zorro marrón salta sobre el perro perezoso. ¿Dónde está el niño?",
    "Быстрая коричневая лиса прыгает через ленивую собаку. Где кошка?",
    "敏捷的棕色狐狸跳过了懒狗。图片里有什么？一只猫和一只狗。",
    "素早い茶色の狐がのろまな犬を飛び越える。猫はどこですか。",
    "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ แมวอยู่ที่ไหน",
    "الثعلب البني السريع يقفز فوق الكلب الكسول. أين القطة؟",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। बिल्ली कहाँ है?",
    "빠른 갈색 여우가 게으른 개를 뛰어넘는다. 고양이는 어디에?",
    "cats 🐱 and dogs 🐶, family 👨‍👩‍👧‍👦 👍🏽",
] * 6
TEXTS = [
    "", " ", "  ", "   a", "a   ", " a ", "\n", "\n\n", "\n\n\n\n\n", "\t", "\t\t\tx",
    "a\tb\nc\r\nd", "\r", "\v\f", "The quick brown fox", "the quick  brown   fox    jumps",
    "answer en what is it?\n", "it's we'll I'd they're 'S 'LL don''t", "detect cat ; dog",
    "DETECT Cat", "0", "2024", "1234567890", "3.14159", "1,234,567.89", "１２３", "٣٤٥", "²³¼Ⅷ",
    "abc123def", "什么是猫？", "敏捷的棕色狐狸", "龘靐齉", "のろまな犬を", "แมวอยู่ที่ไหน",
    "أين القطة؟", "शर्म तेज़ कूदती", "고양이는", "\u1100\u1161\u11a8", "Где кошка?",
    "Größe Straße ẞ", "İstanbul ıi", "caf\u00e9 NFC", "cafe\u0301 NFD",
    "Z\u0351\u036b\u0343a\u0300\u0301lgo", "\u00c5 \u212b A\u030a", "🐱", "👨‍👩‍👧‍👦", "👍🏽👍",
    "🇨🇭🇹🇭", "☃️ ❤️‍🔥", "cats🐱dogs🐶", "<eos>", "<bos><pad><unk>", "a<eos>b", "</s>", "<s>a</s>",
    "<pad>", "<mask>", "<unk> x", "<image>", "<image>\ndetect cat", "<0x0A>", "<|endoftext|>",
    "<loc0012>", "<loc0012><loc0003> cat", "cat<seg007>.", " <loc0000> ", "<loc9999><seg999>",
    "<loc00012>", "<<loc0012>>", "<LOC0012>",
    "<loc0001><loc0002><loc0003><loc0004> dog ; <loc0005>",
    "<start_of_turn>user\nhi<end_of_turn>\n", "<start_of_turn", "</table>", "<unused0>",
    "antidisestablishmentarianism" * 8, "a" * 100, "=" * 33, "-" * 5 + ">" * 3, "catcatcatdogdog",
    "https://example.com/a_b?c=%20&d=[1]", "C:\\Users\\x\\n", "{\"a\": [1, null]}",
    "if x:\n\t\treturn\n\n", "\u00a0nbsp\u00a0", "\u3000ideographic\u3000",
    "\u200bzero\u200bwidth\u200d", "\ufeffbom", "\u2028line\u2029", "\x00nul\x01", "\x7f\x80\x85",
    "\ufffd\ufffe\uffff", "\U0010fffd\U000e0041", "▁", "a▁b ▁", "Ġa Ċ", "ﬁ ﬂ ﷺ",
    "\u202eright\u202c", "ǅ ß ſ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "𓀀𓁐", " \u0301", "१२३ ४", "x ", "x\n", " \n \n ",
    "\n a",
]


def gemma_like():
  """bytes of a SentencePiece model with the ids and rules of Gemma's, PaliGemma's pieces added."""
  model = io.BytesIO()
  runs = ["\n" * n for n in range(1, 5)] + ["▁" * n for n in range(2, 5)] + ["\t", "\t\t"]
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(CORPUS), model_writer=model, vocab_size=900, model_type="bpe",
      pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>",
      bos_piece="<bos>", unk_piece="<unk>", byte_fallback=True, split_digits=True,
      user_defined_symbols=["<mask>", "<unused0>", "<start_of_turn>", "<end_of_turn>", *runs,
                            "<table>", "</table>"],
      normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
      allow_whitespace_only_pieces=True, hard_vocab_limit=False, minloglevel=2, num_threads=1)
  proto = sentencepiece_model_pb2.ModelProto()
  proto.ParseFromString(model.getvalue())
  for piece in extra_tokens():
    proto.pieces.add(piece=piece, score=0., type=proto.pieces[0].USER_DEFINED)
  return proto.SerializeToString()


def extra_tokens():
  return [f"<loc{i:04d}>" for i in range(16)] + [f"<seg{i:03d}>" for i in range(8)]


def opt_like(folder):
  """Writes vocab.json and merges.txt: OPT's four control pieces first, then bytes, then merges."""
  bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
  bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
  bpe.train_from_iterator(CORPUS, tokenizers.trainers.BpeTrainer(
      vocab_size=700, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False,
      initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())))
  bpe.model.save(str(folder))


def save_fast(tokenizer, folder):
  """tokenizer.json and tokenizer_config.json alone, as transformers writes them."""
  with tempfile.TemporaryDirectory() as tmp:
    tokenizer.save_pretrained(tmp)
    shutil.copyfile(pathlib.Path(tmp) / "tokenizer.json", folder / "tokenizer.json")
    config = json.loads((pathlib.Path(tmp) / "tokenizer_config.json").read_text())
    config.pop("vocab_file", None)  # where it happened to be converted
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main():
  gemma, opt = HERE / "gemma", HERE / "opt"
  for folder in (gemma, opt):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
  (gemma / "tokenizer.model").write_bytes(gemma_like())
  with tempfile.TemporaryDirectory() as tmp:  # alone, so that it is converted from the model
    shutil.copyfile(gemma / "tokenizer.model", pathlib.Path(tmp) / "tokenizer.model")
    hf_gemma = transformers.GemmaTokenizer.from_pretrained(tmp)
  image = transformers.AddedToken("<image>", normalized=False, special=True)
  hf_gemma.add_special_tokens({"additional_special_tokens": [image]})
  hf_gemma.add_tokens(extra_tokens())  # as PaliGemmaProcessor does with its EXTRA_TOKENS
  assert set(extra_tokens()) <= set(processing_paligemma.EXTRA_TOKENS)
  save_fast(hf_gemma, gemma)
  opt_like(opt)
  with tempfile.TemporaryDirectory() as tmp:
    for file in ("vocab.json", "merges.txt"):
      shutil.copyfile(opt / file, pathlib.Path(tmp) / file)
    hf_opt = transformers.GPT2Tokenizer.from_pretrained(  # as the released OPT folders configure it
        tmp, bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>",
        add_prefix_space=False)
  save_fast(hf_opt, opt)

  proto = (gemma / "tokenizer.model").read_bytes()
  vocab = json.loads((opt / "vocab.json").read_text())
  merges = [m for m in (opt / "merges.txt").read_text().split("\n") if m and m[:8] != "#version"]
  references = {
      "hf gemma": transformers.GemmaTokenizer.from_pretrained(gemma),
      "hf opt": transformers.GPT2Tokenizer.from_pretrained(opt),
      "keras gemma": keras_hub.tokenizers.GemmaTokenizer(proto),
      "keras paligemma": keras_hub.tokenizers.PaliGemmaTokenizer(proto),
      "keras opt": keras_hub.tokenizers.OPTTokenizer(vocab, merges),
  }
  golden = {"texts": TEXTS}
  for name, tokenizer in references.items():
    kwargs = {"add_special_tokens": False} if name.startswith("hf") else {}
    encode = tokenizer.encode if kwargs else tokenizer
    golden[name] = [[int(i) for i in encode(t, **kwargs)] for t in TEXTS]
  lines = [f"{json.dumps(key)}: [\n" + ",\n".join(map(json.dumps, rows)) + "]"
           for key, rows in golden.items()]
  (HERE / "golden.json").write_text("{" + ",\n".join(lines) + "}\n")
  print(f"{len(TEXTS)} texts", file=sys.stderr)


if __name__ == "__main__":
  main()
