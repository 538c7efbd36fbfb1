"""OpenAI's chat completions as requests to the engine, and answers as theirs: plain functions.

https://platform.openai.com/docs/api-reference/chat. A request is one user message: the models read
one prompt with its images, and no conversation. What would change an answer and is not understood
is an error that names it; what changes none (HARMLESS) is accepted.
"""
import base64
import binascii
import dataclasses
import json
import math
import re

from big_vlm.decode import structured
from big_vlm.decode.session import GenerationConfig
from pp.names import near_miss
from pp.printable import printable
from pp.token_bytes import token_bytes

# Fields that only name, bill, store or route a request.
HARMLESS = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
            "prompt_cache_retention")
# Fields of features that are not here, with the values that ask for none of them.
NEUTRAL = {"n": (1,), "presence_penalty": (0,), "frequency_penalty": (0,), "logit_bias": ({},),
           "top_logprobs": (0,), "tools": ([],), "tool_choice": ("none", "auto"),
           "parallel_tool_calls": (True, False), "functions": ([],), "modalities": (["text"],)}
FIELDS = ("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p",
          "stop", "seed", "stream", "stream_options", "logprobs", "response_format")
# Types of a response_format, with the field that says more; regex and choices are not OpenAI's.
FORMATS = {"text": None, "json_object": None, "json_schema": "json_schema", "regex": "regex",
           "choices": "choices"}
EOS_NAMES = ("eos", "auto")  # that generate() takes for the end of a text, not for letters
MAX_STOPS = 4
MAX_INPUTS = 64  # of a request for embeddings
FINISH = {"eos": "stop", "stop": "stop", "length": "length"}


class ApiError(Exception):
  """An answer that says what is wrong with a request."""

  def __init__(self, message, param=None, code=None, status=400):
    super().__init__(message)
    self.status, self.param, self.code = status, param and printable(param), code

  def body(self):
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(
        self.status, "server_error" if self.status >= 500 else "invalid_request_error")
    return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclasses.dataclass(frozen=True)
class ChatRequest:
  prompt: str
  images: tuple  # of str: URLs
  config: GenerationConfig
  stream: bool = False
  include_usage: bool = False  # at the end of a stream
  logprobs: bool = False


def parse_json(data):
  """A JSON object from bytes; ApiError for anything else."""
  def unique(pairs):
    if len(found := dict(pairs)) != len(pairs):
      raise ValueError("a key comes twice in an object")
    return found

  def refuse(name):
    raise ValueError(f"{name} is not JSON")
  try:
    found = json.loads(data, object_pairs_hook=unique, parse_constant=refuse)
  except (ValueError, RecursionError) as e:
    raise ApiError(f"The body is not JSON: {str(e)[:200]}.", code="invalid_json") from None
  if not isinstance(found, dict):
    raise ApiError(f"The body is a JSON object, not {_shown(found)}.", code="invalid_json")
  return found


def parse_chat(body, model, max_tokens, default_tokens):
  """The ChatRequest of a JSON object.

  model: the name that is served. max_tokens: the most that may be asked for; default_tokens: where
  nothing is. Raises ApiError, which names the field.
  """
  body = {name: value for name, value in body.items() if value is not None}
  _check_fields(body)
  check_model(body.get("model", model), model)
  prompt, images = _message(body)
  tokens = [_number(body, name, int, 1, max_tokens)
            for name in ("max_completion_tokens", "max_tokens") if name in body]
  if len(set(tokens)) > 1:
    raise ApiError("max_tokens and max_completion_tokens differ: give one of them.", "max_tokens")
  seed = _number(body, "seed", int, -2**63, 2**63 - 1) if "seed" in body else GenerationConfig.seed
  stream, options = _bool(body, "stream"), body.get("stream_options", {})
  if "stream_options" in body and not (stream and isinstance(options, dict)):
    raise ApiError("stream_options is an object, and only where stream is true.", "stream_options")
  for name in options:
    if name not in ("include_usage", "include_obfuscation"):
      raise ApiError(f"stream_options.{name} is unknown.{near_miss(name, ['include_usage'])}",
                     f"stream_options.{name}")
  config = GenerationConfig(
      max_new_tokens=tokens[0] if tokens else default_tokens, sampler=_sampler(body),
      stop=("eos", *_stops(body)), seed=seed, grammar=_grammar(body))
  return ChatRequest(prompt, images, config, stream, _bool(options, "include_usage"),
                     _bool(body, "logprobs"))


@dataclasses.dataclass(frozen=True)
class EmbeddingRequest:
  inputs: tuple  # of str: texts, and URLs of images
  base64: bool  # how the vectors are written


def parse_embeddings(body, model):
  """The EmbeddingRequest of a JSON object; ApiError as parse_chat()."""
  body = {name: value for name, value in body.items() if value is not None}
  for name in body:
    if name not in ("model", "input", "encoding_format", "user"):
      raise ApiError(f"The field {_shown(name)} is unknown here."
                     f"{near_miss(name, ('input', 'encoding_format'))}", name[:80],
                     "unknown_parameter")
  check_model(body.get("model", model), model)
  found = body.get("input")
  found = [found] if isinstance(found, str) else found
  if not isinstance(found, list) or not 1 <= len(found) <= MAX_INPUTS or not all(
      isinstance(x, str) and x for x in found):
    raise ApiError(f"input is a text, the data URL of an image, or a list of 1 to {MAX_INPUTS} of "
                   "these.", "input")
  form = body.get("encoding_format", "float")
  if form not in ("float", "base64"):
    raise ApiError(f"encoding_format is float or base64, not {_shown(form)}.", "encoding_format")
  return EmbeddingRequest(tuple(found), form == "base64")


def is_image(text):
  """Whether an input of an embedding names an image."""
  return re.match(r"(data:image/|(https?|file):/)", text, re.IGNORECASE) is not None


def embeddings(model, vectors, as_base64, tokens):
  """The answer of vectors float32 [N, D]; tokens: of the texts."""
  row = lambda x: base64.b64encode(x.astype("<f4").tobytes()).decode() if as_base64 else x.tolist()
  return {"object": "list", "model": model,
          "data": [{"object": "embedding", "index": i, "embedding": row(x)}
                   for i, x in enumerate(vectors)],
          "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}


def check_model(name, served):
  if name != served:
    raise ApiError(f"The model {_shown(name)} is not here: {served!r} is.", "model",
                   "model_not_found", 404)


def _check_fields(body):
  for name, value in body.items():
    if name in (*FIELDS, *HARMLESS):
      continue
    if name not in NEUTRAL:
      raise ApiError(f"The field {_shown(name)} is unknown here.{near_miss(name, FIELDS)}",
                     name[:80], "unknown_parameter")
    if not any(value == v and isinstance(value, bool) == isinstance(v, bool)
               for v in NEUTRAL[name]):
      raise ApiError(f"{name}={_shown(value)} is not supported: leave the field out.", name,
                     "unsupported_parameter")


def _message(body):
  """(prompt, (URL of an image, ...)) of the messages."""
  messages = body.get("messages")
  if not isinstance(messages, list) or len(messages) != 1 or not isinstance(messages[0], dict):
    raise ApiError("messages is a list of one message, {\"role\": \"user\", \"content\": ...}: the "
                   "model answers a prompt about images, and follows no conversation.", "messages")
  message, where = messages[0], "messages[0]"
  if odd := [name for name in message if name not in ("role", "content", "name")]:
    raise ApiError(f"{where} has the unknown field {_shown(odd[0])}."
                   f"{near_miss(odd[0], ('role', 'content'))}", f"{where}.{odd[0][:80]}")
  if message.get("role") != "user":
    raise ApiError(f"The role {_shown(message.get('role'))} is not supported: the one message is "
                   "the user's.", f"{where}.role")
  content = message.get("content")
  if isinstance(content, str):
    return content, ()
  if not isinstance(content, list) or not content:
    raise ApiError("content is a string, or a list of parts of the types text and image_url.",
                   f"{where}.content")
  parts = [_part(part, f"{where}.content[{i}]") for i, part in enumerate(content)]
  texts, images = ([value for kind, value in parts if kind == which] for which in
                   ("text", "image_url"))
  if len(texts) > 1:
    raise ApiError(f"The content has {len(texts)} parts of text: the prompt is one.",
                   f"{where}.content")
  return texts[0] if texts else "", tuple(images)


def _part(part, where):
  kind = part.get("type") if isinstance(part, dict) else None
  if kind not in ("text", "image_url"):
    raise ApiError(f"A part of the content has the type text or image_url, not {_shown(kind)}.",
                   f"{where}.type")
  if odd := [name for name in part if name not in ("type", kind)]:
    raise ApiError(f"{where} has the unknown field {_shown(odd[0])}.", f"{where}.{odd[0][:80]}")
  value = part.get(kind)
  if kind == "image_url":
    if isinstance(value, dict):
      if odd := [name for name in value if name not in ("url", "detail")]:
        raise ApiError(f"image_url has the unknown field {_shown(odd[0])}.",
                       f"{where}.image_url.{odd[0][:80]}")
      value = value.get("url")  # detail: the model sees one size
    where += ".url"
  if not isinstance(value, str):
    raise ApiError(f"{kind} is a string, not {_shown(value)}.", where)
  return kind, value


def _sampler(body):
  """generate()'s sampler. Without a temperature the likeliest token is taken, unless top_p asks
  for draws."""
  p = _number(body, "top_p", float, 0, 1) if "top_p" in body else 1.
  t = _number(body, "temperature", float, 0, 2) if "temperature" in body else float(p < 1)
  if not p:
    raise ApiError("top_p is a probability above 0 and at most 1.", "top_p")
  if not t:
    return "greedy"
  return f"temperature({t!r})" if p == 1 else f"top_p({p!r}, t={t!r})"


def _stops(body):
  stops = body.get("stop", [])
  stops = [stops] if isinstance(stops, str) else stops
  if not isinstance(stops, list) or len(stops) > MAX_STOPS or not all(
      isinstance(s, str) and s for s in stops):
    raise ApiError(f"stop is a text or a list of up to {MAX_STOPS}, none of them empty.", "stop")
  if odd := next((s for s in stops if s in EOS_NAMES), None):
    raise ApiError(f"The stop {odd!r} names the end of a text, which ends every answer anyway: "
                   "leave it out.", "stop")
  return stops


def _grammar(body):
  """generate()'s grammar of response_format."""
  form = body.get("response_format", {"type": "text"})
  kind = form.get("type") if isinstance(form, dict) else None
  if not isinstance(kind, str) or kind not in FORMATS:
    raise ApiError(f"response_format has a type, one of {', '.join(FORMATS)}; not {_shown(form)}.",
                   "response_format", "unsupported_parameter")
  field = FORMATS[kind]
  if odd := [name for name in form if name not in ("type", field)]:
    raise ApiError(f"response_format of type {kind} has the unknown field {_shown(odd[0])}.",
                   "response_format")
  if field is None:
    return {"text": None, "json_object": "json"}[kind]
  value = form.get(field)
  if kind == "json_schema":
    if not isinstance(value, dict) or not set(value) <= {"name", "schema", "strict", "description"}:
      raise ApiError('json_schema is {"name": ..., "schema": {...}}, with "strict" and '
                     f'"description" if you like; not {_shown(value)}.', "response_format")
    value = value.get("schema")
  try:
    structured.normalized({field: value})
  except ValueError as e:
    raise ApiError(str(e), "response_format") from None
  return {field: value}


def _number(body, name, kind, low, high):
  """A field as int or float within bounds."""
  value = body[name]
  whole = isinstance(value, int) and not isinstance(value, bool)
  if not (whole or kind is float and isinstance(value, float) and math.isfinite(value)
          ) or not low <= value <= high:
    what = "a whole number" if kind is int else "a number"
    raise ApiError(f"{name} is {what} from {low} to {high}, not {_shown(value)}.", name)
  return kind(value)


def _bool(body, name):
  value = body.get(name)
  if value not in (None, True, False) or isinstance(value, (int, float)) and not isinstance(
      value, bool):
    raise ApiError(f"{name} is true or false, not {_shown(value)}.", name)
  return bool(value)


def _shown(value):
  return repr(value)[:80]


def data_url(url, param="image_url"):
  """The bytes of data:image/png;base64,...; ApiError for any other text."""
  found = re.match(r"data:image/[\w.+-]{1,40};base64,", url[:80])
  try:
    if found:
      return base64.b64decode(url[found.end():], validate=True)
  except (binascii.Error, ValueError):  # ValueError: not ASCII
    pass
  raise ApiError(f"The image {url[:40]!r} is not a data URL, data:image/png;base64,... with "
                 "correct base64.", param, "invalid_image")


def usage(prompt, completion):
  return {"prompt_tokens": prompt, "completion_tokens": completion,
          "total_tokens": prompt + completion}


def token_logprobs(tokenizer, tokens, logprobs):
  """OpenAI's logprobs of some tokens; a stop token, which has no text, is one of them."""
  table = token_bytes(tokenizer)
  shown = [table[t] if t < len(table) else b"" for t in tokens]  # an embedding table may be padded
  return {"content": [{"token": x.decode(errors="replace"), "logprob": logprob, "bytes": list(x),
                       "top_logprobs": []} for x, logprob in zip(shown, logprobs)],
          "refusal": None}


def completion(head, generation, prompt_tokens, logprobs=None):
  """The whole answer; head: {"id", "created", "model"}. One of some choices has "probabilities"."""
  more = {"probabilities": generation.choices} if generation.choices else {}
  return {**head, "object": "chat.completion", "choices": [{
      **more, "index": 0,
      "message": {"role": "assistant", "content": generation.text, "refusal": None},
      "logprobs": logprobs, "finish_reason": FINISH[generation.finish_reason]}],
      "usage": usage(prompt_tokens, len(generation.tokens))}


def chunk(head, delta, logprobs=None, finish_reason=None):
  """A piece of a stream."""
  return {**head, "object": "chat.completion.chunk", "choices": [{
      "index": 0, "delta": delta, "logprobs": logprobs,
      "finish_reason": finish_reason and FINISH[finish_reason]}]}


def event(value):
  """A line of a stream of server-sent events, bytes; value: a JSON value or "[DONE]"."""
  text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
  return f"data: {text}\n\n".encode()
