"""PubTabNet, laid out as the official files are: all splits in one file of lines."""
import json

import numpy as np
import pytest

HTML = {"structure": {"tokens": ["<thead>", "<tr>", "<td", ' colspan="2"', ">", "</td>", "</tr>",
                                 "</thead>", "<tbody>", "<tr>", "<td>", "</td>", "<td>", "</td>",
                                 "</tr>", "</tbody>"]},
        "cells": [{"tokens": ["<b>", "D", "o", "s", "e", "</b>"], "bbox": [1, 3, 9, 6]},
                  {"tokens": []}, {"tokens": ["4", " ", "µ"], "bbox": [5, 5, 8, 6]}]}


def jsonl(*rows):
  return [dict(filename=name, split=split, imgid=i, html=HTML)
          for i, (name, split) in enumerate(rows)]


def test_release(release, picture):
  splits = release("pubtabnet", {
      "PubTabNet_2.0.0.jsonl": jsonl(("PMC2.png", "val"), ("PMC1.png", "train"),
                                     ("PMC3.png", "val")),
      "train/PMC1.png": picture(1, "PNG"), "val/PMC2.png": picture(2, "PNG"),
      "val/PMC3.png": picture(3, "PNG")})
  [example] = splits["train"]
  assert (example["image"], example["image/id"]) == (picture(1, "PNG"), "PMC1.png")
  assert example["html"] == ('<table><thead><tr><td colspan="2"><b>Dose</b></td></tr></thead>'
                             "<tbody><tr><td></td><td>4 µ</td></tr></tbody></table>")
  assert list(example["structure"]) == HTML["structure"]["tokens"]
  assert list(example["cells"]["html"]) == ["<b>Dose</b>", "", "4 µ"]
  np.testing.assert_allclose(example["cells"]["bbox"], [
      [0.5, 0.125, 1, 1], [0, 0, 0, 0], [5 / 6, 0.625, 1, 1]], rtol=1e-6)
  assert {e["image"] for e in splits["val"]} == {picture(2, "PNG"), picture(3, "PNG")}


def test_cells_that_do_not_fit(release, picture):
  row, other = jsonl(("PMC1.png", "train"), ("PMC2.png", "val"))
  files = {"PubTabNet_2.0.0.jsonl": [row | {"html": HTML | {"cells": HTML["cells"][:2]}}, other],
           "train/PMC1.png": picture(1, "PNG")}
  with pytest.raises(ValueError, match="A table has 3 <td> and 2 cells"):
    release("pubtabnet", files)
  with pytest.raises(ValueError, match="PubTabNet_2.0.0.jsonl, line 2 is not JSON"):
    release("pubtabnet", {"PubTabNet_2.0.0.jsonl": f'{json.dumps(row)}\n{{"filename": "PMC2.p'})
