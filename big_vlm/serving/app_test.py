import base64
import concurrent.futures
import dataclasses
import http.client
import io
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time

import jax
import numpy as np
import openai
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from big_vlm.serving import app, engine
from big_vlm.vlm import VLM
from pp.ops_image import decode_image

DIGITS = pathlib.Path(__file__).parents[2] / "docs" / "digits.png"
URL = "data:image/png;base64," + base64.b64encode(DIGITS.read_bytes()).decode()
SIZES = engine.Sizes(slots=4, prompt_tokens=32, images=1, new_tokens=16, queue=40)
LIMITS = app.Limits(body_bytes=1 << 20, pixels=500_000, seconds=60)


def content(prompt, url=URL):
  return [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]


class Running:
  """A server on a port of this machine."""

  def __init__(self, vlm, sizes=SIZES, **settings):
    self.engine = engine.Engine(vlm, sizes)
    self.engine.start()
    self.server = app.Server(vlm, self.engine, "small", **{"limits": LIMITS, **settings})
    self._http = uvicorn.Server(uvicorn.Config(self.server.app, port=0, log_level="error"))
    self._thread = threading.Thread(target=self._http.run)
    self._thread.start()
    while not self._http.started:
      time.sleep(.01)
    self.port = self._http.servers[0].sockets[0].getsockname()[1]
    self.client = openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key="none",
                                max_retries=0)

  def ask(self, prompt, url=URL, **fields):
    return self.client.chat.completions.create(model="small", **fields, messages=[
        {"role": "user", "content": content(prompt, url) if url else prompt}])

  def post(self, body, path="/v1/chat/completions", **headers):
    """(status, JSON) of a body as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())

  def metric(self, name):
    text = self.server.metrics.text()[0].decode()
    return float(re.search(rf"^big_vlm_{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])

  def close(self):
    self._http.should_exit = True
    self._thread.join()
    self.engine.close()


@pytest.fixture(scope="module")
def server(vlm):
  running = Running(vlm)
  yield running
  running.close()


@pytest.fixture(scope="module")
def pixels():
  return decode_image(DIGITS.read_bytes())


def until(condition):
  end = time.monotonic() + 60
  while not condition():
    assert time.monotonic() < end
    time.sleep(.01)


def test_the_official_client(server, vlm, pixels):
  wanted, = vlm.generate("caption en", pixels, max_new_tokens=9)
  got = server.ask("caption en", max_tokens=9, logprobs=True, user="me")
  choice, = got.choices
  assert choice.message.content == wanted.text and choice.finish_reason == "length"
  assert [x.logprob for x in choice.logprobs.content] == pytest.approx(wanted.logprobs, abs=1e-5)
  assert got.usage.completion_tokens == 9
  assert got.usage.prompt_tokens == vlm.config.img.tokens + len(
      vlm.tokenizer.to_int("caption en\n", bos=True))
  assert [m.id for m in server.client.models.list()] == ["small"]
  assert server.client.models.retrieve("small").owned_by == "big_vlm"
  assert server.ask("caption en", None, max_tokens=3).usage.completion_tokens == 3  # text alone


def test_a_stream(server, vlm, pixels):
  config = dict(sampler="top_p(0.9, t=2.0)", seed=4, max_new_tokens=16)
  wanted, = vlm.generate("ocr", pixels, **config)
  chunks = list(server.ask("ocr", stream=True, stream_options={"include_usage": True},
                           logprobs=True, temperature=2, top_p=.9, seed=4, max_tokens=16))
  *pieces, last, usage = chunks
  assert usage.usage.completion_tokens == len(wanted.tokens) and not usage.choices
  assert last.choices[0].finish_reason == {"eos": "stop"}.get(wanted.finish_reason, "length")
  assert "".join(c.choices[0].delta.content for c in pieces) == wanted.text
  logprobs = [x.logprob for c in pieces if c.choices[0].logprobs
              for x in c.choices[0].logprobs.content]
  assert logprobs == pytest.approx(wanted.logprobs, abs=1e-5)


def test_structured_answers(server, vlm, pixels):
  schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
  form = {"type": "json_schema", "json_schema": {"name": "count", "schema": schema}}
  wanted, = vlm.generate("ocr", pixels, grammar={"json_schema": schema}, max_new_tokens=16)
  got = server.ask("ocr", max_tokens=16, response_format=form).choices[0]
  assert got.message.content == wanted.text and got.finish_reason == "stop"
  assert list(json.loads(got.message.content)) == ["n"]
  drawn = server.ask("ocr", max_tokens=16, response_format=form, temperature=2, seed=1, stream=True)
  text = "".join(c.choices[0].delta.content or "" for c in drawn)
  wanted, = vlm.generate("ocr", pixels, grammar={"json_schema": schema}, max_new_tokens=16, seed=1,
                         sampler="temperature(2.)")
  assert text == wanted.text and json.loads(text)
  free = server.ask("ocr", max_tokens=16, response_format={"type": "json_object"})
  assert isinstance(json.loads(free.choices[0].message.content), dict)
  pattern = server.ask("ocr", max_tokens=9, response_format={"type": "regex", "regex": "[0-9]{2}"})
  assert re.fullmatch("[0-9]{2}", pattern.choices[0].message.content)


def test_choices_have_probabilities(server, vlm, pixels):
  form = {"type": "choices", "choices": ["yes", "no"]}
  wanted, = vlm.generate("ocr", pixels, grammar=["yes", "no"])
  got = server.ask("ocr", response_format=form, max_tokens=9).choices[0]
  assert got.message.content == wanted.text
  assert got.probabilities == pytest.approx(wanted.choices)
  refused = lambda **fields: error(400, None, server.post(body(response_format=form, **fields)))
  assert "leave stream out" in refused(stream=True)
  assert "longest choice" in refused(max_tokens=1)
  assert "at most 32 are taken" in error(400, None, server.post(json.dumps({
      "response_format": form, "messages": [{"role": "user", "content": "ocr " * 40}]}).encode()))


def test_load(server, vlm, rng, pixels):
  """Answers of 120 mixed requests from 8 clients are those of generate; nothing stays behind."""
  asks = [dict(prompt=f"answer en {i % 7}", url=URL if i % 3 else None, max_tokens=1 + i * 5 % 16,
               seed=i, temperature=i % 2 * 1.5, stream=i % 4 == 0) for i in range(120)]

  def text(ask):
    got = server.ask(**ask)
    if not ask["stream"]:
      return got.choices[0].message.content
    return "".join(c.choices[0].delta.content or "" for c in got)
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = list(pool.map(text, asks))
  for sampler, drawn in (("greedy", 0), ("temperature(1.5)", 1)):
    part = [i for i in range(120) if i % 2 == drawn]
    answers = vlm.generate([asks[i]["prompt"] for i in part],
                           [pixels if asks[i]["url"] else None for i in part], max_new_tokens=16,
                           sampler=sampler, seed=part)
    for i, answer in zip(part, answers):
      cut = answer.tokens[:asks[i]["max_tokens"]]
      assert found[i] == vlm.tokenizer.to_str(cut), asks[i]
  assert server.engine.running == server.engine.waiting == 0


def test_curl(server):
  body = json.dumps({"messages": [{"role": "user", "content": content("ocr")}], "max_tokens": 2})
  done = subprocess.run(
      ["curl", "-sS", f"http://127.0.0.1:{server.port}/v1/chat/completions", "-d", "@-"],
      input=body, capture_output=True, text=True, check=True)
  assert json.loads(done.stdout)["usage"]["completion_tokens"] == 2


def test_health_and_metrics(server):
  server.ask("ocr", max_tokens=1)
  connection = http.client.HTTPConnection("127.0.0.1", server.port)
  connection.request("GET", "/healthz")
  assert connection.getresponse().read() == b"ok\n"
  connection.request("GET", "/metrics")
  text = connection.getresponse().read().decode()
  assert "big_vlm_slots 4.0" in text and "# TYPE big_vlm_tokens_total counter" in text
  assert 'big_vlm_requests_total{route="/v1/chat/completions",status="200"}' in text


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_slot(server, monkeypatch, stream):
  gate, real = threading.Event(), server.engine._slots.advance

  def slow(finished, most):  # a token comes only when the test says so, or after a moment
    gate.wait(.3)
    return real(finished)
  monkeypatch.setattr(server.engine._slots, "advance", slow)
  before = server.metric("cancelled_total")
  body = json.dumps({"messages": [{"role": "user", "content": "ocr"}], "max_tokens": 16,
                     "stream": stream, "temperature": 2}).encode()
  with socket.create_connection(("127.0.0.1", server.port)) as client:
    client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
                   % len(body) + body)
    until(lambda: server.engine.running == 1)
  until(lambda: server.engine.running == 0)
  gate.set()
  assert server.metric("cancelled_total") == before + 1


def error(status, code, got):
  """Checks an answer (status, JSON), and returns its sentence."""
  assert got[0] == status and set(got[1]) == {"error"}
  assert set(got[1]["error"]) == {"message", "type", "param", "code"}
  assert got[1]["error"]["code"] == code
  return got[1]["error"]["message"]


def body(url=URL, **fields):
  return json.dumps({"messages": [{"role": "user", "content": content("ocr", url)}], **fields})


def big_png(side):
  data = io.BytesIO()
  Image.new("L", (side, side)).save(data, "PNG")
  return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()


def test_limits_are_4xx_in_openais_shape(server):
  assert "1,048,576 bytes" in error(413, "body_too_large", server.post(b" " * (2 << 20)))
  assert "1000 x 1000" in error(413, "image_too_large", server.post(body(big_png(1000))))
  assert "at most 1 images" in error(400, None, server.post(json.dumps({"messages": [{
      "role": "user", "content": content("ocr") + content("")[1:]}]})))
  assert "at most 32" in error(400, None, server.post(json.dumps({"messages": [{
      "role": "user", "content": "ocr " * 99}]})))
  assert "1 to 16" in error(400, None, server.post(body(max_tokens=17)))
  assert "'odd'" in error(400, "unknown_parameter", server.post(body(odd=1)))
  error(400, "unknown_parameter", server.post(b'{"\\ud800": 1, "messages": []}'))
  assert "not JSON" in error(400, "invalid_json", server.post(b"{"))
  form = {"type": "json_schema", "json_schema": {"schema": {"type": "integer", "minimum": 3}}}
  assert "'minimum'" in error(400, None, server.post(body(response_format=form)))
  error(404, "model_not_found", server.post(body(model="gpt-4")))
  error(404, "not_found", server.post(b"", "/v1/nothing"))
  error(400, "invalid_image", server.post(body("data:image/png;base64,AAAA")))


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "https://a.b/c.png",
                                 "FILE:///etc/passwd"])
def test_urls_of_images_are_refused(server, url):
  assert "not fetched here" in error(400, "image_url_refused", server.post(body(url)))


def test_urls_of_images_where_they_are_allowed(vlm, tmp_path):
  running = Running(vlm, limits=app.Limits(pixels=10**6, image_urls=("http", "file")))
  try:
    text = lambda url: running.ask("ocr", url, max_tokens=4).choices[0].message.content
    assert text(DIGITS.as_uri()) == text(URL)
    for url, why in (
        (f"file://{tmp_path}/no.png", "No such file"), ("http://127.0.0.1:1/", "refused"),
        ("http://127.0.0.1:port/a.png", "port"), ("http://127.0.0.1/my cat.png", "control"),
        (f"file://{os.devnull}", "fetched|read"), (f"file://{__file__}", "cannot be read")):
      status, got = running.post(body(url))
      assert status == 400 and re.search(why, got["error"]["message"]), got
    assert running.post(body("https://a.b/c.png"))[1]["error"]["code"] == "image_url_refused"
  finally:
    running.close()


def test_a_body_that_never_ends_frees_its_place(vlm):
  running = Running(vlm, dataclasses.replace(SIZES, queue=1),
                    limits=app.Limits(seconds=60, body_seconds=.5))
  try:
    with socket.create_connection(("127.0.0.1", running.port)) as held:
      held.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
      until(lambda: running.server._reading == 1)
      error(429, "queue_full", running.post(body()))
      said, answer = b"The body did not come within 0.5 s.", held.recv(4096)
      while said not in answer and (part := held.recv(4096)):  # the headers may come alone
        answer += part
      assert said in answer
    assert running.post(body(max_tokens=2))[0] == 200
  finally:
    running.close()


def test_a_full_queue_and_a_late_answer(vlm, monkeypatch):
  running = Running(vlm, engine.Sizes(slots=1, prompt_tokens=32, images=1, new_tokens=16, queue=1),
                    limits=app.Limits(seconds=1.5))
  gate, real = threading.Event(), running.engine._slots.advance
  monkeypatch.setattr(running.engine._slots, "advance", lambda f, most: gate.wait(60) and real(f))
  try:
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
      first = pool.submit(running.post, body(max_tokens=9))
      until(lambda: running.engine.running == 1)
      second = pool.submit(running.post, body())
      until(lambda: running.engine.waiting == 1)
      assert "1 requests wait" in error(429, "queue_full", running.post(body()))
      assert "1.5 s" in error(408, "timeout", first.result())
      error(408, "timeout", second.result())
      assert running.engine.waiting == 0
    gate.set()
    until(lambda: running.engine.running == 0)
  finally:
    gate.set()
    running.close()


def test_embeddings(server, vlm, pixels):
  got = server.client.embeddings.create(model="small", input=[URL, URL])
  np.testing.assert_allclose([x.embedding for x in got.data], vlm.embed([pixels] * 2), atol=1e-6)
  floats = server.client.embeddings.create(model="small", input=URL, encoding_format="float")
  assert floats.data[0].embedding == pytest.approx(got.data[0].embedding)
  post = lambda **fields: server.post(json.dumps(fields), "/v1/embeddings")
  error(400, "unsupported_input", post(input="a text"))  # PaliGemma's decoder embeds none
  assert "'dimensions'" in error(400, "unknown_parameter", post(input=URL, dimensions=3))
  for odd in (None, [], [3], "", [[1, 2]], ["a"] * 65):
    assert "input is" in error(400, None, post(input=odd))


def test_a_model_that_only_embeds(pixels, mesh1):
  tower = VLM.from_config({"img": {"variant": "tiny"}}, mesh=mesh1)
  http = TestClient(app.Server(tower, None, "tower", LIMITS).app)
  got = http.post("/v1/embeddings", json={"input": URL}).json()
  np.testing.assert_allclose(got["data"][0]["embedding"], tower.embed(pixels)[0], atol=1e-6)
  refused = http.post("/v1/chat/completions", json={"messages": []})
  assert "no decoder" in error(400, "unsupported_model", (refused.status_code, refused.json()))
  assert http.get("/healthz").text == "ok\n" and b"big_vlm_requests" in http.get("/metrics").content


def test_a_bearer_token(vlm):
  running = Running(vlm, token="secret-word")
  try:
    for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic secret-word"}):
      assert "secret" not in error(401, "invalid_api_key", running.post(body(), **headers))
    with pytest.raises(openai.AuthenticationError):
      running.client.models.list()
    allowed = running.client.with_options(api_key="secret-word")
    assert [m.id for m in allowed.models.list()] == ["small"]
  finally:
    running.close()


def test_answers_of_nan_are_an_error(vlm):
  broken = dataclasses.replace(vlm, params=jax.tree.map(lambda x: x * np.nan, vlm.params))
  running = Running(broken)
  try:
    assert "NaN" in error(500, "failed", running.post(body(max_tokens=2)))
  finally:
    running.close()
