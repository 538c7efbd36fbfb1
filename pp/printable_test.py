"""What others wrote reaches a terminal as text."""
import io
import json
import unicodedata

import hypothesis
import pytest
from hypothesis import strategies as st

from pp.printable import Printable, printable


@pytest.mark.parametrize("text, shown", [
    ("cat.png", "cat.png"), ("né 猫 👩‍🚀 \\x1b", "né 猫 👩‍🚀 \\x1b"),
    ("\x1b[2J", r"\u001b[2J"), ("\x9b2J", r"\u009b2J"), ("a\rb\nc", r"a\u000db\u000ac"),
    ("\u202egnp.exe", r"\u202egnp.exe"), ("\ud83d", r"\ud83d"), ("\U000e0041", r"\udb40\udc41"),
    (b"\x1b", r"b'\x1b'"),
    ("x" * 5_000_000, "x" * 150 + "... [4,999,800 characters] ..." + "x" * 50)])
def test_what_acts_is_escaped_and_what_is_long_is_cut(text, shown):
  assert printable(text) == shown


@hypothesis.given(st.text(st.characters(codec=None), max_size=50))
def test_any_text_can_be_printed_and_json_keeps_its_meaning(text):
  stream = Printable(raw := io.StringIO())
  print(json.dumps(text, ensure_ascii=False), file=stream)
  assert json.loads(raw.getvalue()) == text
  assert not {unicodedata.category(c) for c in printable(text)} & {"Cc", "Cs", "Zl", "Zp"}


def test_it_is_a_text_stream_to_libraries_that_probe_it():
  with pytest.raises(TypeError, match="not bytes"):
    Printable(io.StringIO()).write(b"")
