"""Widget Captioning, laid out as its repository and RICO are."""
import numpy as np


def test_release(release, picture):
  node = {"bounds": [360, 640, 720, 1280]}
  view = {"activity": {"root": {"bounds": [0, 0, 1440, 2560], "children": [
      {"bounds": [0, 0, 1, 1]}, {"bounds": [0, 0, 2, 2], "children": [node]}]}}}
  got = release("widgetcap", {
      "widget-caption/widget_captions.csv":
          'datasetId,screenId,nodeId,captions\nrico,5,0.1.0,"go back|return, please"\n'
          "rico,6,0,home\nrico,7,0.0,x\nnr,99,0,not released\n",
      "widget-caption/split/train.txt": "5\n", "widget-caption/split/dev.txt": "6\n",
      "widget-caption/split/test.txt": "7\n",
      **{f"combined/{n}.jpg": picture(n, size=(90, 160)) for n in (5, 6, 7)},
      **{f"combined/{n}.json": view for n in (5, 6, 7)}})
  example, = got["train"]
  np.testing.assert_allclose(example["bbox"], [0.25, 0.25, 0.5, 0.5])
  assert list(example["texts"]) == ["go back", "return, please"]
  assert (example["image/id"], example["node_id"]) == ("5_0.1.0", "0.1.0")
  assert (example["height"], example["width"]) == (160, 90)
  np.testing.assert_allclose(got["dev"][0]["bbox"], [0, 0, 1, 1])
