"""Tokenizer files of one folder agree, or are refused by name."""
import json
import shutil

import pytest

from pp import tokenizer_files
from pp.tokenizer import get_tokenizer
from pp.tokenizer_fast_test import GEMMA


def test_a_token_that_was_added_is_not_lost(tmp_path):
  folder = shutil.copytree(GEMMA, tmp_path / "m")
  name = tokenizer_files.find(folder)
  rows = get_tokenizer(name).vocab_size
  tokenizer_files.check(folder, name, rows)
  (folder / "added_tokens.json").write_text(json.dumps({"<image>": rows, "<tool>": rows + 1}))
  with pytest.raises(ValueError, match="added_tokens.json has the piece '<tool>' as id"):
    tokenizer_files.check(folder, name, rows)
