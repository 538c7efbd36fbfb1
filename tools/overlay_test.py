import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from PIL import ImageColor

from tools import overlay

BLACK = np.zeros((32, 32, 3), np.uint8)


def thing(box, label="3", mask=None, score=None):
  return types.SimpleNamespace(box=box, label=label, mask=mask, score=score)


def colour(i):
  return np.array(ImageColor.getrgb(overlay.COLOURS[i]))


def test_boxes_are_where_they_should_be():
  page = overlay.draw(BLACK, [thing((8, 16, 24, 32))], "detect 3\n3")
  assert page.width == 512 and page.height > 512  # 16 times as large, with two lines below
  drawn = np.argwhere((np.asarray(page)[:512] == colour(0)).all(-1))
  assert tuple(drawn.max(0)) == (384, 511) and drawn[:, 1].min() == 256
  assert not np.asarray(overlay.draw(BLACK)).any()


@pytest.mark.parametrize("box", [(24, 32, 8, 16), (0, 0, 0, 0), (32, 32, 32, 32), (-9, 3, 99, 5)])
def test_odd_boxes_are_drawn_inside_the_picture(box):
  page = np.asarray(overlay.draw(BLACK, [thing(box, "")], "x"))
  assert page[:512].any() and (page[512:520] == 255).all()


@pytest.mark.parametrize("shape,size", [
    ((8, 9), (513, 456)), ((1200, 4000), (1600, 480)), ((600, 800), (800, 600)),
    ((512, 8), (512, 512)), ((3000, 1), (512, 1600))])
def test_size_of_the_page(shape, size):
  assert overlay.draw(np.zeros((*shape, 3), np.uint8)).size == size


class Pen:
  """Takes down the rectangles that would be drawn."""

  def __init__(self):
    self.boxes = []

  def rectangle(self, box, fill):
    self.boxes.append(box)

  def text(self, *_, **__):
    pass


def tags(found, size=(640, 480)):
  pen = Pen()
  overlay._tags(pen, found, 1, size)
  return pen.boxes


coordinate = st.floats(-50, 700)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.tuples(*[coordinate] * 4), st.text("ab\x1e\n W中", max_size=99)),
                max_size=5))
def test_labels_stay_on_the_page(objects):
  found = [thing(box, label, score=0.5) for box, label in objects]
  for x0, y0, x1, y1 in tags(found):
    assert 0 <= x0 < x1 <= 640 and 0 <= y0 < y1 <= 480


def test_labels_make_room_for_each_other():
  boxes = tags([thing((100, 100, 300, 500), f"cat number {i}") for i in range(6)])
  assert len(boxes) == 6
  for i, a in enumerate(boxes):
    assert not any(overlay._common(a, b) for b in boxes[:i])


def test_labels_of_many_objects_are_smaller():
  few, many = ([thing((9, 9, 40, 40))] * n for n in (1, 200))
  height = lambda found: tags(found)[0][3] - tags(found)[0][1]
  assert height(few) == 24 and height(many) == 17


def test_a_mask_is_translucent_with_an_edge_in_full_colour():
  image = np.full((64, 64, 3), 200, np.uint8)
  mask = np.zeros((64, 64), bool)
  mask[16:48, 16:48] = True
  page = np.asarray(overlay.draw(image, [thing((0, 0, 0, 0), ""), thing((0, 0, 0, 0), "", mask)]))
  centre, outside, edge = page[256, 256], page[256, 100], page[256, 129]
  np.testing.assert_array_equal(outside, 200)
  np.testing.assert_array_equal(edge, colour(1))
  np.testing.assert_allclose(centre, 200 + (colour(1) - 200) * 110 / 255, atol=1)


@settings(max_examples=50, deadline=None)
@given(st.text(st.sampled_from("ab ж 中W\n"), max_size=80), st.integers(40, 200))
def test_wrap_keeps_every_letter_and_the_width(text, width):
  lines = overlay.wrap(text, 18, width)
  assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")
  assert all(overlay.font(18, line).getlength(line) <= width for line in lines)


def test_wrap_breaks_between_words_and_too_long_words():
  assert overlay.wrap("what is left of the 3", 18, 120) == ["what is left", "of the 3"]
  assert overlay.wrap("a\n\nb", 18, 120) == ["a", "", "b"]
  assert len(overlay.wrap("w" * 100, 18, 120)) > 8


def test_a_font_that_has_the_letters(monkeypatch):
  assert "DejaVuSans" in overlay.font(18, "cat Öl котёнок γάτα").path
  assert overlay.unseen("cat котёнок") == ""
  other = font_manager.findfont("STIXGeneral")  # matplotlib's too: other letters than DejaVu's
  letter = chr(min(overlay._coverage(other) - overlay._coverage(overlay.font(18, "a").path)))
  monkeypatch.setattr(overlay, "_installed", lambda: [other])
  overlay._font_file.cache_clear()
  assert overlay.font(18, f"cat {letter}").path == other and not overlay.unseen(f"cat {letter}")
  monkeypatch.setattr(overlay, "_installed", lambda: [])
  overlay._font_file.cache_clear()
  assert overlay.unseen(f"a {letter} b {letter}") == letter
  overlay._font_file.cache_clear()


def test_control_characters_are_spaces():
  assert overlay.wrap("a\x1eb\tc\u2028d\x00", 18, 500) == ["a b c d "]
  assert not overlay.unseen("a\x1e\tb")


def test_text_below():
  assert overlay.caption("ocr", "366") == "ocr\n366"
  assert overlay.caption("ocr", "") == "ocr\n(an empty answer)"
  found = [thing((), "3"), thing((), "7")]
  assert overlay.caption("detect 3", "<loc...", found) == "detect 3\n3 ; 7"


@pytest.mark.parametrize("label,score,want", [
    ("cat", 0.934, "cat 93%"), ("cat", None, "cat"), ("", 0.5, "50%"), ("cat", 4e-3, "cat <1%"),
    ("", None, "")])
def test_confidence(label, score, want):
  assert overlay.confidence(thing((), label, score=score)) == want


def test_attention_is_bright_where_it_is():
  heat = np.zeros((40, 2, 2), np.float32)
  heat[:, 0, 1] = 1
  page = overlay.draw_attention(BLACK, heat, ["cat"] * 40, most=5)
  light = np.asarray(page.convert("L")).astype(int)
  top = light.shape[0] - overlay.MARGIN - overlay.PANEL - overlay.MARGIN
  first = light[top:, overlay.MARGIN:][:overlay.PANEL, :overlay.PANEL]
  half = overlay.PANEL // 2
  assert first[10:half - 10, half + 10:-10].min() > 100
  assert first[:, :half - 10].max() < 10 and first[half + 10:, :].max() < 10
  assert light.shape[1] > 5 * overlay.PANEL  # five beside each other, the others counted


def test_attention_of_an_empty_answer():
  assert overlay.draw_attention(BLACK, np.zeros((0, 2, 2)), [], "ocr").height < 100
