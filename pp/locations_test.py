import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pp.locations import Object, box_to_loc, format_objects, parse_objects

UNIT = st.floats(0, 1)
PART = st.sampled_from(["<loc0000>", "<loc1023>", "<loc1024>", "<loc12>", "<seg127>", "<seg128>",
                        "<loc", ">", ";", " ; ", " cat", "\n", "<loc٠٠٠٠>", "<seg000>" * 16])


def locs(*bins):
  return "".join(f"<loc{b:04d}>" for b in bins)


@pytest.mark.parametrize("box, want", [
    ((0, 0, 1, 1), (0, 0, 1023, 1023)),
    ((0.1, 0.25, 0.5, 0.75), (102, 256, 512, 767)),  # 102.3, 255.75, 511.5, 767.25
    ((0.5 / 1023, 1.5 / 1023, 2.5 / 1023, 3.5 / 1023), (0, 2, 2, 4)),  # half to even
    ((-0.2, -1e-9, 1.5, 2), (0, 0, 1023, 1023)),  # clipped
    (np.float32([0.1, 0.2, 0.3, 0.4]), (102, 205, 307, 409)),
])
def test_box_to_loc(box, want):
  assert box_to_loc(box) == locs(*want)


@pytest.mark.parametrize("box", [(0, 0, 1), (0, 0, 1, np.nan), (0, np.inf, 1, 1), [[0, 0, 1, 1]]])
def test_box_to_loc_refuses(box):
  with pytest.raises(ValueError, match="four finite numbers"):
    box_to_loc(box)


@given(st.tuples(UNIT, UNIT, UNIT, UNIT))
def test_there_and_back_within_half_a_bin(box):
  [(again, _, _)] = parse_objects(box_to_loc(box))
  np.testing.assert_allclose(again, box, atol=0.5 / 1023 + 1e-12)
  assert box_to_loc(again) == box_to_loc(box)


@pytest.mark.parametrize("text", ["", locs(1, 2, 3), locs(1, 2, 3, 1024), locs(1, 2, 3, 4, 5),
                                  "<loc1><loc2><loc3><loc4>"])
def test_a_box_has_four_locations(text):
  assert parse_objects(text) == []


BOX, FULL = (0.0, 0.0, 1.0, 1.0), locs(0, 0, 1023, 1023)
SEG = "".join(f"<seg{i:03d}>" for i in range(16))


@pytest.mark.parametrize("text, want", [
    ("", []),
    ("no objects here", []),
    (f"{FULL} cat", [Object(BOX, "cat", None)]),
    (f"{FULL} cat ; {locs(1023, 0, 0, 1023)} a dog", [
        Object(BOX, "cat", None), Object((1.0, 0.0, 0.0, 1.0), "a dog", None)]),
    (f"{FULL}cat;{FULL}dog", [Object(BOX, "cat", None), Object(BOX, "dog", None)]),
    (f" {FULL}\n\n", [Object(BOX, "", None)]),
    (f"{FULL}{SEG} cat", [Object(BOX, "cat", tuple(range(16)))]),
    (f"{FULL} {SEG}", [Object(BOX, "", tuple(range(16)))]),
    (f"{FULL} a <b>", [Object(BOX, "a <b>", None)]),
    (f"x ; {FULL} cat", [Object(BOX, "cat", None)]),  # from here on: malformed pieces
    (f"cat {FULL}", []),
    (f"{FULL}{locs(7)} cat", []),
    (f"{FULL} {locs(7)} cat", []),
    (f"{FULL} cat {FULL} dog", []),
    (f"{locs(1, 2, 3)} cat ; {FULL} dog", [Object(BOX, "dog", None)]),
    (f"{locs(0, 0, 0, 1024)} cat", []),
    (f"{FULL}{SEG[:-8]} cat", []),
    (f"{FULL}{SEG}<seg000> cat", []),
    (f"{FULL}{SEG[:-8]}<seg128> cat", []),
    (f"{FULL} cat ; <loc0", [Object(BOX, "cat", None)]),  # cut off by the length limit
])
def test_parse_objects(text, want):
  assert parse_objects(text) == want


@given(st.one_of(st.text(), st.lists(PART).map("".join)))
def test_parse_objects_takes_any_text(text):
  for box, label, seg in parse_objects(text):
    assert len(box) == 4 and 0 <= min(box) and max(box) <= 1
    assert label == label.strip() and ";" not in label
    assert seg is None or len(seg) == 16 and max(seg) < 128


@given(st.lists(st.tuples(st.tuples(UNIT, UNIT, UNIT, UNIT), st.sampled_from(["a dog", ""]))))
def test_what_is_written_can_be_read(objects):
  boxes, labels = [b for b, _ in objects], [n for _, n in objects]
  again = parse_objects(format_objects(boxes, labels))
  assert [o.label for o in again] == labels
  for o, box in zip(again, boxes):
    np.testing.assert_allclose(o.box, box, atol=0.5 / 1023 + 1e-12)


def test_format_objects():
  assert format_objects(np.array([[0, 0, 1, 1], [0, 0, 0, 0]]), ["cat", "dog"]) == (
      f"{FULL} cat ; {locs(0, 0, 0, 0)} dog")
  assert format_objects([], []) == format_objects([], [], []) == ""
  assert format_objects([BOX, BOX], ["cat", ""], [range(16)] * 2) == (
      f"{FULL}{SEG} cat ; {FULL}{SEG}")
  assert parse_objects(f"{FULL}{SEG} cat") == parse_objects(
      format_objects([BOX], ["cat"], [range(16)]))


@pytest.mark.parametrize("codes", [range(15), [128] * 16, [-1] * 16])
def test_a_mask_is_16_codes(codes):
  with pytest.raises(ValueError, match="16 codes in 0..127"):
    format_objects([BOX], ["cat"], [codes])


@pytest.mark.parametrize("boxes, labels, complaint", [
    ([BOX], [], "1 boxes need as many labels, got 0"),
    ([BOX], ["a; b"], "holds ';'"),
    ([BOX], ["<loc0001>"], "holds ';' or a location"),
])
def test_format_objects_refuses(boxes, labels, complaint):
  with pytest.raises(ValueError, match=complaint):
    format_objects(boxes, labels)
