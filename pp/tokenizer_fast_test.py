import json
import pathlib
import pickle
import shutil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pp.tokenizer import check_single_ids, get_tokenizer

GOLDEN = pathlib.Path(__file__).parent.parent / "tests" / "golden" / "tokenizers"
GEMMA, OPT = GOLDEN / "gemma", GOLDEN / "opt"
NAMES = {
    "sp": f"sp({str(GEMMA / 'tokenizer.model')!r}, tokensets=('loc(n=16)', 'seg(n=8)'))",
    "hf": f"hf(file={str(GEMMA / 'tokenizer.json')!r})",
    "bpe": f"bpe(vocab={str(OPT / 'vocab.json')!r}, merges={str(OPT / 'merges.txt')!r})",
    "hf opt": f"hf(file={str(OPT / 'tokenizer.json')!r})",
}
PEERS = json.loads((GOLDEN / "golden.json").read_text())
TEXTS = PEERS.pop("texts")

# Texts that the peers read in another way. transformers and KerasHub's OPT turn the name of a
# control piece in a text into its id, with which a prompt could end itself or begin an image:
NAMES_CONTROL = {
    "gemma": {"<eos>", "<bos><pad><unk>", "a<eos>b", "<pad>", "<unk> x", "<image>",
              "<image>\ndetect cat"},
    "opt": {"</s>", "<s>a</s>", "<pad>", "<bos><pad><unk>"},
}
# <mask> is a piece for text in Gemma's SentencePiece model and a control piece in its conversion:
MASK = {"<mask>"}
# KerasHub 0.32 without TensorFlow hands its splitting pattern over as a literal, so that it merges
# across words; OPT was trained with GPT-2's splitting, which is ours and transformers':
UNSPLIT = {"the quick  brown   fox    jumps", "it's we'll I'd they're 'S 'LL don''t"}


@pytest.mark.parametrize("ours, peer, differ", [
    ("sp", "keras gemma", set()),
    ("sp", "keras paligemma", set()),
    ("sp", "hf gemma", NAMES_CONTROL["gemma"]),
    ("hf", "hf gemma", NAMES_CONTROL["gemma"] | MASK),
    ("bpe", "hf opt", NAMES_CONTROL["opt"]),
    ("hf opt", "hf opt", NAMES_CONTROL["opt"]),
    ("bpe", "keras opt", NAMES_CONTROL["opt"] | UNSPLIT),
])
def test_ids_are_those_of_the_peers(ours, peer, differ):
  tok = get_tokenizer(NAMES[ours])
  assert len(TEXTS) > 100
  assert {t for t, ids in zip(TEXTS, PEERS[peer]) if tok.to_int(t) != ids} == differ


@pytest.mark.parametrize("kind, control", [
    ("sp", "<pad><eos><bos><unk>"), ("hf", "<pad><eos><bos><unk><image>"),
    ("bpe", "<s><pad></s><unk>"), ("hf opt", "<pad></s>")])
def test_control_pieces_in_a_text_are_ordinary_characters(kind, control):
  tok = get_tokenizer(NAMES[kind])
  assert len(tok.to_int(control)) > 6 and not {0, 1, 2, 3, 924} & set(tok.to_int(control))
  assert tok.to_str(tok.to_int(control)) == control


@pytest.mark.parametrize("kind, pad, bos, eos, size", [
    ("sp", 0, 2, 1, 924), ("hf", 0, 2, 1, 925), ("bpe", 1, 2, 2, 700), ("hf opt", 1, 2, 2, 700)])
def test_control_ids(kind, pad, bos, eos, size):
  tok = get_tokenizer(NAMES[kind])
  assert (tok.pad_token, tok.bos_token, tok.eos_token, tok.vocab_size) == (pad, bos, eos, size)
  cat = tok.to_int("cat")
  assert tok.to_int(["cat"], bos=True, eos=True) == [[bos, *cat, eos]]
  assert tok.to_str([bos, *cat, eos, *cat, pad, size, -1]) == "cat"
  assert tok.to_str([bos, *cat, eos, *cat, pad, size, -1], stop_at_eos=False) == "catcat"
  assert tok.to_str([eos, pad, pad]) == tok.to_str([]) == "" and tok.to_int("") == []


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize("kind", ["bpe", "hf opt"])
@given(text=ANY_TEXT)
@example(text="<s></s> e\u0301 \u3000\n\n\t\0 \r\n▁Ġ中🙂  ")
def test_every_text_comes_back_from_bytes(kind, text):
  tok = get_tokenizer(NAMES[kind])
  assert tok.to_str(tok.to_int(text, bos=True, eos=True)) == text


@given(text=ANY_TEXT.filter(lambda t: "▁" not in t))  # Gemma's own sign for a space
@example(text="<eos><bos> e\u0301 \u3000\n\n\t\0 \r\n中🙂  <loc0001><seg007>")
def test_every_text_comes_back_from_gemma(text):
  tok = get_tokenizer(NAMES["hf"])
  assert tok.to_str(tok.to_int(text, bos=True, eos=True)) == text


def test_pieces():
  hf, bpe = get_tokenizer(NAMES["hf"]), get_tokenizer(NAMES["bpe"])
  assert [hf.piece(i) for i in hf.to_int(" cat<loc0003>")] == ["▁cat", "<loc0003>"]
  assert [bpe.piece(i) for i in bpe.to_int(" cat")] == ["Ġc", "at"]
  with pytest.raises(ValueError, match="Token id 700 is not in 0..699 of .*vocab.json"):
    bpe.piece(700)


def test_it_travels_to_workers():
  tok = pickle.loads(pickle.dumps(get_tokenizer(NAMES["hf"])))
  for text in ("<eos>", "cat <loc0001>"):
    assert tok.to_int(text, bos=True) == get_tokenizer(NAMES["hf"]).to_int(text, bos=True)


@pytest.fixture
def edited(tmp_path):
  """A function (change) -> name of Gemma's tokenizer after change(contents of tokenizer.json)."""
  def edit(change, tokensets=()):
    contents = json.loads((GEMMA / "tokenizer.json").read_text())
    change(contents)
    (tmp_path / "tokenizer.json").write_text(json.dumps(contents))
    return f"hf({str(tmp_path / 'tokenizer.json')!r}, {tokensets!r})"
  return edit


def is_location(token):
  return token["content"].startswith(("<loc", "<seg"))


def make_locations_special(contents):
  for token in filter(is_location, contents["added_tokens"]):
    token["special"] = True


def keep_locations_in_the_model_only(contents):
  contents["model"]["vocab"] |= {t["content"]: t["id"]
                                 for t in contents["added_tokens"] if is_location(t)}
  contents["added_tokens"] = [t for t in contents["added_tokens"] if not is_location(t)]


@pytest.mark.parametrize("change", [make_locations_special, keep_locations_in_the_model_only])
def test_locations_match_however_the_file_flags_them(edited, change):
  tok, text = get_tokenizer(edited(change)), "cat<loc0012> <seg007>"
  assert tok.to_int(text) == get_tokenizer(NAMES["sp"]).to_int(text)
  assert tok.to_str(tok.to_int(text)) == text


def test_turns_match_though_special(edited):
  def change(contents):
    for token in contents["added_tokens"]:
      token["special"] |= "_turn>" in token["content"]
  tok = get_tokenizer(edited(change))
  assert [tok.piece(i) for i in tok.to_int("<start_of_turn><end_of_turn>")] == [
      "<start_of_turn>", "<end_of_turn>"]


def test_tokensets_are_appended_to_those_that_are_there(edited):
  tok = get_tokenizer(edited(lambda contents: None, ("loc", "seg")))
  check_single_ids(tok)
  known = get_tokenizer(NAMES["hf"])
  assert tok.to_int("<loc0015><seg007>") == known.to_int("<loc0015><seg007>")
  assert tok.to_int("<loc0016><seg008>") == [925, 925 + 1024 - 16]
  assert tok.vocab_size == 925 + 1152 - 24


def test_no_truncation_and_no_padding(edited):
  def change(contents):
    contents["truncation"] = dict(direction="Right", max_length=3, strategy="LongestFirst",
                                  stride=0)
    contents["padding"] = dict(strategy={"Fixed": 9}, direction="Left", pad_to_multiple_of=None,
                               pad_id=0, pad_type_id=0, pad_token="<pad>")
  tok = get_tokenizer(edited(change))
  for text in ("cat", "a quick brown fox jumps"):
    assert tok.to_int(text) == get_tokenizer(NAMES["hf"]).to_int(text)


def test_control_pieces_are_named_beside_the_file(tmp_path):
  shutil.copyfile(GEMMA / "tokenizer.json", tmp_path / "tokenizer.json")
  path = str(tmp_path / "tokenizer.json")
  usual = get_tokenizer(f"hf({path!r})")
  assert (usual.pad_token, usual.bos_token, usual.eos_token) == (0, 2, 1)
  (tmp_path / "special_tokens_map.json").write_text(json.dumps(
      {"eos_token": {"content": "<end_of_turn>"}, "bos_token": "<mask>"}))
  (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<unk>"}))
  told = get_tokenizer(f"hf(file={path!r})")  # another string, so it is read again
  turn = told.to_int("<end_of_turn>")
  assert (told.pad_token, told.bos_token, [told.eos_token]) == (0, 3, turn)


def test_no_bos(edited):
  def change(contents):
    contents["added_tokens"] = [t for t in contents["added_tokens"] if t["content"] != "<bos>"]
    contents["model"]["vocab"]["<start>"] = contents["model"]["vocab"].pop("<bos>")
  tok = get_tokenizer(edited(change))
  assert tok.bos_token == -1
  with pytest.raises(ValueError, match="tokenizer.json has no bos piece"):
    tok.to_int("cat", bos=True)


@pytest.mark.parametrize("contents, message", [
    ("{'a': 1", "bad.json, line 1, column 2: not valid JSON"),
    ("[1, 2]", "bad.json describes no model"),
    ('{"class_name": "GemmaTokenizer", "registered_name": "keras_hub>GemmaTokenizer"}',
     "bad.json describes no model.*settings of a KerasHub tokenizer"),
    ('{"model": {"type": "Morse", "vocab": {}}}', "cannot read .*bad.json"),
    ('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}', "cannot read .*bad.json"),
])
def test_a_bad_tokenizer_json(tmp_path, contents, message):
  (tmp_path / "bad.json").write_text(contents)
  with pytest.raises(ValueError, match=message):
    get_tokenizer(f"hf({str(tmp_path / 'bad.json')!r})")


@pytest.mark.parametrize("vocab, merges, message", [
    ('{"a": 0', "", "vocab.json, line 1, column 8: not valid JSON"),
    ('["a"]', "", "vocab.json is not a dict"),
    ('{"a": "0"}', "", "vocab.json is not a dict"),
    ('{"a": 0, "b": 1}', "#version: 0.2\na b\n",
     "merges.txt, line 2: the merge 'a b' needs the piece 'ab', which is not in .*vocab.json"),
    ('{"a": 0, "b": 1}', "a c\n", "merges.txt, line 1: the merge 'a c' needs the piece 'c'"),
    ('{"a": 0, "b": 1}', "a b c\n", "merges.txt, line 1: expected two pieces, got 'a b c'"),
    ('{"a": 0, "b": 1}', b"\xff\xfe", "merges.txt is not UTF-8"),
])
def test_bad_files_of_a_bpe(tmp_path, vocab, merges, message):
  (tmp_path / "vocab.json").write_text(vocab)
  (tmp_path / "merges.txt").write_bytes(merges if isinstance(merges, bytes) else merges.encode())
  with pytest.raises(ValueError, match=message):
    get_tokenizer(f"bpe({str(tmp_path / 'vocab.json')!r}, {str(tmp_path / 'merges.txt')!r})")


def test_missing_files():
  with pytest.raises(FileNotFoundError, match="Cannot read the tokenizer file 'no/tokenizer.json'"):
    get_tokenizer("hf('no/tokenizer.json')")
  with pytest.raises(FileNotFoundError, match="Cannot read the tokenizer vocabulary 'no.json'"):
    get_tokenizer("bpe('no.json', 'no.txt')")
  with pytest.raises(FileNotFoundError, match="Cannot read the tokenizer merges 'no.txt'"):
    get_tokenizer(f"bpe({str(OPT / 'vocab.json')!r}, 'no.txt')")


def test_bytes_without_a_piece_become_unk(tmp_path):
  (tmp_path / "vocab.json").write_text('{"<unk>": 0, "a": 1, "b": 2, "ab": 3}')
  (tmp_path / "merges.txt").write_text("a b\r\n")
  tok = get_tokenizer(
      f"bpe({str(tmp_path / 'vocab.json')!r}, {str(tmp_path / 'merges.txt')!r})")
  assert tok.to_int("abxa") == [3, 0, 1] and tok.pad_token == tok.eos_token == -1


def share_an_id(contents):
  contents["model"]["vocab"]["the"] = contents["model"]["vocab"]["a"]


def lack_unk_and_bytes(contents):
  contents["model"] |= {"unk_token": None, "byte_fallback": False}


def grow_texts(contents):
  doubled = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
  contents["normalizer"] = {"type": "Sequence", "normalizers": [
      {"type": "Sequence", "normalizers": [doubled] * 20}] * 2}


@pytest.mark.parametrize("change,message", [
    (share_an_id, "gives '(the|a)' and '(the|a)' one id"),
    (lack_unk_and_bytes, "texts would lose characters"),
    (grow_texts, "a normalizer that makes texts more than 100 times as long"),
    (lambda c: c["model"]["vocab"].update(huge=2**31), "has ids of 10,000,000 and more"),
    (lambda c: c.update(added_tokens=[7]), "cannot be read")])
def test_a_hostile_tokenizer_json(edited, change, message):
  with pytest.raises(ValueError, match=message):
    get_tokenizer(edited(change))


def test_a_regular_expression_without_end_is_one_error(edited):
  split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
  tok = get_tokenizer(edited(lambda c: c.update(pre_tokenizer=split)))
  assert tok.to_str(tok.to_int("a cat")) == "a cat"
  with pytest.raises(ValueError, match="has a regular expression that takes too long on this text"):
    tok.to_int("a" * 40 + "!")
