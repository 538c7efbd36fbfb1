"""marvl: MaRVL, NLVR2's task on photographs and sentences of five languages and cultures.

Liu et al., 2021. From https://doi.org/10.5683/SP3/42VZ4P the annotations (2.5 MB) and the images of
id, sw, ta, tr and zh (for research without commercial use), unpacked:

  marvl-annotations/marvl-id.jsonl   marvl-images/id/images/39-Panci/39-0.jpg

The labels are "True" and "False", as those of nlvr2.
"""
from big_vlm.datasets import base


class Marvl(base.Builder):
  FEATURES = dict(example_id=base.TEXT, sentence=base.TEXT, label=base.TEXT,
                  image_left=base.IMAGE, image_right=base.IMAGE)
  COUNTS = {"test_id": 1_128, "test_sw": 1_108, "test_ta": 1_242, "test_tr": 1_180,
            "test_zh": 1_012}
  SPLITS = tuple(COUNTS)

  def records(self, raw, split):
    language = split.removeprefix("test_")
    return [(row["id"], {**row, "folder": f"marvl-images/{language}/images/{row['concept']}"})
            for row in raw.lines(f"marvl-annotations/marvl-{language}.jsonl")]

  def example(self, raw, record):
    return dict(
        example_id=record["id"], sentence=record["caption"], label=str(record["label"]),
        **{f"image_{side}": raw.image(f"{record['folder']}/{record[f'{side}_img']}")
           for side in ("left", "right")})
