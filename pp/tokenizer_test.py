import pathlib
import pickle

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2

from pp.tokenizer import check_single_ids, difference, get_tokenizer, train_sentencepiece

TEXTS = ["detect cat ; dog\n<loc0001> cat", "caption en\na quick brown fox", "what is it?"] * 4


@pytest.fixture(scope="module")
def path(tmp_path_factory):
  path = tmp_path_factory.mktemp("tok") / "toy.model"
  train_sentencepiece(TEXTS, path, 300)
  return str(path)


@pytest.fixture(scope="module")
def tok(path):
  return get_tokenizer(f"sp({path!r}, tokensets=('loc', 'seg'))")


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def plain(request, tmp_path_factory):
  path = tmp_path_factory.mktemp("tok") / f"{request.param}.model"
  return train_sentencepiece(TEXTS, path, 300, model_type=request.param)


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"))


@given(ANY_TEXT)
@example("  two  spaces \n\n\t\0 \r\n e\u0301 \u3000 \ufeff 中 🙂 ")
@example("<eos><bos><pad><unk><0x41><loc0001>")
def test_every_text_comes_back(plain, text):
  assert plain.to_str(plain.to_int(text)) == text


@given(ANY_TEXT)
@example("detect <loc0000><loc1023> cat<seg127>")
def test_every_text_comes_back_with_added_pieces(tok, text):
  assert tok.to_str(tok.to_int(text, bos=True, eos=True)) == text


def test_special_ids_are_those_of_gemma(plain):
  assert (plain.pad_token, plain.eos_token, plain.bos_token) == (0, 1, 2)
  assert [plain.piece(i) for i in range(5)] == ["<pad>", "<eos>", "<bos>", "<unk>", "\n"]
  assert 261 < plain.vocab_size <= 300


def test_newline_never_merges(plain):
  a, b = plain.to_int("cat"), plain.to_int("dog")
  assert plain.to_int("cat\ndog\n\n") == [*a, 4, *b, 4, 4]


def test_digits_never_merge(tmp_path):
  tok = train_sentencepiece(["in 2024 or 2024", "2024"] * 9, tmp_path / "digits.model", 400)
  two, zero, four = [tok.to_int(d)[0] for d in "204"]
  assert tok.to_int("2024") == [two, zero, two, four] and tok.piece(two) == "2"


@pytest.mark.parametrize("text", ["detect caf\udce9", "a \ud83d cat"])
def test_half_a_character_is_named(text, tok):
  with pytest.raises(ValueError, match="half a character at"):
    tok.to_int(text)


def test_control_pieces_in_a_text_are_ordinary_characters(tok):
  assert not {0, 1, 2, 3} & set(tok.to_int("<pad><eos><bos><unk>"))


def test_training_is_deterministic(path, tmp_path):
  train_sentencepiece(TEXTS, tmp_path / "again.model", 300)
  assert (tmp_path / "again.model").read_bytes() == pathlib.Path(path).read_bytes()


def test_too_small_a_vocabulary(tmp_path):
  with pytest.raises(ValueError, match="vocab_size=100"):
    train_sentencepiece(TEXTS, tmp_path / "x.model", 100)


def test_added_pieces_are_one_id_each_and_appended_loc_before_seg(path, tok):
  base = get_tokenizer(f"sp({path!r})").vocab_size
  assert tok.to_int("<loc0000><loc1023><seg000><seg127>") == [
      base, base + 1023, base + 1024, base + 1151]
  assert tok.vocab_size == base + 1152
  check_single_ids(tok)


def test_a_piece_that_exists_keeps_its_id(path, tmp_path):
  seg = get_tokenizer(f"sp({path!r}, tokensets='seg')")
  baked = tmp_path / "baked.model"
  baked.write_bytes(seg._sp.serialized_model_proto())
  again = get_tokenizer(f"sp({str(baked)!r}, ('loc', 'seg(n=130)'))")
  assert again.to_int("<seg000><seg127>") == seg.to_int("<seg000><seg127>")
  assert again.to_int("<seg128>") == [again.vocab_size - 2]
  assert again.vocab_size == seg.vocab_size + 1024 + 2


@pytest.mark.parametrize("kind", ["USER_DEFINED", "NORMAL", "CONTROL", "UNUSED"])
def test_baked_pieces_stay_in_place_whatever_their_type(path, tmp_path, kind):
  proto = sentencepiece_model_pb2.ModelProto()
  proto.ParseFromString(get_tokenizer(f"sp({path!r}, ('loc', 'seg'))").serialized())
  size = len(proto.pieces)
  for piece in proto.pieces[-1152:]:  # as in a released PaliGemma: the last 1152
    piece.type, piece.score = proto.pieces[0].Type.Value(kind), -5.
  (tmp_path / "released.model").write_bytes(proto.SerializeToString())
  tok = get_tokenizer(f"sp({str(tmp_path / 'released.model')!r}, ('loc', 'seg'))")
  assert tok.vocab_size == size
  assert tok.to_int("<loc0000><loc1023><seg000><seg127>") == [
      size - 1152, size - 129, size - 128, size - 1]
  assert tok.to_str(tok.to_int("cat<loc0007>")) == "cat<loc0007>"


def test_check_single_ids_names_what_is_missing(path):
  seg = get_tokenizer(f"sp({path!r}, tokensets=('seg',))")
  with pytest.raises(ValueError, match="does not know <loc0000>, <loc1023>: .* tokensets"):
    check_single_ids(seg)


def test_bos_eos_lists_and_bytes(tok):
  cat = tok.to_int("cat")
  assert tok.to_int("cat", bos=True, eos=True) == [2, *cat, 1]
  assert tok.to_int(["cat", b"cat"], eos=True) == [[*cat, 1]] * 2
  assert tok.to_int("") == [] and tok.to_int([]) == []


@pytest.mark.parametrize("wrap", [list, tuple, np.array, lambda ids: np.array(ids, np.int32)])
def test_to_str(tok, wrap):
  cat = tok.to_int("cat")
  assert tok.to_str(wrap([2, *cat, 1, *cat, 0])) == "cat"
  assert tok.to_str(wrap([2, *cat, 1, *cat, 0]), stop_at_eos=False) == "catcat"
  assert tok.to_str(wrap([cat, cat])) == ["cat", "cat"]


def test_to_str_of_nothing_and_of_strange_ids(tok):
  assert tok.to_str([]) == "" and tok.to_str([[], []]) == ["", ""]
  assert tok.to_str(np.zeros((0, 4), int)) == [] and tok.to_str([1]) == ""
  assert tok.to_str([10**6, *tok.to_int("cat"), -1]) == "cat"
  assert tok.to_str([tok.to_int("cat"), []]) == ["cat", ""]


def test_piece(tok):
  assert tok.piece(tok.to_int("<loc0007>")[0]) == "<loc0007>"
  with pytest.raises(ValueError, match=f"Token id -1 is not in 0..{tok.vocab_size - 1}"):
    tok.piece(-1)


def test_one_object_per_name_and_it_travels_to_workers(path, tok):
  assert get_tokenizer(f"sp({path!r}, tokensets=('loc', 'seg'))") is tok
  again = pickle.loads(pickle.dumps(tok))
  assert again.to_int("cat <loc0001>", bos=True) == tok.to_int("cat <loc0001>", bos=True)
  assert again.vocab_size == tok.vocab_size


def test_a_replaced_file_is_read_again(path, tmp_path):
  train_sentencepiece(["one text"] * 9, tmp_path / "t.model", 280)
  name = f"sp({str(tmp_path / 't.model')!r})"
  first = get_tokenizer(name)
  assert get_tokenizer(name) is first
  (tmp_path / "t.model").write_bytes(pathlib.Path(path).read_bytes())
  assert get_tokenizer(name).vocab_size != first.vocab_size


def test_gemma_finds_its_file(path, monkeypatch):
  monkeypatch.delenv("BIG_VLM_GEMMA_TOKENIZER", raising=False)
  with pytest.raises(ValueError, match="environment variable BIG_VLM_GEMMA_TOKENIZER"):
    get_tokenizer("gemma(tokensets=('loc', 'seg'))")
  by_name = get_tokenizer(f"gemma(tokensets=('loc', 'seg'), model={path!r})")
  monkeypatch.setenv("BIG_VLM_GEMMA_TOKENIZER", path)
  by_variable = get_tokenizer("gemma(tokensets=('loc', 'seg'))")
  assert by_name.vocab_size == by_variable.vocab_size > 1152


@pytest.mark.parametrize("data, message", [
    (b"not a model at all", "bad.model of 18 bytes is not a SentencePiece model"),
    (b"", "bad.model of 0 bytes is not a SentencePiece model: it holds no pieces")])
def test_a_file_that_is_no_model(tmp_path, data, message):
  (tmp_path / "bad.model").write_bytes(data)
  with pytest.raises(ValueError, match=message):
    get_tokenizer(f"sp({str(tmp_path / 'bad.model')!r})")


def test_errors():
  with pytest.raises(FileNotFoundError, match="Cannot read the tokenizer model .*no.model"):
    get_tokenizer("sp('no.model')")
  with pytest.raises(ValueError, match=r"a/b.model is a file: .*\"sp\('a/b.model', tokensets="):
    get_tokenizer("a/b.model")
  with pytest.raises(ValueError, match="Unknown tokenizer 'spm'. Did you mean 'sp'"):
    get_tokenizer("spm('x')")
  with pytest.raises(ValueError, match="tokensets"):
    get_tokenizer("sp('x', tokenset=())")


def test_tokenizers_are_compared_by_their_pieces(path, tmp_path):
  copy = tmp_path / "copy.model"
  copy.write_bytes(pathlib.Path(path).read_bytes())
  name, other = (f"sp({str(p)!r}, tokensets=('loc', 'seg'))" for p in (path, copy))
  assert difference(name, other) == difference(name, name) == ""
  plain = f"sp({path!r})"
  size = get_tokenizer(plain).vocab_size
  assert difference(name, plain).startswith(f"piece {size} is <loc00")
  assert difference(plain, name).startswith(f"piece {size} is missing in {plain} and <loc00")
  train_sentencepiece(["other texts altogether"] * 9, tmp_path / "b", 300)
  assert difference(plain, f"sp('{tmp_path}/b')").startswith("piece ")


def test_the_file_format_of_a_tokenizer_does_not_count():
  folder = pathlib.Path(__file__).parent.parent / "tests/golden/tokenizers/gemma"
  model, file = f"sp('{folder}/tokenizer.model')", f"hf('{folder}/tokenizer.json')"
  assert get_tokenizer(file).vocab_size > get_tokenizer(model).vocab_size  # it has <image>
  assert difference(model, file) == difference(file, model) == ""
