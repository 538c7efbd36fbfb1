"""Crossmodal-3600: one line of all languages for each photograph, a split for each language."""
import pytest

from big_vlm.datasets import xm3600


@pytest.fixture
def two_languages(monkeypatch):
  assert len(xm3600.Xm3600.SPLITS) == 36
  monkeypatch.setattr(xm3600.Xm3600, "SPLITS", ("en", "quz"))  # 36 splits take a while


def row(key):
  captions = {language: {"caption": [f"A {language}.", "Two."], "caption/tokenized": [
      f"A {language} ."], "caption/tokenized/lowercase": ["a"]} for language in xm3600.LANGUAGES}
  return {"image/key": key, "image/locale": "quz", **captions}


def test_release(release, picture, two_languages):
  splits = release("xm3600", {"captions.jsonl": [row("0a"), row("0b")],
                              "images/0a.jpg": picture(1), "images/0b.jpg": picture(2)})
  assert [x["language"] for x in splits["en"]] == ["en", "en"]
  first, second = sorted(splits["quz"], key=lambda x: x["image/id"])
  assert first["image/id"] == "0a_quz" and first["image"] == picture(1)
  assert second["image"] == picture(2) and second["language"] == "quz"
  assert list(first["captions"]) == ["A quz.", "Two."]
  assert list(first["captions/tokenized"]) == ["A quz ."]
