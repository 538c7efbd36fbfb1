import numpy as np
import pytest
from PIL import ImageFont

from pp import locations
from tools import predict


def test_overlay_draws_the_boxes_where_they_are():
  image = np.zeros((32, 32, 3), np.uint8)
  answer = locations.format_objects([(0.25, 0.5, 0.75, 1.0)], ["3"])
  page = predict.overlay(image, "detect 3", answer)
  assert page.width == 512 and page.height > 512  # scaled up, with a line of text below
  drawn = np.argwhere((np.asarray(page)[:512] != 0).any(-1))
  bare = np.asarray(predict.overlay(image, "detect 3", "nothing"))[:512]
  assert not bare.any()
  left, right = drawn[:, 1].min(), drawn[:, 1].max()
  assert abs(left - 256) <= 4 and right >= 508
  assert abs(drawn[:, 0].max() - 384) <= 4


@pytest.mark.parametrize("box", [(0.75, 1.0, 0.25, 0.5), (0, 0, 0, 0), (1, 1, 1, 1)])
def test_odd_boxes_do_not_stop_it(box):
  image = np.zeros((8, 9, 3), np.uint8)
  page = predict.overlay(image, "detect x", locations.format_objects([box], ["x"]))
  assert page.width == 9 * 57 and np.asarray(page)[:8 * 57].any()  # something is drawn


def test_wrap_keeps_every_word():
  font = ImageFont.load_default(18)
  text = "answer en what is left of the 3 " * 5 + "w" * 200
  lines = predict.wrap(text, font, 300)
  assert " ".join(lines) == text
  assert all(font.getlength(line) <= 300 for line in lines if " " in line)
