import json
import os
import pathlib
import shutil

import pytest

from pp.tokenizer import get_tokenizer
from pp.tokenizer_fast_test import GEMMA, NAMES, OPT
from pp.tokenizer_files import files, find, load, save, serialized

TEXT = "detect cat <loc0003> naïve 中 ; dog"
SP, HF = str(GEMMA / "tokenizer.model"), str(GEMMA / "tokenizer.json")


def listing(folder):
  return sorted(p.name for p in pathlib.Path(folder).iterdir())


def test_files():
  assert files(NAMES["sp"]) == files(f"gemma(model={SP!r})") == {"model": SP}
  assert files(NAMES["hf"]) == {"file": HF}
  assert files(NAMES["bpe"]) == {"vocab": str(OPT / "vocab.json"),
                                 "merges": str(OPT / "merges.txt")}


@pytest.mark.parametrize("kind, kept", [
    ("sp", ["tokenizer.model"]), ("hf", ["tokenizer.json", "tokenizer_config.json"]),
    ("bpe", ["merges.txt", "vocab.json"])])
def test_save_and_load(tmp_path, kind, kept):
  (tmp_path / "W").mkdir()
  description = save(NAMES[kind], tmp_path / "W")
  assert listing(tmp_path / "W") == kept
  moved = (tmp_path / "W").rename(tmp_path / "moved")
  name = load(json.loads(json.dumps(description)), moved)
  again, tok = get_tokenizer(name), get_tokenizer(NAMES[kind])
  assert again.to_int(TEXT, bos=True, eos=True) == tok.to_int(TEXT, bos=True, eos=True)
  assert again.vocab_size == tok.vocab_size
  assert set(files(name).values()) <= {str(moved / k) for k in kept}
  assert save(name, moved) == description  # a resumed training saves into its own folder
  assert get_tokenizer(name).to_int(TEXT) == tok.to_int(TEXT)


@pytest.mark.parametrize("name, description", [
    (f"sp({SP!r}, ('loc',))", ["sp", {"tokensets": ["loc"]}]),  # arguments by place
    (f"sp({SP!r})", ["sp", {}]),
    (f"gemma(tokensets='seg(n=8)', model={SP!r})", ["gemma", {"tokensets": "seg(n=8)"}]),
    (f"hf({HF!r}, ('loc', 'seg'))", ["hf", {"tokensets": ["loc", "seg"]}])])
def test_description_keeps_the_other_arguments(tmp_path, name, description):
  assert save(name, tmp_path) == description
  assert get_tokenizer(load(description, tmp_path)).to_int(TEXT) == get_tokenizer(name).to_int(TEXT)


def test_gemma_by_the_environment(tmp_path, monkeypatch):
  monkeypatch.setenv("BIG_VLM_GEMMA_TOKENIZER", SP)
  assert save("gemma(tokensets=('loc',))", tmp_path) == ["gemma", {"tokensets": ["loc"]}]
  monkeypatch.delenv("BIG_VLM_GEMMA_TOKENIZER")
  assert load(["gemma", {}], tmp_path) == f"gemma(model='{tmp_path}/tokenizer.model')"
  with pytest.raises(ValueError, match="BIG_VLM_GEMMA_TOKENIZER"):
    save("gemma()", tmp_path)


def test_serialized_bakes_the_pieces_in(tmp_path):
  name = f"sp({SP!r}, ('loc', 'seg'))"
  (tmp_path / "vocabulary.spm").write_bytes(serialized(name))
  baked = get_tokenizer(f"sp({str(tmp_path / 'vocabulary.spm')!r})")
  text = "cat<loc1023><seg127><loc0000>"
  assert baked.to_int(text) == get_tokenizer(name).to_int(text)
  assert baked.vocab_size == get_tokenizer(name).vocab_size == 924 + 1152 - 24


def test_serialized_needs_sentencepiece():
  with pytest.raises(ValueError, match="is not a SentencePiece one"):
    serialized(NAMES["bpe"])


def lay(folder, *names):
  """Copies golden files to where a checkpoint has them; vocabulary.* are KerasHub's names."""
  sources = {"vocabulary.spm": GEMMA / "tokenizer.model", "vocabulary.json": OPT / "vocab.json",
             "tokenizer.model": GEMMA / "tokenizer.model",
             "tokenizer.json": GEMMA / "tokenizer.json", "vocab.json": OPT / "vocab.json",
             "merges.txt": OPT / "merges.txt"}
  for name in names:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sources[path.name], path)


KERAS = "assets/tokenizer/"


@pytest.mark.parametrize("names, kind, found", [
    (["tokenizer.json", "tokenizer.model"], "sp", ["tokenizer.model"]),
    (["tokenizer.json", "vocab.json", "merges.txt"], "hf", ["tokenizer.json"]),
    (["vocab.json", "merges.txt"], "bpe", ["vocab.json", "merges.txt"]),
    ([KERAS + "vocabulary.spm"], "sp", [KERAS + "vocabulary.spm"]),
    ([KERAS + "vocabulary.json", KERAS + "merges.txt"], "bpe",
     [KERAS + "vocabulary.json", KERAS + "merges.txt"]),
    (["vocab.json"], None, []),
    ([], None, [])])
def test_find(tmp_path, names, kind, found):
  lay(tmp_path, *names)
  name = find(tmp_path)
  if kind is None:
    assert name is None
  else:
    assert name.startswith(kind + "(") and "tokensets" not in name
    assert list(files(name).values()) == [os.path.join(tmp_path, f) for f in found]
    assert get_tokenizer(name).to_str(get_tokenizer(name).to_int(TEXT)) == TEXT


@pytest.mark.parametrize("names", [["tokenizer.model"], ["tokenizer.json"],
                                   [KERAS + "vocabulary.spm"]])
def test_find_multimodal(tmp_path, names):
  lay(tmp_path, *names)
  tok = get_tokenizer(find(tmp_path, multimodal=True))
  assert len(tok.to_int("<loc1023><seg127>")) == 2


def test_settings_of_kerashub_are_no_tokenizer_json(tmp_path):
  (tmp_path / "tokenizer.json").write_text(json.dumps(
      {"module": "keras_hub.src.models.gemma", "class_name": "GemmaTokenizer",
       "config": {"name": "gemma_tokenizer"}, "registered_name": "keras_hub>GemmaTokenizer"}))
  assert find(tmp_path) is None
  lay(tmp_path, KERAS + "vocabulary.spm")
  assert files(find(tmp_path)) == {"model": str(tmp_path / KERAS / "vocabulary.spm")}


def test_errors(tmp_path):
  with pytest.raises(FileNotFoundError, match="Cannot read the tokenizer file 'no.model'"):
    save("sp('no.model')", tmp_path)
  assert listing(tmp_path) == []
  with pytest.raises(ValueError, match="Unknown tokenizer 'spm'. Did you mean 'sp'"):
    files("spm('x')")
  with pytest.raises(ValueError, match="Wrong arguments in the tokenizer `bpe"):
    files("bpe('vocab.json')")
