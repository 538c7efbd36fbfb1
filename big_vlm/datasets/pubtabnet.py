"""pubtabnet: PubTabNet, images of tables from medical articles and their HTML.

Zhong et al., 2020. pubtabnet.tar.gz of version 2.0.0 (about 11 GB), linked from
https://github.com/ibm-aur-nlp/PubTabNet, unpacked:

  PubTabNet_2.0.0.jsonl
  train/PMC1064074_007_00.png   val/PMC1064865_002_00.png

The HTML of the test set is not public: scores are on val. "structure" has the tokens of the HTML
without the contents of the cells, "cells" has the contents, one for each <td>, and "html" joins
both. The release has no box for an empty cell: its bbox is 0, 0, 0, 0.
"""
from big_vlm.datasets import base

ANNOTATIONS = "PubTabNet_2.0.0.jsonl"
TABLE = {"image": base.IMAGE, "image/id": base.TEXT, "html": base.TEXT, "structure": base.TEXTS,
         "cells": base.f.Sequence(dict(html=base.TEXT, bbox=base.BOX))}


class Pubtabnet(base.Builder):
  FEATURES = TABLE
  SPLITS = ("train", "val")
  COUNTS = {"train": 500777, "val": 9115}

  def records(self, raw, split):
    return [(row["filename"], offset) for offset, row in raw.each_line(ANNOTATIONS)
            if row["split"] == split]

  def example(self, raw, record):
    row = raw.line_at(ANNOTATIONS, record)
    image = raw.image(f"{row['split']}/{row['filename']}")
    size = base.image_size(image)
    return {"image": image, "image/id": row["filename"],
            **table(row["html"], lambda corners: base.box(corners, size))}


def table(html, box):
  """The features of a table in the release's form; box converts the four numbers of a cell."""
  structure = html["structure"]["tokens"]
  cells = [dict(html="".join(cell["tokens"]), bbox=box(cell.get("bbox", (0, 0, 0, 0))))
           for cell in html["cells"]]
  if structure.count("</td>") != len(cells):
    raise ValueError(f"A table has {structure.count('</td>')} <td> and {len(cells)} cells.")
  contents = (cell["html"] for cell in cells)
  body = "".join(next(contents) + token if token == "</td>" else token for token in structure)
  return dict(html=f"<table>{body}</table>", structure=structure, cells=cells)
