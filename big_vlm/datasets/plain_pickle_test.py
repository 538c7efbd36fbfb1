"""Pickles of plain values are read in every protocol; what names code is refused, not run."""
import os
import pickle

import pytest

from big_vlm.datasets import plain_pickle

SHARED = ["left", "man"]
REFS = [{"ref_id": 3, "split": "val", "ids": (1, 2.5, True, False, None, (), -7, 2 ** 70),
         "sentences": [{"tokens": SHARED, "sent": "l'homme à gauche"}, {"tokens": SHARED}]}, {}, []]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values(protocol):
  got = plain_pickle.loads(pickle.dumps(REFS, protocol))
  assert got == REFS
  assert got[0]["sentences"][0]["tokens"] is got[0]["sentences"][1]["tokens"]


def test_python_2():
  """Its texts are byte strings, quoted in protocol 0 and with a length in protocol 2."""
  text = b"(lp0\n(dp1\nS'sent'\np2\nS\"the man's hat\"\np3\nsS'n'\nI01\nsS'id'\nL5L\nsa."
  assert plain_pickle.loads(text) == [{"sent": "the man's hat", "n": True, "id": 5}]
  assert plain_pickle.loads(b"\x80\x02]q\x00(U\x03catK\x05e.") == ["cat", 5]


class Evil:
  def __reduce__(self):
    return os.mkdir, ("evil",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_is_refused(protocol, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match="GLOBAL.*nothing of the file was run"):
    plain_pickle.loads(pickle.dumps([REFS, Evil()], protocol))
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("data", [
    b"", b".", b"hello", pickle.dumps(REFS)[:-9], b"K\x01K\x02.", b"e.", b"h\x05.", b"(K\x01d.",
    b"K\x01K\x02a.", b"](K\x01K\x02u.", b"}]K\x02s.", b"cos\nsystem\n.", b"P1\n.", b"\x82\x01.",
    b"(S'ls'\nios\nsystem\n.", b"C\x01a."])
def test_anything_else_is_an_error(data):
  with pytest.raises(ValueError, match="not a pickle of plain"):
    plain_pickle.loads(data)
