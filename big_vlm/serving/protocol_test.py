import base64
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from big_vlm.decode.session import GenerationConfig
from big_vlm.serving import protocol
from big_vlm.serving.protocol import ApiError, ChatRequest

TINY = "data:image/png;base64," + base64.b64encode(b"\x89PNG").decode()
JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
                    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=9), x),
                    max_leaves=6)
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = st.sampled_from([*protocol.FIELDS, *protocol.HARMLESS, *protocol.NEUTRAL, "odd"])


def chat(content="ocr", **fields):
  body = {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
  return protocol.parse_chat(body, "m", 100, 64)


def refused(status=400, **fields):
  with pytest.raises(ApiError) as caught:
    chat(**fields)
  assert caught.value.status == status
  return str(caught.value)


def test_a_request_is_the_arguments_of_generate():
  parts = [{"type": "text", "text": "ocr"},
           {"type": "image_url", "image_url": {"url": TINY, "detail": "low"}}]
  got = chat(parts, max_tokens=7, temperature=.5, top_p=.9, stop=["\n", "x"], seed=3, logprobs=True,
             user="me", metadata={"a": "b"}, n=1, tools=[], frequency_penalty=0.0)
  assert got == ChatRequest("ocr", (TINY,), GenerationConfig(
      7, sampler="top_p(0.9, t=0.5)", stop=("eos", "\n", "x"), seed=3), logprobs=True)
  assert chat() == ChatRequest("ocr", (), GenerationConfig(64))


@pytest.mark.parametrize("fields, sampler", [
    ({}, "greedy"), ({"temperature": 0, "top_p": .5}, "greedy"), ({"top_p": 1}, "greedy"),
    ({"temperature": 2}, "temperature(2.0)"), ({"top_p": .5}, "top_p(0.5, t=1.0)"),
    ({"temperature": None}, "greedy")])
def test_samplers(fields, sampler):
  assert chat(**fields).config.sampler == sampler


@pytest.mark.parametrize("form, grammar", [
    ({"type": "text"}, None), ({"type": "json_object"}, "json"),
    ({"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "null"}}},
     {"json_schema": {"type": "null"}}),
    ({"type": "regex", "regex": "a+"}, {"regex": "a+"}),
    ({"type": "choices", "choices": ["a", "b"]}, {"choices": ["a", "b"]})])
def test_response_formats(form, grammar):
  assert chat(response_format=form).config.grammar == grammar


@pytest.mark.parametrize("form", [
    3, {}, {"type": "xml"}, {"type": "text", "a": 1}, {"type": ["text"]}, {"type": "regex"},
    {"type": "json_schema", "json_schema": {"scheme": {}}}, {"type": "choices", "choices": "a"},
    {"type": "json_object", "schema": {}}])
def test_response_formats_that_are_none(form):
  refused(response_format=form)


@pytest.mark.parametrize("fields, names", [
    (dict(max_token=3), "'max_token'.*Did you mean 'max_tokens'"), (dict(n=2), "n=2"),
    (dict(n=True), "n=True"), (dict(max_tokens=0), "max_tokens.*1 to 100"),
    (dict(max_tokens=101), "100"), (dict(max_tokens=True), "True"), (dict(max_tokens=2.), "2.0"),
    (dict(max_tokens=2, max_completion_tokens=3), "differ"), (dict(temperature=3), "0 to 2"),
    (dict(temperature="hot"), "'hot'"), (dict(top_p=0), "above 0"), (dict(seed=1.5), "seed"),
    (dict(stop=["a"] * 5), "up to 4"), (dict(stop=[""]), "empty"), (dict(stop="eos"), "'eos'"),
    (dict(stream=1), "stream"), (dict(stream_options={}), "where stream is true"),
    (dict(stream=True, stream_options={"include_use": True}), "stream_options.include_use"),
    (dict(top_logprobs=3), "top_logprobs"), (dict(tools=[{}]), "tools"),
    (dict(content=[]), "parts"), (dict(content=[{"type": "input_audio"}]), "'input_audio'"),
    (dict(content=[{"type": "text", "text": "a"}] * 2), "2 parts of text"),
    (dict(content=[{"type": "image_url", "image_url": {"url": 3}}]), "image_url is a string"),
    (dict(messages=[]), "one message"),
    (dict(messages=[{"role": "system", "content": "a"}]), "'system'"),
    (dict(messages=[{"role": "user", "content": "a"}] * 2), "one message")])
def test_what_is_not_understood_is_named(fields, names):
  assert re.search(names, refused(**fields))


def test_another_model():
  assert "'gpt' is not here: 'm' is" in refused(404, model="gpt")


@SETTINGS
@given(st.dictionaries(NAMES, JSON) | st.fixed_dictionaries(
    {"messages": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": JSON}))}))
def test_any_json_is_a_request_or_an_error_in_openais_shape(body):
  try:
    got = protocol.parse_chat(body, "m", 100, 64)
  except ApiError as e:
    assert 400 <= e.status < 500 and str(e) and len(str(e)) < 700
    json.dumps(e.body())
  else:
    assert isinstance(got, ChatRequest) and 1 <= got.config.max_new_tokens <= 100


@SETTINGS
@given(st.binary(max_size=60) | JSON.map(lambda x: json.dumps(x).encode()))
def test_any_bytes_are_an_object_or_an_error(data):
  try:
    assert isinstance(protocol.parse_json(data), dict)
  except ApiError as e:
    assert e.code == "invalid_json"


@pytest.mark.parametrize("data", [b"[" * 10**5, b'{"a": 1, "a": 2}', b'{"a": NaN}', b"\xff", b"1"])
def test_bodies_that_are_refused(data):
  with pytest.raises(ApiError, match="The body"):
    protocol.parse_json(data)


@SETTINGS
@given(st.text(max_size=60) | st.text(max_size=20).map("data:image/png;base64,{}".format))
def test_any_text_is_a_data_url_or_an_error(url):
  try:
    assert isinstance(protocol.data_url(url), bytes)
  except ApiError as e:
    assert e.code == "invalid_image"


def test_data_url():
  assert protocol.data_url(TINY) == b"\x89PNG"
