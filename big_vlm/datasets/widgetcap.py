"""widgetcap: Widget Captioning, the purpose of single buttons and fields of Android screens.

Li et al., 2020. A clone of https://github.com/google-research-datasets/widget-caption (about 6 MB)
and, from http://www.interactionmining.org/rico, "UI Screenshots and View Hierarchies"
(unique_uis.tar.gz, 6 GB), unpacked beside it:

  widget-caption/widget_captions.csv   widget-caption/split/train.txt (dev, test)
  combined/0.jpg   combined/0.json

Rows on screens that were never released are in no split. The box of a widget comes from its node
in the screen's JSON, whose canvas is 2560 high.
"""
from big_vlm.datasets import base

CANVAS = 2560


class WidgetCap(base.Builder):
  FEATURES = {"image": base.IMAGE, "image/id": base.TEXT, "image/filename": base.TEXT,
              "screen_id": base.TEXT, "node_id": base.TEXT, "texts": base.TEXTS,
              "bbox": base.BOX, "height": base.INT, "width": base.INT}
  SPLITS = ("train", "dev", "test")

  def records(self, raw, split):
    screens = set(raw.text(f"widget-caption/split/{split}.txt").split())
    return [(f"{row['screenId']}_{row['nodeId']}", row)
            for row in raw.table("widget-caption/widget_captions.csv")
            if row["screenId"] in screens]

  def example(self, raw, record):
    screen, node_id = record["screenId"], record["nodeId"]
    image = raw.image(f"combined/{screen}.jpg")
    width, height = base.image_size(image)
    node = raw.json(f"combined/{screen}.json")["activity"]["root"]
    for child in node_id.split(".")[1:]:  # the first number is the root's
      node = node["children"][int(child)]
    return {"image": image, "image/id": f"{screen}_{node_id}", "image/filename": f"{screen}.jpg",
            "screen_id": screen, "node_id": node_id, "texts": record["captions"].split("|"),
            "bbox": base.box([b * height / CANVAS for b in node["bounds"]], (width, height)),
            "height": height, "width": width}
