"""The report: one balanced HTML file, nothing fetched, all text escaped, errors name the row."""
import base64
import html.parser
import io
import re

import numpy as np
import pytest
from PIL import Image

from evaluators import report

IMAGE = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
ROW = dict(task="digits", id="val/1", image=IMAGE, prompt="answer en which digit?",
           prediction="7", references=["7"], score=1.0, correct=True)
BOX = dict(box=(.1, .2, .5, .8), label="digit 7", score=.87)
FIGURE = dict(task="digits", metric="accuracy", value=.942, baseline=.113, n=1234, percent=True)
PAYLOAD = """<script>alert("1")</script> & <loc0012> 'x' {title}"""
VOID = {"meta", "img", "rect"}  # rect closes itself: <rect .../>


class Page(html.parser.HTMLParser):
  """Parses the report; `elements` are (tag, attributes), `text` is what a reader sees."""

  def __init__(self, path):
    super().__init__()
    self.elements, self.text, self.open = [], "", []
    self.source = path.read_text("utf-8")
    self.feed(self.source)
    self.close()
    assert not self.open, f"never closed: {self.open}"

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

  def handle_data(self, data):
    if self.open and self.open[-1] not in ("script", "style"):
      self.text += data

  def of(self, tag, cls=""):
    return [attrs for name, attrs in self.elements
            if name == tag and set(cls.split()) <= set(attrs.get("class", "").split())]


@pytest.fixture
def page(tmp_path):
  def write(**kw):
    return Page(report.write_report(tmp_path / "report.html", **{"title": "Run", **kw}))
  return write


def test_cards_figures_and_details(page):
  rows = [{**ROW, "id": i, "correct": i % 3 != 0, "task": ("a", "b")[i % 2]} for i in range(12)]
  got = page(title="Digits", subtitle="step 300", rows=rows, figures=[FIGURE] * 2,
             details={"step": 300, "config": {"lr": .001}})
  assert len(got.of("article", "card")) == 12
  assert len(got.of("article", "wrong")) == 4
  assert [c["data-task"] for c in got.of("article")].count("a") == 6
  assert "12 in all" in got.text and "4 wrong" in got.text and "8 right" in got.text
  assert got.text.count("94.2\u2009%") == 2 and "majority answer 11.3\u2009%" in got.text
  assert "+82.9 points" in got.text and "1,234 examples" in got.text
  assert '"lr": 0.001' in got.text and "step 300" in got.text
  assert [o["value"] for o in got.of("option")] == ["", "a", "b", "", "wrong", "right"]


def test_wrong_ones_come_first_and_order_is_kept(page):
  rows = [{**ROW, "id": f"id{i}", "correct": c} for i, c in enumerate([1, 0, 1, 0])]
  assert re.findall(r"id\d", page(rows=rows).text) == ["id1", "id3", "id0", "id2"]


def test_right_and_wrong_differ_by_more_than_colour(page):
  text = page(rows=[ROW, {**ROW, "correct": False}]).text
  assert "\u2713 right" in text and "\u2717 wrong" in text


def test_nothing_is_fetched(page):
  got = page(rows=[{**ROW, "pred_boxes": [BOX]}], figures=[FIGURE], details={"a": 1})
  assert "://" not in got.source and "url(" not in got.source and "@import" not in got.source
  for tag, attrs in got.elements:
    for name in ("src", "href", "action", "data"):
      assert attrs.get(name, "data:").startswith("data:"), (tag, attrs)
  policy = [m["content"] for m in got.of("meta") if m.get("http-equiv")]
  assert policy[0].startswith("default-src 'none'")


def test_text_is_escaped_everywhere(page):
  box = {**BOX, "label": PAYLOAD}
  got = page(title=PAYLOAD, subtitle=PAYLOAD,
             figures=[{**FIGURE, "task": PAYLOAD, "metric": PAYLOAD}],
             rows=[{**ROW, "task": PAYLOAD, "id": PAYLOAD, "prompt": PAYLOAD,
                    "prediction": PAYLOAD, "references": [PAYLOAD, "b"],
                    "pred_boxes": [box], "ref_boxes": [box], "finish_reason": PAYLOAD}],
             details={PAYLOAD: PAYLOAD, "nested": {"key": PAYLOAD}})
  assert len(got.of("script")) == 1 and "<script>alert" not in got.source
  assert not [tag for tag, _ in got.elements if tag.startswith("loc")]
  # title twice, subtitle, task and metric, option, card: task, id, prompt, prediction,
  # reference, finish reason, the predicted box, details: name and value
  assert got.text.count(PAYLOAD) == 15
  assert got.of("article")[0]["data-task"] == PAYLOAD


def test_boxes_are_drawn_where_they_are(page):
  image = np.zeros((50, 100, 3), np.uint8)  # drawn on 320 x 160 units
  got = page(rows=[{**ROW, "image": image, "pred_boxes": [BOX], "ref_boxes": [BOX, BOX]}])
  assert got.of("svg")[0]["viewbox"] == "0 0 320.0 160.0"
  assert len(got.of("rect", "ref")) == 2 and len(got.of("rect", "pred")) == 1
  rect = got.of("rect", "pred")[0]
  assert [rect[k] for k in ("x", "y", "width", "height")] == ["64.0", "16.0", "192.0", "64.0"]
  assert "digit 7 0.87" in got.text
  assert "1 predicted and 2 reference boxes" in got.of("img")[0]["alt"]


def test_no_boxes_no_overlay(page):
  got = page(rows=[ROW])
  assert not got.of("svg") and "predicted box" not in got.text


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_array_survives_as_png(page, channels):
  array = np.random.default_rng(0).integers(0, 256, (9, 7, channels), dtype=np.uint8)
  attrs = page(rows=[{**ROW, "image": array}]).of("img", "tiny")[0]
  kind, data = attrs["src"].split(",")
  assert kind == "data:image/png;base64" and attrs["loading"] == "lazy"
  back = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).reshape(array.shape)
  np.testing.assert_array_equal(back, array)
  assert (attrs["width"], attrs["height"]) == ("7", "9")


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_encoded_bytes_pass_through(page, kind):
  buffer = io.BytesIO()
  Image.fromarray(IMAGE).save(buffer, kind)
  src = page(rows=[{**ROW, "image": buffer.getvalue()}]).of("img")[0]["src"]
  assert src == f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode()


def test_large_images_are_shrunk_and_not_pixelated(page):
  attrs = page(rows=[{**ROW, "image": np.zeros((500, 1000, 3), np.uint8)}]).of("img")[0]
  assert (attrs["width"], attrs["height"], attrs.get("class")) == ("448", "224", None)


@pytest.mark.parametrize("change, shown", [
    (dict(prediction=""), "Answerempty"),
    (dict(prediction=" \n"), "Answerempty"),
    (dict(references=[]), "Referencenone"),
    (dict(references=["a"] * 7 + ["b"]), "a \u00d7\u20097b"),
    (dict(finish_reason="length"), "ended by: length"),
    (dict(prediction="\ud800"), "Answer?"),                         # a lone surrogate
    (dict(image=None, prediction="no image"), "no image"),
])
def test_awkward_rows(page, change, shown):
  assert shown in page(rows=[{**ROW, **change}]).text


def test_an_ordinary_end_and_a_missing_score_are_not_mentioned(page):
  text = page(rows=[{**ROW, "score": None, "finish_reason": "eos"}]).text
  assert "ended by" not in text and "score" not in text


@pytest.mark.parametrize("change, shown, bars", [
    (dict(value=1.419, percent=False, baseline=.12), "1.419majority answer 0.120", 0),
    (dict(value=float("nan")), "n/a", 0),
    (dict(value=None, baseline=None), "n/a", 0),
    (dict(baseline=None), "94.2\u2009%1,234", 1),
    (dict(value=0.0, baseline=0.0), "0.0\u2009%majority answer 0.0\u2009% (+0.0 points)", 1),
])
def test_figures(page, change, shown, bars):
  got = page(figures=[{**FIGURE, **change}])
  assert shown in got.text
  assert len([d for d in got.of("div") if d.get("class") == "bar"]) == bars


def test_empty_report(page):
  assert not page().of("article")


@pytest.mark.parametrize("change, named", [
    (dict(image=b"GIF89a..."), r"rows\[0\] \(id 'val/1'\).*no readable PNG or JPEG"),
    (dict(image=np.zeros((4, 4, 3))), r"this is float64 \[4, 4, 3\]"),
    (dict(image=np.zeros((4, 4), np.uint8)), r"uint8 \[4, 4\]"),
    (dict(image=np.zeros((0, 4, 3), np.uint8)), "empty"),
    (dict(pred_boxes=[{"box": (0, 0, float("nan"), 1)}]), "not finite"),
    (dict(references="seven"), "give a list"),
])
def test_bad_rows_are_named(page, change, named):
  with pytest.raises(ValueError, match=named):
    page(rows=[{**ROW, **change}])


def test_missing_keys_are_listed(page):
  with pytest.raises(ValueError, match=r"rows\[1\] of the report lacks image, correct"):
    page(rows=[ROW, {k: v for k, v in ROW.items() if k not in ("image", "correct")}])
  with pytest.raises(ValueError, match=r"figures\[0\] of the report lacks n; it has task"):
    page(figures=[{k: v for k, v in FIGURE.items() if k != "n"}])


def test_writing_is_atomic_and_makes_folders(tmp_path):
  path = tmp_path / "new" / "report.html"
  report.write_report(path, title="first")
  with pytest.raises(ValueError):
    report.write_report(path, title="second", rows=[{**ROW, "image": b""}])
  assert "first" in path.read_text()
  report.write_report(path, title="third")
  assert "third" in path.read_text() and list(path.parent.iterdir()) == [path]


def test_folder_that_cannot_be_written(tmp_path):
  (tmp_path / "file").write_text("in the way")
  with pytest.raises(OSError, match="Cannot write the report into the folder .*file"):
    report.write_report(tmp_path / "file" / "report.html", title="x")


def test_failed_replace_leaves_nothing_behind(tmp_path):
  (tmp_path / "report.html").mkdir()  # a folder cannot be replaced by a file
  with pytest.raises(OSError, match="Cannot write the report"):
    report.write_report(tmp_path / "report.html", title="x")
  assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
