"""The report: one balanced HTML file, nothing fetched, all text escaped, errors name the row."""
import base64
import hashlib
import html.parser
import importlib.util
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from evaluators import report
from evaluators.report import gallery

IMAGE = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
ROW = dict(task="digits", id="val/1", image=IMAGE, prompt="answer en which digit?",
           prediction="7", references=["7"], score=1.0, correct=True, finish_reason="eos",
           tokens=[5, 1], logprobs=[-.1, -.3])
TEXT = {**ROW, "image": None}
BOX = dict(box=(.1, .2, .5, .8), label="digit 7", score=.87)
RESULT = dict(task="digits", metric="accuracy", value=.942, baseline=.113, n=1234, percent=True)
PAYLOAD = """</script><script>document.title = "hit"</script><!-- & <loc0012> 'x' {title}"""
VOID = {"meta", "img", "input"}

CHROMIUM = next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
LACKS = [name for name, there in {
    "playwright (requirements.txt)": importlib.util.find_spec("playwright"),
    "a Chromium on the PATH": CHROMIUM}.items() if not there]


class Page(html.parser.HTMLParser):
  """Parses the report; `text` is what a reader sees, `rows` are the gallery's records."""

  def __init__(self, path):
    super().__init__()
    self.elements, self.text, self.open, self.scripts = [], "", [], []
    self.source = path.read_text("utf-8")
    self.feed(self.source)
    self.close()
    assert not self.open, f"never closed: {self.open}"
    data = [s for s, attrs in zip(self.scripts, self.of("script")) if attrs.get("id") == "data"]
    self.rows = json.loads(data[0])["rows"] if data else []

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))
    if tag == "script":
      self.scripts.append("")
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.elements.append((tag, dict(attrs)))

  def handle_endtag(self, tag):
    assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

  def handle_data(self, data):
    if self.open[-1:] == ["script"]:
      self.scripts[-1] += data
    elif self.open[-1:] != ["style"]:
      self.text += data

  def of(self, tag, cls=""):
    return [attrs for name, attrs in self.elements
            if name == tag and set(cls.split()) <= set(attrs.get("class", "").split())]


@pytest.fixture
def page(tmp_path):
  def write(**kw):
    return Page(report.write_report(tmp_path / "report.html", **{"title": "Run", **kw}))
  return write


@pytest.mark.parametrize("change, shown", [
    (dict(), ["94.2%", "11.3%", "1,234"]),
    (dict(interval=(.93, .95), published=.9412), ["93.0% to 95.0%", "94.1%", "+0.1inside the CI"]),
    (dict(interval=(.93, .95), published=.96), ["96.0%", "\u22121.8outside the CI"]),
    (dict(published=.96), ["\u22121.8"]),
    (dict(warnings=["resolution 448, not 224"]), ["\u26a0 resolution 448, not 224",
                                                  "One result was not made as"]),
    (dict(metric="cider", value=1.419, baseline=None), ["141.9", "CIDEr is printed times 100"]),
    (dict(metric="cer", value=1.6, percent=False, baseline=None), ["1.600"]),
    (dict(metric="invalid", value=1200, percent=False, baseline=None), ["1,200"]),
    (dict(value=float("nan"), published=.96), ["n/a", "96.0"]),
    (dict(value=None, baseline=None), ["n/a"]),
])
def test_results(page, change, shown):
  text = page(results=[{**RESULT, **change}]).text
  assert not [s for s in shown if s not in text]


def test_a_result_needs_no_more_than_task_metric_and_value(page):
  got = page(results=[dict(task="a", metric="m", value=.5), dict(task="a", metric="n", value=2.)])
  assert "0.500" in got.text and "2.000" in got.text and "inside" not in got.text
  assert not got.of("td", "published") and "CI" not in got.text and len(got.of("tr", "task")) == 1
  assert not got.of("div", "scale")  # .5 of what?


def test_marks_lie_on_one_scale(page):
  got = page(results=[{**RESULT, "value": .5, "interval": (.4, .6), "published": .75}])
  assert got.of("b")[-1]["style"] == "width:50.0%"
  mark = {kind: got.of("i", f"mark {kind}")[0]["style"] for kind in
          ("span", "published", "baseline")}
  assert mark == {"span": "left:40.0%;width:20.0%", "published": "left:75.0%",
                  "baseline": "left:11.3%"}
  assert not page(results=[{**RESULT, "value": 12, "percent": False}]).of("div", "scale")


def test_rows_and_details(page):
  rows = [{**ROW, "id": i, "correct": i % 3 != 0, "task": ("a", "b")[i % 2]} for i in range(12)]
  got = page(subtitle="step 300", predictions=rows, details={"step": 300, "config": {"lr": .001}})
  assert [row["id"] for row in got.rows] == [str(i) for i in range(12)]
  assert [row["verdict"] for row in got.rows[:3]] == ["wrong", "right", "right"]
  assert "12 in all: \u2717 4 wrong, \u2713 8 right" in got.text
  assert '"lr": 0.001' in got.text and "step 300" in got.text
  assert not page().rows


@pytest.mark.parametrize("change, want", [
    (dict(), dict(answer="7", prompt="answer en which digit?", refs=[["7", 1]], score=1,
                  end="eos", length=2, mean=-.2)),
    (dict(logprobs=[0., np.log(.2), -50.]), dict(length=3, confidence="z70")),
    (dict(logprobs=[-np.inf, 0.]), dict(confidence="0z", mean=None)),
    (dict(logprobs=None), dict(length=2, confidence=None)),
    (dict(references=["a"] * 7 + ["b"]), dict(refs=[["a", 7], ["b", 1]])),
    (dict(references=None), dict(refs=[])),
    (dict(references=None, suffix=b"eight"), dict(refs=[["eight", 1]])),
    (dict(prompt=None, prefix="caption en"), dict(prompt="caption en")),
    (dict(score=float("nan")), dict(score=None)),
    (dict(correct=None), dict(verdict="unscored")),
    (dict(correct=np.bool_(False), score=np.float32(.25)), dict(verdict="wrong", score=.25)),
    (dict(group="how many"), dict(group="how many")),
    (dict(prediction="\ud800"), dict(answer="?")),                  # a lone surrogate
    (dict(prediction="a\r\n\u2028\x00"), dict(answer="a\r\n\u2028\x00")),
    (dict(prediction="", finish_reason="eos"), dict(answer="")),
    (dict(prediction="", finish_reason=""), dict(answer=None)),      # no model wrote it
    (dict(prediction="x" * 5000), dict(answer="x" * 4000 + "\u2026 [1,000 more characters]")),
])
def test_records(page, change, want):
  row = page(predictions=[{**TEXT, **change}]).rows[0]
  assert {key: row.get(key) for key in want} == want


def test_a_row_needs_no_more_than_task_id_and_prediction(page):
  got = page(predictions=[dict(task="a", id=1, prediction="b")])
  assert got.rows == [dict(task="a", id="1", prompt="", answer="b", refs=[], verdict="unscored")]
  assert "characters of an answer: median 1" in got.text


def test_nothing_is_fetched_and_no_other_script_runs(page):
  got = page(predictions=[{**ROW, "pred_boxes": [BOX]}], results=[RESULT], details={"a": 1})
  assert "://" not in got.source and "url(" not in got.source and "@import" not in got.source
  for tag, attrs in got.elements:
    for name in ("src", "href", "action", "data"):
      assert attrs.get(name, "data:").startswith("data:"), (tag, attrs)
  policy = [m["content"] for m in got.of("meta") if m.get("http-equiv")][0]
  digest = base64.b64encode(hashlib.sha256(got.scripts[-1].encode()).digest()).decode()
  assert policy.startswith("default-src 'none'; ")
  assert policy.endswith(f"; script-src 'sha256-{digest}'")


def test_text_is_escaped_everywhere(page):
  box = {**BOX, "label": PAYLOAD, "score": None}
  got = page(title=PAYLOAD, subtitle=PAYLOAD,
             results=[{**RESULT, "task": PAYLOAD, "metric": PAYLOAD, "warnings": [PAYLOAD]}],
             predictions=[{
                 **ROW, "task": PAYLOAD, "id": PAYLOAD, "prompt": PAYLOAD, "group": PAYLOAD,
                 "prediction": PAYLOAD, "references": [PAYLOAD, "b"],
                 "pred_boxes": [box], "ref_boxes": [box], "finish_reason": PAYLOAD}],
             details={PAYLOAD: PAYLOAD, "nested": {"key": PAYLOAD}})
  assert len(got.of("script")) == 2 and '<script>document' not in got.source
  assert not [tag for tag, _ in got.elements if tag.startswith("loc")]
  # title twice, subtitle, task and metric, warning, panel: task, end twice, group, details twice
  assert got.text.count(PAYLOAD) == 12
  row = got.rows[0]
  assert [row[k] for k in ("task", "id", "prompt", "answer", "group", "end")] == [PAYLOAD] * 6
  assert row["refs"][0][0] == row["pred"][0][4] == row["ref"][0][4] == PAYLOAD
  assert [b["data-group"] for b in got.of("button") if "data-group" in b] == [PAYLOAD]


def test_boxes_and_masks(page):
  mask = np.zeros((4, 3), bool)
  mask[1:, 2] = True
  row = page(predictions=[{**ROW, "pred_boxes": [BOX], "ref_boxes": [{"box": [0, 0, 1, 1]}],
                    "ref_mask": mask}]).rows[0]
  assert row["pred"] == [[.1, .2, .5, .8, "digit 7 0.87"]] and row["ref"] == [[0, 0, 1, 1, ""]]
  assert "predMask" not in row
  alpha = np.asarray(decoded(row["refMask"]).convert("RGBA"))[..., 3] > 0
  np.testing.assert_array_equal(alpha, mask.repeat(2, 0).repeat(2, 1))  # the image has 8 x 6


def test_boxes_are_read_from_the_answer(page):
  spelled = "<loc0000><loc0000><loc1023><loc1023> cat ; <loc0001> broken"
  row, = page(predictions=[{**ROW, "prediction": spelled, "references": [spelled]}]).rows
  assert row["pred"] == row["ref"] == [[0, 0, 1, 1, "cat"]]
  bare = page(predictions=[{**TEXT, "prediction": spelled}])  # without a picture to draw on
  assert "pred" not in bare.rows[0]


def decoded(uri):
  return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_small_arrays_survive_as_png(page, channels):
  array = np.random.default_rng(0).integers(0, 256, (9, 7, channels), dtype=np.uint8)
  source, width, height = page(predictions=[{**ROW, "image": array}]).rows[0]["image"]
  np.testing.assert_array_equal(np.asarray(decoded(source)).reshape(array.shape), array)
  assert source.startswith("data:image/png;base64,") and (width, height) == (7, 9)


def test_the_whole_picture_shares_the_budget(page):
  noise = np.random.default_rng(0).integers(0, 256, (336, 200, 3), dtype=np.uint8)
  row, = page(predictions=[{**ROW, "image": noise[:224], "whole": noise}]).rows
  assert row["whole"][1:] == [200, 336] and row["image"][1:] == [200, 224]
  assert max(len(row["whole"][0]), len(row["image"][0])) <= gallery.PICTURE // 2
  assert "whole" not in page(predictions=[ROW]).rows[0]


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_encoded_images(page, kind):
  buffer = io.BytesIO()
  Image.fromarray(IMAGE).save(buffer, kind)
  source, width, height = page(predictions=[{**ROW, "image": buffer.getvalue()}]).rows[0]["image"]
  assert (width, height) == decoded(source).size == (6, 8)


def test_an_encoded_picture_of_a_phone_is_upright(page):
  exif, buffer = Image.Exif(), io.BytesIO()
  exif[0x112] = 6  # to be turned right
  Image.fromarray(IMAGE).save(buffer, "jpeg", exif=exif)
  source, width, height = page(predictions=[{**ROW, "image": buffer.getvalue()}]).rows[0]["image"]
  assert (width, height) == decoded(source).size == (8, 6)


@pytest.mark.parametrize("shape", [(500, 1000, 3), (128, 128, 4)])
def test_a_picture_has_its_budget_even_if_it_is_noise(shape):
  noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
  source, width, height = gallery.embed(noise, "here")
  assert len(source) <= gallery.PICTURE
  assert (width, height) == ((336, 168) if shape[0] == 500 else (128, 128))


def test_each_task_has_its_part_of_a_large_set(page, monkeypatch):
  monkeypatch.setattr(gallery, "MOST_ROWS", 8)
  monkeypatch.setattr(gallery, "MOST_PICTURES", 4)
  rows = [{**ROW, "task": "large", "id": f"l{i}"} for i in range(20)]
  rows += [{**ROW, "task": "small", "id": f"s{i}"} for i in range(3)]
  got = page(predictions=rows)
  assert [row["id"] for row in got.rows] == ["l0", "l1", "l2", "l3", "l4", "s0", "s1", "s2"]
  assert [row["id"] for row in got.rows if "image" in row] == ["l0", "l1", "s0", "s1"]
  assert "8 of 23 examples are here" in got.text and "23 in all" in got.text


def test_pictures_go_before_texts(page, monkeypatch):
  monkeypatch.setattr(gallery, "MOST_ROWS", 2)
  got = page(predictions=[TEXT, {**TEXT, "id": 2}, {**ROW, "id": 3}])
  assert [row["id"] for row in got.rows] == ["val/1", "3"]


def test_long_texts_are_cut_until_all_fit(page, monkeypatch):
  monkeypatch.setattr(gallery, "DATA", 20_000)
  row = {**TEXT, "prediction": "\u732b" * 3000, "references": ["<td>" * 900]}
  got = page(predictions=[row] * 3)
  answer, (reference, _) = got.rows[0]["answer"], got.rows[0]["refs"][0]
  assert answer == "\u732b" * 1000 + "\u2026 [2,000 more characters]"
  assert reference == "<td>" * 250 + "\u2026 [2,600 more characters]"


def test_panels_of_tasks(page):
  rows = [{**TEXT, "task": "a", "tokens": [0] * n, "correct": n < 4, "score": float(n < 4),
           "finish_reason": "eos" if n < 4 else "length", "group": "short" if n < 3 else "long"}
          for n in (1, 2, 2, 3, 40)]
  got = page(predictions=[*rows, {**TEXT, "task": "b", "tokens": None, "logprobs": None}])
  assert "tokens of an answer: median 2, 95\u2009% up to 40, longest 40" in got.text
  assert "characters of an answer: median 1" in got.text
  assert "1 to 2 tokens: 3 right" in got.text and "39 to 40 tokens: 1 wrong" in got.text
  assert "ended by: eos 80.0\u2009%, length 20.0\u2009%" in got.text and "were cut" in got.text
  assert re.findall(r"(?:long|short)[\d.]+", got.text) == ["long50.02", "short100.03"]
  assert got.text.count("ended by: eos 100.0") == 1


def test_classes_have_a_confusion_matrix_and_a_calibration_curve(page):
  pairs = (("cat", "cat"), ("cat", "cat"), ("cat", "<dog>"), ("<dog>", "<dog>"))
  rows = [{**TEXT, "classes": list(pair), "probability": .9, "correct": pair[0] == pair[1]}
          for pair in pairs]
  got = page(predictions=rows)
  cells = [td for td in got.of("td") if "--share" in td.get("style", "")]
  assert [td["style"] for td in cells] == [
      "--share:1.000", "--share:0.000", "--share:0.333", "--share:0.667"]
  assert cells[2]["title"] == "cat answered as <dog>: 1, 33%"
  circle, = got.of("circle")
  assert (circle["cx"], circle["cy"], circle["r"]) == ("90.0", "25.0", "7.0")
  assert "they are 15.0\u2009% apart" in got.text
  many = page(predictions=[{**TEXT, "classes": [str(i), str(i)]} for i in range(40)])
  assert len(many.of("div", "matrix")) == 1 and "24 rarer classes are together" in many.text
  assert not page(predictions=[TEXT]).of("div", "matrix")


def test_heights_of_a_histogram_are_fractions_of_the_tallest_bin(page):
  rows = [{**TEXT, "tokens": [0] * n, "correct": ok} for n, ok in
          ((1, True), (1, False), (1, False), (1, False), (2, True))]
  bars = [(r["class"], r["y"], r["height"]) for r in page(predictions=rows).of("rect")
          if r.get("class") in ("right", "wrong")]
  assert bars == [("wrong", "21.0", "63.0"), ("right", "0.0", "21.0"), ("right", "63.0", "21.0")]


@pytest.mark.parametrize("scores, shown", [
    ([1.5, .5], ", examplesa0.5001b1.5001"),        # not fractions of 1, e.g. CIDEr
    ([None, .5], " in %, examplesa50.01b100.01"),   # right or wrong, where there is no score
    ([float("nan"), .5], " in %, examplesa50.01"),
])
def test_groups_worst_first(page, scores, shown):
  rows = [{**TEXT, "score": s, "group": g} for s, g in zip(scores, "ba")]
  assert f"By group: mean score{shown}" in page(predictions=rows).text


@pytest.mark.parametrize("change, named", [
    (dict(image=b"GIF89a..."), r"predictions\[0\] \(id 'val/1'\).*not a readable PNG or JPEG"),
    (dict(image=np.zeros((4, 4, 3))), r"this is float64 \[4, 4, 3\]"),
    (dict(image=np.zeros((4, 4), np.uint8)), r"uint8 \[4, 4\]"),
    (dict(image=np.zeros((0, 4, 3), np.uint8)), "empty"),
    (dict(pred_boxes=[{"box": (0, 0, float("nan"), 1)}]), "not four finite"),
    (dict(ref_mask=np.zeros((2, 2, 2))), r"a mask is \[H, W\] and not empty; this is \[2, 2, 2\]"),
    (dict(references="seven"), "give a list"),
])
def test_bad_rows_are_named(page, change, named):
  with pytest.raises(ValueError, match=named):
    page(predictions=[{**ROW, **change}])


def test_missing_keys_are_listed(page):
  with pytest.raises(ValueError, match=r"predictions\[1\] of the report lacks id, prediction; it"):
    page(predictions=[ROW, {k: v for k, v in ROW.items() if k not in ("id", "prediction")}])
  with pytest.raises(ValueError, match=r"results\[0\] of the report lacks value; it has task"):
    page(results=[{k: v for k, v in RESULT.items() if k != "value"}])


def test_writing_is_atomic_and_makes_folders(tmp_path):
  path = tmp_path / "new" / "report.html"
  report.write_report(path, title="first")
  with pytest.raises(ValueError):
    report.write_report(path, title="second", predictions=[{**ROW, "image": b""}])
  assert "first" in path.read_text()
  report.write_report(path, title="third")
  assert "third" in path.read_text() and list(path.parent.iterdir()) == [path]


def test_folder_that_cannot_be_written(tmp_path):
  (tmp_path / "file").write_text("in the way")
  with pytest.raises(OSError, match="Cannot write .*file.report.html"):
    report.write_report(tmp_path / "file" / "report.html", title="x")


def test_failed_replace_leaves_nothing_behind(tmp_path):
  (tmp_path / "report.html").mkdir()  # a folder cannot be replaced by a file
  with pytest.raises(OSError, match="Cannot write .*report.html"):
    report.write_report(tmp_path / "report.html", title="x")
  assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


LARGE = 10_000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
  """A report of 10,000 examples of two tasks, the second with boxes, 40 with their image."""
  rows = []
  for i in range(LARGE):
    row = {**TEXT, "id": f"val/{i}", "correct": i % 4 != 1, "score": float(i % 4 != 1),
           "group": ("what", "how many")[i % 3 == 0], "prediction": f"answer {i}",
           "finish_reason": "length" if i % 50 == 0 else "eos", "logprobs": [-.1, -i / LARGE]}
    if i % 2:
      row |= dict(task="boxes", prediction="<loc0100><loc0200><loc0500><loc0900> cat",
                  ref_boxes=[dict(box=(.1, .2, .5, .8), label="cat")], group=None)
    rows.append({**row, "image": IMAGE} if i >= LARGE - 40 else row)
  rows[0]["prediction"] = PAYLOAD
  rows[5] |= {"references": ["\u0642\u0637\u0629 \u0633\u0648\u062f\u0627\u0621"]}
  path = tmp_path_factory.mktemp("large") / "report.html"
  report.write_report(path, title="Large", results=[RESULT], predictions=rows)
  return path


def test_ten_thousand_examples_can_be_mailed(large):
  assert large.stat().st_size < 5e6  # 300 pictures of 20 kB add 8 MB at most


CHANGE = """([name, value]) => {
  const start = performance.now(), field = document.getElementById("filter")[name];
  field.value = value;
  field.dispatchEvent(new Event("input", {bubbles: true}));
  document.body.offsetHeight;  // lays the page out
  return performance.now() - start;
}"""


@pytest.mark.skipif(bool(LACKS), reason=f"the page is not driven: missing {', '.join(LACKS)}")
def test_the_page_in_a_browser(large):
  from playwright.sync_api import expect, sync_playwright
  with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=CHROMIUM)
    page = browser.new_page()
    page.set_default_timeout(20_000)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url.split(":")[0]))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(large.as_uri())
    cards, count = page.locator(".card"), page.locator("#count")
    expect(count).to_have_text("10,000 of 10,000")
    # Wrong ones first, of these those with a picture, beside which is the reference's.
    expect(cards.first).to_contain_text("\u2717 wrong")
    expect(cards.first.locator("img")).to_have_count(2)
    expect(cards.first.locator("rect.pred")).to_have_count(1)
    expect(cards.first.locator("rect.ref")).to_have_count(1)
    assert page.evaluate("performance.getEntriesByType('navigation')[0].duration") < 10_000

    # A change takes some 20 ms; the bound is for a machine that does much else.
    tries = [("words", "ANSWER 4242", "1 of 10,000"), ("words", "", "10,000 of 10,000"),
             ("verdict", "wrong", "2,500 of 10,000"), ("end", "length", "0 of 10,000"),
             ("verdict", "", "200 of 10,000"), ("end", "", "10,000 of 10,000"),
             ("task", "boxes", "5,000 of 10,000"), ("task", "digits", "5,000 of 10,000"),
             ("group", "how many", "1,667 of 10,000"), ("group", "", "5,000 of 10,000")]
    for name, value, shown in tries:
      assert page.evaluate(CHANGE, [name, value]) < 2000
      expect(count).to_have_text(shown)
    page.evaluate(CHANGE, ["order", "unsure"])
    expect(cards.first).to_contain_text("val/9998")
    page.evaluate(CHANGE, ["order", "given"])
    expect(cards.first).to_contain_text(PAYLOAD)
    drawn = cards.count()
    page.locator("#end").scroll_into_view_if_needed()
    expect(cards).not_to_have_count(drawn)

    page.get_by_title("Show these examples").filter(has_text="how many").click()
    expect(count).to_have_text("1,667 of 10,000")
    page.evaluate(CHANGE, ["task", "boxes"])
    page.evaluate(CHANGE, ["words", "\u0633\u0648\u062f\u0627\u0621"])
    expect(count).to_have_text("1 of 10,000")
    reference = page.locator("dd", has_text="\u0633\u0648\u062f\u0627\u0621")
    assert reference.evaluate("element => getComputedStyle(element).direction") == "rtl"
    page.evaluate(CHANGE, ["words", "val/9997"])
    page.get_by_role("button", name="Enlarge example val/9997").press("Enter")
    expect(page.locator("dialog[open] .picture svg")).to_have_count(2)
    page.get_by_role("button", name="close").click()
    page.evaluate(CHANGE, ["words", "no such thing"])
    expect(page.get_by_text("No example is like that.")).to_be_visible()
    assert page.title() == "Large" and not errors and set(asked) <= {"file", "data"}
    browser.close()
