"""The other side of a comparison: transformers, or a server with OpenAI's API.

A side is a function of ([Probe], tokenizer) that gives (its name, [Reply]). It raises ValueError
with what the other side said where it does not answer.
"""
import base64
import dataclasses
import http.client
import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

from big_vlm import probes
from pp.foreign import parse_json
from pp.printable import printable
from pp.token_bytes import token_bytes

ROOT = pathlib.Path(__file__).parents[2]
PARITY = ROOT / ".venv-parity" / "bin" / "python"  # of `make parity`
SCRIPT = pathlib.Path(__file__).with_name("ask_transformers.py")
INSTALL = "make .venv-parity/installed"
TOKENS = ("BIG_VLM_SERVE_TOKEN", "OPENAI_API_KEY")  # environment variables: the bearer token
SECONDS = 600  # of an answer
MAX_ANSWER = 16 << 20  # bytes


class _Stay(urllib.request.HTTPRedirectHandler):
  """Follows no redirect, which would take the token to another server."""

  def redirect_request(self, *args):
    return None


_NO_REDIRECTS = urllib.request.build_opener(_Stay)


@dataclasses.dataclass(frozen=True)
class Reply:
  """What the other side answered to a probe."""
  tokens: list  # ids; None: a token that our tokenizer does not have
  logprobs: list
  texts: list  # of the tokens, for a person
  prompt_ids: list | None = None  # that it read, without placeholders, where it says so


def transformers(folder, dtype="float32", python=None):
  """A side: transformers in a Python of its own, by default this one or that of `make parity`.

  Raises ValueError where there is none, with the command that installs it.
  """
  if python and not _has_transformers(python):
    raise ValueError(f"{python} has no transformers. This installs it: {python} -m pip install "
                     "transformers torch torchvision pillow")
  python = python or next(filter(_has_transformers, (sys.executable, PARITY)), None)
  if not python:
    raise ValueError(f"There is no transformers here. This installs it, 3 GB: {INSTALL}")

  def ask(asked, tokenizer):
    done = subprocess.run([python, SCRIPT, folder, dtype], text=True, capture_output=True, env={
        **os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or len(rows) != 1 + len(asked):
      last = printable((done.stderr.strip().splitlines() or ["it says nothing"])[-1])[:400]
      raise ValueError(f"transformers does not answer from {folder}: {last}")
    about, *rows = rows
    if missing := about["missing"]:
      raise ValueError(f"{about['versions']} finds no weights for {len(missing)} of its parameters "
                       f"and leaves them random: {', '.join(missing[:3])}. The tensors have names "
                       "of another version.")
    return about["versions"], [
        Reply(row["tokens"], row["logprobs"], [_piece(tokenizer, i) for i in row["tokens"]],
              row["prompt_ids"]) for row in rows]
  return ask


def _has_transformers(python):
  try:
    return subprocess.run([python, "-c", "import importlib.util as u, sys; sys.exit(not all(map("
                           "u.find_spec, ('transformers', 'torch'))))"],
                          capture_output=True).returncode == 0
  except OSError:
    return False


def server(url, model=None):
  """A side: a server with OpenAI's chat completions; model: its name of it, by default the first.
  """
  url = url.rstrip("/").removesuffix("/chat/completions")
  url += "" if urllib.parse.urlsplit(url).path else "/v1"

  def ask(asked, tokenizer):
    name = model or _first_model(_get(url, "/models"), url)
    at = {data: i for i, data in reversed([*enumerate(token_bytes(tokenizer))]) if data}
    return f"{name} at {url}", [_reply(url, name, probe, tokenizer, at) for probe in asked]
  return ask


def _first_model(found, url):
  try:
    return str(found["data"][0]["id"])
  except (KeyError, IndexError, TypeError):
    raise ValueError(f"{url}/models names no model: {printable(found)[:200]}. Give --model."
                     ) from None


def _reply(url, model, probe, tokenizer, at):
  content = [{"type": "text", "text": probe.prompt}]
  if probe.image:
    data = probes.URL + base64.b64encode(probe.image).decode()
    content.append({"type": "image_url", "image_url": {"url": data}})
  found = _get(url, "/chat/completions", {
      "model": model, "messages": [{"role": "user", "content": content}], "temperature": 0,
      "max_tokens": probe.max_new_tokens, "logprobs": True})
  try:
    rows = found["choices"][0]["logprobs"]["content"]
    texts, logprobs = [row["token"] for row in rows], [float(row["logprob"]) for row in rows]
    data = [row["token"].encode() if row.get("bytes") is None else bytes(row["bytes"])
            for row in rows]
  except (KeyError, IndexError, TypeError, ValueError, AttributeError):
    raise ValueError(f"{url} answers without log-probabilities, choices[0].logprobs.content, as "
                     f"OpenAI's API has them: {printable(found)[:200]}") from None
  expected = [*probe.tokens, *[tokenizer.eos_token] * len(rows)]
  table = token_bytes(tokenizer)  # a model may have ids that its tokenizer has not
  same = lambda i: expected[i] < len(table) and (
      data[i] == table[expected[i]] or texts[i] == tokenizer.piece(expected[i]))
  tokens = [expected[i] if same(i) else at.get(data[i]) for i in range(len(rows))]
  return Reply(tokens, logprobs, texts)


def _get(url, path, body=None):
  headers = {"Content-Type": "application/json"}
  if token := next((t for name in TOKENS if (t := os.environ.get(name))), None):
    headers["Authorization"] = f"Bearer {token}"
  request = urllib.request.Request(url + path, body and json.dumps(body).encode(), headers)
  try:
    with _NO_REDIRECTS.open(request, timeout=SECONDS) as answer:
      return parse_json(answer.read(MAX_ANSWER), f"{url}{path}")
  except urllib.error.HTTPError as e:
    more = f" Its token goes into the environment variable {TOKENS[0]}." * (e.code == 401)
    raise ValueError(f"{url}{path} answers {e.code}: "
                     f"{printable(e.read(400).decode(errors='replace'))}{more}") from None
  except (OSError, ValueError, http.client.HTTPException) as e:  # the last: it speaks no HTTP
    raise ValueError(f"{url}{path} gives no answer: {getattr(e, 'reason', e)}.") from None


def _piece(tokenizer, i):
  return tokenizer.piece(i) if 0 <= i < tokenizer.vocab_size else f"id {i}"
