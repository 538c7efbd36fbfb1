"""Total-Text, laid out as the official files are: arrays go over lines, words hold quotes."""
import json

import numpy as np
import pytest

TRAIN = """x: [[259 313 389 427 354 302]], y: [[ 54  46  41  45  50  58]], ornt: [u'c'], \
transcriptions: [u'PAUL']
x: [[400 478
  494 436]], y: [[ 39  38
   44  46]], ornt: [u'#'], transcriptions: [u'#']
x: [[ 0 80 80  0]], y: [[ 0  0 -6  6]], ornt: [u'h'], transcriptions: [u"GIRL'S, 2"]
x: [[ 0 80 80  0]], y: [[ 0  0  6  6]], ornt: [u'h'], transcriptions: [u'\\u00c9T\\xc9']
"""


def test_release(release, picture):
  splits = release("totaltext", {
      "Images/Train/img11.jpg": picture(1, size=(800, 60)), "Images/Test/img1.JPG": picture(2),
      "txt_format/Train/poly_gt_img11.txt": TRAIN,
      "txt_format/Test/poly_gt_img1.txt":
          "x: [[0 8 8 0]], y: [[0 0 6 6]], ornt: [], transcriptions: []"})
  [example] = splits["train"]
  assert (example["image/id"], example["image"]) == ("img11", picture(1, size=(800, 60)))
  assert list(example["objects"]["label"]) == ["PAUL", "GIRL'S, 2", "ÉTÉ"]
  np.testing.assert_allclose(example["objects"]["bbox"][0],
                             np.array([41, 259, 58, 427]) / [60, 800, 60, 800], rtol=1e-6)
  assert len(json.loads(example["objects"]["polygon"][0])) == 6
  assert json.loads(example["ignored"]["polygon"][0])[3] == [0.545, 0.766667]
  [test] = splits["test"]
  assert len(test["objects"]["label"]) == 0 and test["ignored"]["bbox"].tolist() == [[0, 0, 1, 1]]


def test_a_word_that_is_written_otherwise(release, picture):
  files = {"Images/Train/img11.jpg": picture(), "Images/Test/img1.jpg": picture(),
           "txt_format/Train/poly_gt_img11.txt": TRAIN + "x: [[1 2]], transcriptions: [u'A']",
           "txt_format/Test/poly_gt_img1.txt": ""}
  with pytest.raises(ValueError, match="poly_gt_img11.txt has 5 words, of which 4 are written"):
    release("totaltext", files)
