"""A page to ask a model about images: python -m tools.demo W, then open http://127.0.0.1:7860

Drop an image, type a prompt; the answer comes as it is decoded, boxes and masks drawn, with a table
of the model's confidences. Only this machine can open the page, and it fetches nothing from
elsewhere. The page itself is in demo_page.py.
"""
import importlib.util
import math
import pathlib
import re
import socket

from big_vlm import cli, compilation
from tools import overlay, predict

MISSING = ("The page needs Streamlit, which is an extra of this project: "
           "pip install -r requirements.txt")
PAGE = pathlib.Path(__file__).with_name("demo_page.py")
OPTIONS = {
    "server.address": "127.0.0.1",
    "server.headless": "true",  # opens no browser, asks for no e-mail address
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",  # no button that publishes the page
}


WORDS = {"{lang}": ("en",), "{question}": ("how many are there?",), "{digit}": ("3", "8"),
         "{thing}": ("cat", "dog"), "{answer}": ("two",), "{sentence}": ("a cat on a mat",)}
EXAMPLES = ("caption en", "ocr", "answer en how many are there?", "detect cat ; dog", "segment cat")


def examples(prompts):
  """Prompts to click on: those that a released model knows, such as "caption {lang}", filled in; of
  other models a few of PaliGemma's."""
  def filled(prompt):
    for gap, words in WORDS.items():
      for word in words:
        prompt = prompt.replace(gap, word, 1)
    return prompt
  known = tuple(p for p in map(filled, prompts) if not set(p) & set("{\n"))
  return known or EXAMPLES


def escaped(text):
  """A text as Markdown that shows it letter by letter."""
  return re.sub(r"([^\w\s])", r"\\\1", text)


def facts(generation):
  """How an answer ended and how probable the model finds it, as a line of text."""
  logprobs = generation.logprobs
  parts = [f"{len(generation.tokens)} tokens", f"finish reason: {generation.finish_reason}"]
  if logprobs:
    parts += [f"probability of the answer {overlay.percent(math.exp(sum(logprobs)))}",
              f"of its least likely token {overlay.percent(math.exp(min(logprobs)))}"]
  return " · ".join(parts)


def confidences(found):
  """The table of objects: a dict for each, ready to be shown."""
  return [{"object": o.label, "top, left, bottom, right (px)": ", ".join(f"{v:.0f}" for v in o.box),
           "box": overlay.percent(o.box_score), "label": overlay.percent(o.label_score),
           "both": overlay.percent(o.score)} for o in found]


def serve(source, port, decoder=None):
  """Loads the model, then serves the page until the process is ended."""
  if not importlib.util.find_spec("streamlit"):
    raise ValueError(MISSING)
  check_port(port)
  predict.load(source)  # here, so that an error shows on the terminal
  predict.read_vqvae(decoder)
  from streamlit.web import cli  # here: the extra may be missing
  options = [f"--{name}={value}" for name, value in OPTIONS.items()]
  arguments = [source, decoder] if decoder else [source]
  cli.main(["run", str(PAGE), *options, f"--server.port={port}", "--", *arguments],
           standalone_mode=False)


def check_port(port):
  """ValueError for no port, and if something is served there already."""
  if not 0 <= port < 2**16:
    raise ValueError(f"--port {port} is not between 0 and {2**16 - 1}.")
  with socket.socket() as probe:
    if probe.connect_ex(("127.0.0.1", port)) == 0:
      raise ValueError(f"Port {port} is taken, perhaps by this command, started before: "
                       "--port gives another one.")


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("source", help="a preset, a handle (hf://...), a checkpoint or a work folder")
  parser.add_argument("--port", type=int, default=7860)
  parser.add_argument("--vqvae", help="vae-oid.npz: decodes the masks of `segment`")
  args = parser.parse_args(argv)
  compilation.cache()
  serve(args.source, args.port, args.vqvae)


if __name__ == "__main__":
  cli.run(main)
