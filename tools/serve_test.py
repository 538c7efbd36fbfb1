import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.request

import pytest

from tests import commands
from tools import serve

SMALL = ("--port", 0, "--slots", 2, "--max_prompt_tokens", 16, "--max_tokens", 32)


@pytest.fixture(scope="module")
def started():
  """A server of `digits` as a user starts it, and its address."""
  process = subprocess.Popen(**commands.popen_args(
      ["tools.serve", "digits", *SMALL], env={"BIG_VLM_SERVE_TOKEN": "word"}),
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
  lines = []
  for line in process.stdout:
    lines.append(line)
    if found := re.search(r"serving digits on (\S+)", line):
      break
  else:
    raise RuntimeError("".join(lines))
  assert "word" not in "".join(lines)
  yield process, found[1]
  process.kill()
  process.wait()


def ask(address, **fields):
  body = {"messages": [{"role": "user", "content": "ocr"}], **fields}
  request = urllib.request.Request(f"{address}/chat/completions", json.dumps(body).encode(),
                                   {"Authorization": "Bearer word"})
  with urllib.request.urlopen(request, timeout=60) as answer:
    return answer.read()


def test_sigterm_answers_what_was_asked_and_ends(started):
  process, address = started
  assert json.loads(ask(address, max_tokens=2))["usage"]["completion_tokens"] == 2
  found = []
  clients = [threading.Thread(target=lambda: found.append(ask(
      address, max_tokens=32, temperature=2, stream=True))) for _ in range(5)]
  for client in clients:
    client.start()
  time.sleep(.05)
  process.send_signal(signal.SIGTERM)
  for client in clients:
    client.join()
  done = [data for data in found if data.endswith(b"data: [DONE]\n\n") and b"finish_reason" in data]
  assert len(done) == len(found)  # a connection that came too late was refused
  assert process.wait(timeout=60) == 0
  assert process.stdout.read().endswith("all requests are answered\n")


def test_tokens(tmp_path, monkeypatch):
  monkeypatch.delenv(serve.TOKEN, raising=False)
  path = tmp_path / "token"
  path.write_text("secret\n")
  assert serve.read_token(path) == "secret" and serve.read_token(None) is None
  for text in ("", " \n", "two words", "ä"):
    path.write_text(text)
    with pytest.raises(ValueError, match="one word of ASCII"):
      serve.read_token(path)
  with pytest.raises(OSError, match="No such file"):
    serve.read_token(tmp_path / "other")
  monkeypatch.setitem(os.environ, serve.TOKEN, "word")
  assert serve.read_token(None) == "word"


@pytest.mark.parametrize("flag, value", [("--slots", 0), ("--timeout", -1), ("--max_images", -1)])
def test_numbers_that_make_no_sense(flag, value):
  with pytest.raises(ValueError, match=f"{flag} {value}"):
    serve.main(["digits", flag, str(value)])


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
  monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ValueError, match="pip install"):
    serve.main(["digits"])
