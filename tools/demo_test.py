import importlib.util
import math
import shutil
import socket
import subprocess
import types
import urllib.parse

import pytest

import big_vlm
from big_vlm.checkpoints import native
from tests import commands
from tools import demo

CHROMIUM = next(filter(None, map(shutil.which, (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
LACKS = [name for name, there in {
    "streamlit (requirements.txt)": importlib.util.find_spec("streamlit"),
    "playwright (requirements.txt)": importlib.util.find_spec("playwright"),
    "a Chromium on the PATH": CHROMIUM}.items() if not there]


def test_the_table_of_confidences():
  found = [types.SimpleNamespace(box=(4.01, 0., 18.99, 11.), label="3", box_score=0.374,
                                 label_score=0.999, score=0.373),
           types.SimpleNamespace(box=(0., 0., 1., 1.), label="", box_score=None, label_score=None,
                                 score=None)]
  where = "top, left, bottom, right (px)"
  assert demo.confidences(found) == [
      {"object": "3", where: "4, 0, 19, 11", "box": "37%", "label": "100%", "both": "37%"},
      {"object": "", where: "0, 0, 1, 1", "box": "", "label": "", "both": ""}]
  assert demo.confidences([]) == []


def test_how_an_answer_ended_and_how_probable_it_is():
  generation = types.SimpleNamespace(tokens=[5, 1], logprobs=[math.log(.5), math.log(.8)],
                                     finish_reason="eos")
  assert demo.facts(generation) == ("2 tokens · finish reason: eos · probability of the answer 40% "
                                    "· of its least likely token 50%")
  generation = types.SimpleNamespace(tokens=[], logprobs=[], finish_reason="length")
  assert demo.facts(generation) == "0 tokens · finish reason: length"


def test_examples_are_prompts_that_the_model_knows():
  assert demo.examples(("ocr", "detect {digit} ; {digit}", "{x}")) == ("ocr", "detect 3 ; 8")
  assert demo.escaped("- a*") == r"\- a\*"
  assert "detect cat ; dog" in demo.examples(())


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match="pip install -r requirements.txt"):
    demo.main(["W"])


def test_a_model_without_an_image_tower_is_refused_before_the_page_opens(monkeypatch, tmp_path):
  vlm = types.SimpleNamespace(config=types.SimpleNamespace(img=None, llm="gemma"))
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
  monkeypatch.setattr(big_vlm, "from_preset", lambda source, dtype: vlm)
  with pytest.raises(ValueError, match=f"{tmp_path} has no image tower"):
    demo.main([str(tmp_path)])


def test_a_port_that_is_taken():
  with socket.create_server(("127.0.0.1", 0)) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(ValueError, match=f"Port {port} is taken.*--port"):
      demo.check_port(port)
  demo.check_port(port)


def test_the_page_is_for_this_machine_alone_and_tells_nobody():
  assert demo.OPTIONS["server.address"] == "127.0.0.1"
  assert demo.OPTIONS["browser.gatherUsageStats"] == "false"


@pytest.fixture(scope="module")
def source(tmp_path_factory, tokenizer, mesh1):
  """A folder with a small untrained model."""
  bare = tmp_path_factory.mktemp("bare")
  native.write_model(bare, dict(img=dict(variant="tiny"),
                                llm=dict(variant="tiny", vocab_size=1632)), tokenizer)
  folder = tmp_path_factory.mktemp("model") / "saved"
  big_vlm.from_preset(bare, load_weights=False, mesh=mesh1).export(folder, "native")
  return folder


@pytest.fixture(scope="module")
def address(source):
  """Where the page is, served by the command that a user runs."""
  with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
  server = subprocess.Popen(**commands.popen_args(["tools.demo", source, "--port", port]),
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
  try:
    for line in server.stdout:
      if "URL:" in line:
        break
    else:
      raise RuntimeError("the page was not served")
    yield f"http://127.0.0.1:{port}"
  finally:
    server.terminate()
    server.wait()


@pytest.fixture
def browser():
  from playwright import sync_api
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=CHROMIUM)
    yield browser
    browser.close()


@pytest.mark.skipif(bool(LACKS), reason=f"the page is not driven: missing {', '.join(LACKS)}")
def test_the_page_in_a_browser(address, browser):
  from playwright.sync_api import expect
  asked_of = set()
  page = browser.new_page()
  page.set_default_timeout(20_000)
  expect.set_options(timeout=20_000)  # of a machine that does much else
  note = lambda sent: asked_of.add(urllib.parse.urlsplit(sent.url).hostname)
  page.on("request", note)
  page.on("websocket", note)
  page.goto(address)
  expect(page.get_by_text("Upload an image")).to_be_visible()

  page.locator("input[type=file]").set_input_files(commands.ROOT / "docs" / "digits.png")
  expect(page.get_by_role("img").first).to_be_visible()
  page.get_by_label("Prompt", exact=True).fill("detect 3 ; 7")
  page.get_by_role("button", name="Ask").click()
  expect(page.get_by_text("<loc")).to_be_visible()
  rows = page.get_by_role("table").get_by_role("row")
  expect(rows.first).to_contain_text("top, left, bottom, right")
  expect(rows.nth(1)).to_contain_text("%")
  expect(page.get_by_text("finish reason: ")).to_be_visible()
  expect(page.get_by_role("img")).to_have_count(1)
  page.get_by_text("Attention", exact=True).click()
  expect(page.get_by_text("Where each token looks")).to_be_visible()
  expect(page.get_by_role("img").nth(5)).to_be_visible()  # four places and a label at least

  page.get_by_label("Sampler").fill("top_p(p=2)")
  page.get_by_label("Sampler").press("Enter")
  page.get_by_role("button", name="Ask").click()
  expect(page.get_by_text("p is a probability")).to_be_visible()
  assert asked_of <= {"127.0.0.1", None}  # None: data: addresses
