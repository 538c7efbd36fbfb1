"""FinTabNet, laid out as the official files are, with its pages drawn."""
import io

import numpy as np
import pytest
from PIL import Image

HTML = {"structure": {"tokens": ["<tr>", "<td>", "</td>", "<td>", "</td>", "</tr>"]},
        "cells": [{"tokens": ["R", "&amp;", "D"], "bbox": [20, 50, 30, 60]}, {"tokens": []}]}


def page(**kw):
  """120 x 200 pixels at 144 dpi, red where the table is."""
  image = Image.new("RGB", (120, 200), "white")
  image.paste("red", (40, 60, 80, 120))
  image.save(out := io.BytesIO(), "PNG", **kw)
  return out.getvalue()


def rows(*ids):
  return [{"filename": "ADS/2007/page_28.pdf", "split": "train", "table_id": i,
           "bbox": [20.0, 40.0, 40.0, 70.0], "html": HTML} for i in ids]


def test_release(release):
  splits = release("fintabnet", {
      "FinTabNet_1.0.0_cell_train.jsonl": rows(41, 42), "FinTabNet_1.0.0_cell_val.jsonl": rows(7),
      "FinTabNet_1.0.0_cell_test.jsonl": rows(7),
      "png/ADS/2007/page_28.png": page(dpi=(144, 144))})
  assert {e["image/id"] for e in splits["train"]} == {
      "ADS/2007/page_28.pdf/41", "ADS/2007/page_28.pdf/42"}
  [example] = splits["test"]
  image = np.asarray(Image.open(io.BytesIO(example["image"])))
  assert image.shape == (60, 40, 3) and (image == (255, 0, 0)).all()
  assert example["html"] == "<table><tr><td>R&amp;D</td><td></td></tr></table>"
  np.testing.assert_allclose(example["cells"]["bbox"][0], [1 / 3, 0, 2 / 3, 0.5], rtol=1e-6)


def test_a_page_without_resolution(release):
  with pytest.raises(ValueError, match="page_28.png does not state its resolution"):
    release("fintabnet", {"FinTabNet_1.0.0_cell_train.jsonl": rows(1),
                          "FinTabNet_1.0.0_cell_val.jsonl": rows(1),
                          "FinTabNet_1.0.0_cell_test.jsonl": rows(1),
                          "png/ADS/2007/page_28.png": page()})
