"""tokenizer.json gives the ids of the SentencePiece model it was made from."""
import json

import pytest
import tokenizers

from big_vlm.checkpoints import hf_tokenizer
from big_vlm.families import paligemma, paligemma_hf
from pp import tokenizer_files
from pp.tokenizer import get_tokenizer, train_sentencepiece

TEXTS = ["detect cat ; dog<loc0001><loc1023><seg127>", "caption en\n", "héllo  wörld   zwei",
         "日本語 と 한국어 العربية", "12345 3.14\t\n\n x", "🦒 giraffe", " leading", "trailing ",
         "", " "]
CORPUS = [*TEXTS, *(f"the quick brown fox jumps over the lazy dog {i}" for i in range(200))]


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def spec(request, tmp_path_factory):
  """A tokenizer string of either kind, with loc and seg pieces."""
  file = tmp_path_factory.mktemp(request.param) / "a.model"
  train_sentencepiece(CORPUS, file, 420, request.param)
  return f"sp(model='{file}', tokensets=('loc', 'seg'))"


def config(vocab_size):
  ours = paligemma.config({"variant": "tiny"}, {"variant": "tiny", "vocab_size": vocab_size})
  return paligemma_hf.export_config(ours, "float32")


def test_ids_are_those_of_sentencepiece(spec, tmp_path):
  ours = get_tokenizer(spec)
  hf_tokenizer.write(tmp_path, config(ours.vocab_size), spec)
  external = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
  for text in TEXTS:
    ids = external.encode(text, add_special_tokens=False).ids
    assert ids == ours.to_int(text), text
    assert external.decode(ids) == ours.to_str(ids) == text
  assert external.encode("cat").ids == ours.to_int("cat", bos=True)
  assert external.token_to_id("<image>") == ours.vocab_size


def test_control_pieces_in_a_text_are_letters_with_either_file(spec, tmp_path):
  ours = get_tokenizer(spec)
  hf_tokenizer.write(tmp_path, config(ours.vocab_size), spec)
  for special in (True, False):  # a file that forgets the flag means the same pieces
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text())
    for token in content["added_tokens"][:4]:
      token["special"] = special
    file.write_text(json.dumps(content))
    other = get_tokenizer(f"hf('{file}')")
    for text in ("<eos>", "a cat<eos> b", "<bos>a", "<pad><unk>", *TEXTS):
      assert other.to_int(text) == ours.to_int(text), text
    assert (other.eos_token, other.piece(1), other.to_str([2, 264, 1])) == (
        1, "<eos>", ours.to_str([264]))


def test_read_back_it_is_the_same_tokenizer(spec, tmp_path):
  hf_tokenizer.write(tmp_path, config(get_tokenizer(spec).vocab_size), spec)
  again = get_tokenizer(tokenizer_files.find(tmp_path, multimodal=True))
  assert again.vocab_size == get_tokenizer(spec).vocab_size
  assert again.to_int(TEXTS) == get_tokenizer(spec).to_int(TEXTS)


def test_unused_pieces_put_the_image_token_behind_a_padded_vocabulary(spec, tmp_path):
  size = get_tokenizer(spec).vocab_size
  hf_tokenizer.write(tmp_path, config(size + 5), spec)
  external = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
  assert external.token_to_id("<image>") == size + 5
  with pytest.raises(ValueError, match="do not belong together"):
    hf_tokenizer.write(tmp_path, config(size - 1), spec)


def test_files_say_what_auto_classes_need(spec, tmp_path):
  hf_tokenizer.write(tmp_path, config(get_tokenizer(spec).vocab_size), spec)
  load = lambda name: json.loads((tmp_path / name).read_text())
  image, names = load("preprocessor_config.json"), load("tokenizer_config.json")
  assert names["padding_side"] == "left"  # a batch of prompts continues behind each prompt
  assert image["image_seq_length"] == 4 and image["size"] == {"height": 16, "width": 16}
  assert image["processor_class"] == names["processor_class"] == "PaliGemmaProcessor"
  assert names["tokenizer_class"] in ("GemmaTokenizer", "PreTrainedTokenizerFast")
  assert (names["bos_token"], names["eos_token"], names["pad_token"]) == ("<bos>", "<eos>", "<pad>")
  ids = dict(pad_token_id=0, eos_token_id=1, bos_token_id=2)
  assert load("generation_config.json") == {"_from_model_config": True, **ids}
  assert load("config.json")["text_config"].items() >= ids.items()


def test_a_model_without_tokenizer_has_its_configs_alone(tmp_path):
  hf_tokenizer.write(tmp_path, config(128), None)
  assert {p.name for p in tmp_path.iterdir()} == {
      "config.json", "generation_config.json", "preprocessor_config.json"}


def test_a_tokenizer_json_and_a_byte_level_bpe_go_along(spec, tmp_path):
  source, out = tmp_path / "source", tmp_path / "out"
  source.mkdir(), out.mkdir()
  size = get_tokenizer(spec).vocab_size
  hf_tokenizer.write(source, config(size), spec)
  text = {"model_type": "gemma", "vocab_size": size}
  hf_tokenizer.write(out, text, f"hf(file='{source}/tokenizer.json')")
  again = get_tokenizer(tokenizer_files.find(out))
  assert again.to_int(TEXTS) == get_tokenizer(spec).to_int(TEXTS)
  (source / "vocab.json").write_text(
      '{"<s>": 0, "<pad>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5, "<unk>": 6}')
  (source / "merges.txt").write_text("#version: 0.2\na b\n")
  bpe = tmp_path / "bpe"
  bpe.mkdir()
  hf_tokenizer.write(bpe, {"model_type": "opt"},
                     f"bpe(vocab='{source}/vocab.json', merges='{source}/merges.txt')")
  assert get_tokenizer(tokenizer_files.find(bpe)).to_int("aba") == [5, 3]
  assert json.loads((bpe / "config.json").read_text())["bos_token_id"] == 2
