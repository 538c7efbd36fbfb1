import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pp.token_bytes import token_bytes
from pp.tokenizer import get_tokenizer
from pp.tokenizer_fast_test import NAMES


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=50)
@given(text=st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"])))
def test_the_bytes_of_a_texts_tokens_are_the_text(name, text):
  tok = get_tokenizer(NAMES[name])
  table = token_bytes(tok)
  assert b"".join(table[i] for i in tok.to_int(text)) == text.encode()


def test_pieces():
  tok = get_tokenizer(NAMES["sp"])
  table = token_bytes(tok)
  assert len(table) == tok.vocab_size
  assert table[tok.eos_token] == table[tok.bos_token] == b""
  location, = tok.to_int("<loc0003>")
  assert table[location] == b"<loc0003>" and b"\xff" in table and b" " in table
