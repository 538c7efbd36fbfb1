"""fintabnet: FinTabNet, tables of annual reports and their HTML.

Zheng et al., 2021: IBM's release 1.0.0 (fintabnet.tar.gz, 16 GB, CDLA-Permissive), for which TEDS
scores are published, and not the corrected FinTabNet.c. Its pages are PDF files. Convert each to a
PNG file that states its resolution (pHYs), with poppler for example:

  cd pdf; find . -name '*.pdf' | while read f; do mkdir -p "../png/${f%/*}"
    pdftoppm -r 144 -png -singlefile "$f" "../png/${f%.pdf}"; done

  FinTabNet_1.0.0_cell_train.jsonl   FinTabNet_1.0.0_cell_val.jsonl
  FinTabNet_1.0.0_cell_test.jsonl    png/ADS/2007/page_28.png

An image is the crop of a table from its page. The features are those of pubtabnet.
"""
import io
import math

from PIL import Image

from big_vlm.datasets import base, pubtabnet


class Fintabnet(base.Builder):
  FEATURES = pubtabnet.TABLE
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 91596}

  def records(self, raw, split):
    file = f"FinTabNet_1.0.0_cell_{split}.jsonl"
    return [(_name(row), (file, offset)) for offset, row in raw.each_line(file)]

  def example(self, raw, record):
    row = raw.line_at(*record)
    name = f"png/{row['filename'].removesuffix('.pdf')}.png"
    with Image.open(io.BytesIO(raw.image(name)), formats=base.FORMATS) as page:
      if "dpi" not in page.info:
        raise ValueError(f"{raw.path(name)} does not state its resolution (dpi).")
      scale, height = round(page.info["dpi"][1]) / 72, page.height

      def pixels(corners):  # PDF coordinates are 1/72 inch, from the lower left
        x0, y0, x1, y1 = (c * scale for c in corners)
        return x0, height - y1, x1, height - y0
      x0, y0, x1, y1 = pixels(row["bbox"])
      left, top = max(math.floor(x0), 0), max(math.floor(y0), 0)
      image = page.convert("RGB").crop(
          (left, top, min(math.ceil(x1), page.width), min(math.ceil(y1), height)))

    def box(corners):
      x0, y0, x1, y1 = pixels(corners)
      return base.box((x0 - left, y0 - top, x1 - left, y1 - top), image.size)
    return {"image": base.png(image), "image/id": _name(row),
            **pubtabnet.table(row["html"], box)}


def _name(row):
  return f"{row['filename']}/{row['table_id']}"
