import json
import pathlib
import re

import numpy as np
import pytest

import big_vlm
from big_vlm.training import text_lengths
from big_vlm.training.text_lengths import default
from pp.builder import get_preprocess_fn
from pp.context import Context
from pp.tokenizer import get_tokenizer

TOKENIZER = f"sp('{pathlib.Path(big_vlm.__file__).parent}/digits/tokenizer.model')"


def write(path, rows):
  path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
  return str(path)


def files(*paths):
  return [dict(name="jsonl", path=path) for path in paths]


def row(words, **more):
  return {"prefix": "ocr", "suffix": " 7" * words, **more}


def tokens(found):
  return sorted(found.tokens.tolist())


def test_the_longest_of_all_files_and_a_tenth(tmp_path):
  train = write(tmp_path / "train.jsonl", [row(1), row(20), row(3)])
  val = write(tmp_path / "val.jsonl", [row(2), row(30)])
  short, long = (text_lengths.read(files(path), TOKENIZER) for path in (train, val))
  assert tokens(short)[-1] < tokens(long)[-1] and tokens(long)[0] < 9
  value, reason = default(files(train, val), TOKENIZER)
  assert value % 8 == 0 and tokens(long)[-1] * 1.1 <= value < tokens(long)[-1] * 1.1 + 8
  assert reason == f"{tokens(long)[-1]} are in {val}, line 2, the most of 5 lines"
  # A text-only model reads no separator.
  assert tokens(text_lengths.read(files(val), TOKENIZER, image=False)) == [
      n - 1 for n in tokens(long)]


def test_a_row_of_this_length_is_whole(tmp_path):
  """Training reads all but the eos, which it predicts alone."""
  path = write(tmp_path / "a.jsonl", [row(9)])
  [most] = text_lengths.read(files(path), TOKENIZER).tokens
  cut = lambda length: get_preprocess_fn("text_layout", Context(TOKENIZER, length))(row(9))["text"]
  assert get_tokenizer(TOKENIZER).eos_token == cut(most)[-1] != cut(most - 1)[-1]


def test_exceptions_are_cut_and_named(tmp_path):
  path = write(tmp_path / "a.jsonl", [row(1), row(600), row(700), row(10**6 // 8)])
  value, reason = default(files(path), TOKENIZER)
  assert value == text_lengths.MOST and "line 4, the most of 4 lines; 3 of them are cut" in reason


def test_of_many_lines_the_longest_and_some_others_are_read(tmp_path, monkeypatch):
  monkeypatch.setattr(text_lengths, "LINES", 20)
  path = write(tmp_path / "a.jsonl", [row(40 if i == 777 else i % 3) for i in range(1000)])
  found = text_lengths.read(files(path), TOKENIZER)
  assert 10 < len(found.tokens) <= 20 and max(found.tokens) > 40 and found.lines == 1000
  assert "line 778, the most of 19 lines read of 1,000" in default(files(path), TOKENIZER).reason


def test_no_more_bytes_than_there_is_time_for(monkeypatch):
  monkeypatch.setattr(text_lengths, "BYTES", 800)
  sizes = np.array([99, 100, 10, 10**9, 60, 40, 30, 99, 98, 97, 96])
  chosen = text_lengths._chosen(sizes)
  assert {0, 7, 8, 9} <= set(chosen.tolist()) and not {1, 3} & set(chosen.tolist())
  assert sizes[chosen].sum() <= 800


@pytest.mark.parametrize("rows,reason", [
    (None, "no text is counted: Cannot read the JSONL file .*/a.jsonl$"),
    ([], "no text is counted: .* has no lines"),
    (["{", {"image": "a.png"}, {"prefix": 1, "suffix": "7"}], "no line .* has a prefix and a suf")])
def test_what_cannot_be_counted(tmp_path, rows, reason):
  """The training refuses such files by name; until then any number does."""
  path = str(tmp_path / "a.jsonl")
  if rows is not None:
    write(tmp_path / "a.jsonl", rows)
  value, why = default(files(path), TOKENIZER)
  assert value == text_lengths.UNKNOWN
  assert re.search(reason, why), why


def test_lines_that_are_broken_are_left_out(tmp_path):
  path = write(tmp_path / "a.jsonl", ["{", row(3)])
  assert len(text_lengths.read(files(path), TOKENIZER).tokens) == 1


def test_a_tokenizer_that_is_not_there(tmp_path):
  path = write(tmp_path / "a.jsonl", [row(1)])
  assert default(files(path), "sp('nowhere.model')")[0] == text_lengths.UNKNOWN
