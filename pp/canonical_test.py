import pytest

from pp.canonical import SPELLINGS, canonical


@pytest.mark.parametrize("text, want", [
    ("A Photo of_a cat.", "a photo of a cat"),
    ("a close-up photo of a {}.", "a closeup photo of a"),
    ("  runs \n of\twhite   space ", "runs of white space"),
    ("ÉTÉ, Straße & ΣΊΣΥΦΟΣ!", "été straße σίσυφος"), ("...", ""), ("", "")])
def test_canonical(text, want):
  assert canonical(text) == want


def test_what_is_kept_stays_where_it_is_whole():
  assert canonical("A {photo} of a {}.", keep="{}") == "a photo of a {}"
  assert canonical("tench, Tinca-tinca", keep=",") == "tench, tincatinca"


@pytest.mark.parametrize("spelling, want", [
    ("ascii", "École de_nuit, paris"), ("unicode", "école de_nuit, paris"),
    ("canonical", "école de nuit paris"), ("siglip_tokenizer", "école denuit paris"),
    ("as_is", "École de_Nuit, PARIS")])
def test_spellings(spelling, want):
  assert SPELLINGS[spelling]("École de_Nuit, PARIS") == want
