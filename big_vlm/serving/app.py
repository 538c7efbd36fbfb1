"""The routes of a server, a Starlette application over an Engine.

  POST /v1/chat/completions   GET /v1/models, /v1/models/{model}   POST /v1/embeddings
  GET /healthz                GET /metrics

Errors have OpenAI's shape. A request is read, checked and laid out in a thread; the engine decodes.
"""
import asyncio
import contextlib
import dataclasses
import functools
import hmac
import time
import uuid

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from big_vlm.serving import engine as engines
from big_vlm.serving import images, protocol
from big_vlm.serving.metrics import Metrics
from big_vlm.serving.protocol import ApiError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
  """Of a request; those of tokens, images and the queue are the engine's Sizes."""
  body_bytes: int = 32 << 20
  pixels: int = 50_000_000  # of an image
  seconds: float = 120.  # from the first byte to the last token
  body_seconds: float = 30.  # of these, until the body is there: one that never ends holds a place
  image_urls: tuple = ()  # of images.SCHEMES


class Server:
  """The application is `app`; it answers under one model's name."""

  def __init__(self, vlm, engine, name, limits=Limits(), token=None, default_tokens=64):
    """engine: None for a model that only embeds. token: that requests to /v1 must bear.
    default_tokens: max_tokens where a request has none."""
    self._vlm, self._engine, self._name, self._limits = vlm, engine, name, limits
    self._token, self._default = token, engine and min(default_tokens, engine.new_tokens)
    self._queue, self._alone = engine.sizes.queue if engine else 64, asyncio.Lock()
    self._reading = 0  # requests whose bodies come in or are laid out
    self._created, self.metrics = int(time.time()), Metrics(engine)
    guarded = {"/v1/chat/completions": (self._chat, "POST"), "/v1/models": (self._models, "GET"),
               "/v1/models/{model:path}": (self._model, "GET"),
               "/v1/embeddings": (self._embeddings, "POST")}
    routes = [Route(path, functools.partial(self._guarded, path, answer), methods=[method])
              for path, (answer, method) in guarded.items()]
    routes += [Route("/healthz", self._healthz), Route("/metrics", self._metrics)]
    self.app = Starlette(routes=routes, exception_handlers={
        HTTPException: self._no_route, Exception: self._defect})

  async def _guarded(self, path, answer, request):
    """The Response of a route, its errors included, within the time of a request."""
    try:
      self._authorize(request)
      async with asyncio.timeout(self._limits.seconds):
        response = await answer(request)
    except TimeoutError:
      response = _error(self._late())
    except ApiError as e:
      response = _error(e)
    except ClientDisconnect:
      response = Response(status_code=499)  # nobody reads it
    self.metrics.requests.labels(path, response.status_code).inc()
    return response

  def _authorize(self, request):
    if self._token is None:
      return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), self._token.encode()):
      raise ApiError("The header Authorization: Bearer TOKEN is missing or has another token.",
                     code="invalid_api_key", status=401)

  def _late(self):
    return ApiError(f"The answer took more than {self._limits.seconds:g} s: ask for fewer tokens, "
                    "or try again when less is asked.", code="timeout", status=408)

  async def _body(self, request):
    """The JSON object of a request, of which no more is read than may be."""
    most, data = self._limits.body_bytes, bytearray()
    try:
      async with asyncio.timeout(self._limits.body_seconds):
        async for part in request.stream():
          data += part
          if len(data) > most:
            raise ApiError(f"The body has more than {most:,} bytes: send a smaller image.",
                           code="body_too_large", status=413)
    except TimeoutError:
      raise ApiError(f"The body did not come within {self._limits.body_seconds:g} s.",
                     code="timeout", status=408) from None
    return protocol.parse_json(bytes(data))

  async def _chat(self, request):
    began = time.monotonic()
    if self._engine is None:
      raise ApiError(f"The model {self._name!r} has no decoder: it embeds, and answers nothing.",
                     code="unsupported_model")
    with self._one_more():
      chat, job, updates = await self._read(request)
      if job is None:
        return await self._chosen(chat)
    self._submit(job)
    head = self._head()
    if chat.stream:
      return _Events(self._stream(chat, job, updates, head, began),
                     lambda: self._engine.cancel(job))
    update = await self._unless_left(request, job, updates.get())
    if update.error:
      raise _failed(update.error)
    seconds = time.monotonic() - began
    self.metrics.first_token.observe(seconds)
    self.metrics.latency.observe(seconds)
    return JSONResponse(protocol.completion(
        head, update.generation, job.prompt_tokens, self._logprobs(chat, update)))

  @contextlib.contextmanager
  def _one_more(self):
    """Counts a request whose body is in memory; ApiError for more than may wait."""
    if self._reading >= self._queue:
      raise self._too_many()
    self._reading += 1
    try:
      yield
    finally:
      self._reading -= 1

  async def _read(self, request):
    """(ChatRequest, Job, queue of its Updates); without the latter two where it has choices."""
    chat = protocol.parse_chat(await self._body(request), self._name, self._engine.new_tokens,
                               self._default)
    loop, updates = asyncio.get_running_loop(), asyncio.Queue()
    show = lambda update: loop.call_soon_threadsafe(updates.put_nowait, update)
    if isinstance(chat.config.grammar, dict) and "choices" in chat.config.grammar:
      return chat, None, None
    return chat, await run_in_threadpool(self._job, chat, show), updates

  def _job(self, chat, show):
    """The engine's Job, in a thread: it decodes images and tokenizes."""
    pictures = [self._picture(url) for url in chat.images]
    try:
      return self._engine.job(chat.prompt, pictures, chat.config, show, chat.stream)
    except (ValueError, OSError) as e:
      raise ApiError(str(e)) from e

  async def _chosen(self, chat):
    """The answer of a request with choices, which are weighed whole, beside the engine."""
    if chat.stream:
      raise ApiError("Choices are weighed whole and come at once: leave stream out.", "stream")
    try:
      prompt_tokens = self._engine.prompt_tokens(chat.prompt, chat.images)
    except ValueError as e:
      raise ApiError(str(e)) from e
    found, = await self._one_at_a_time(self._weigh, chat)
    return JSONResponse(protocol.completion(self._head(), found, prompt_tokens,
                                            self._logprobs(chat, found)))

  async def _one_at_a_time(self, work, request):
    """What work(request) gives, in a thread. Each fills the device: one whose time has ended makes
    the next ones wait until its thread has ended too."""
    await self._alone.acquire()
    task = asyncio.ensure_future(run_in_threadpool(work, request))

    def ended(task):
      self._alone.release()
      if not task.cancelled():
        task.exception()  # seen, also where nobody waits any more
    task.add_done_callback(ended)
    return await asyncio.shield(task)

  def _weigh(self, chat):
    pictures = [self._picture(url) for url in chat.images]
    try:
      options = {f.name: getattr(chat.config, f.name) for f in dataclasses.fields(chat.config)}
      return self._vlm.generate(chat.prompt, [pictures], **options)
    except (ValueError, OSError) as e:
      raise ApiError(str(e)) from e

  def _head(self):
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": self._name}

  def _picture(self, url):
    limits = self._limits
    return images.read(url, limits.image_urls, limits.body_bytes, limits.pixels, limits.seconds)

  def _submit(self, job):
    try:
      self._engine.submit(job)
    except engines.Full:
      raise self._too_many() from None
    except engines.Closed:
      raise ApiError("The server is ending.", code="closing", status=503) from None

  def _too_many(self):
    return ApiError(f"{self._queue} requests wait already: try again later.",
                    code="queue_full", status=429)

  async def _unless_left(self, request, job, wanted):
    """What the awaitable gives; where the client leaves or the time ends, the job is cancelled."""
    left = asyncio.ensure_future(_disconnect(request))
    wanted = asyncio.ensure_future(wanted)
    try:
      await asyncio.wait((left, wanted), return_when=asyncio.FIRST_COMPLETED)
      if not wanted.done():
        raise ClientDisconnect
      return wanted.result()
    finally:
      left.cancel()
      wanted.cancel()
      self._engine.cancel(job)  # one that has ended takes no notice

  async def _stream(self, chat, job, updates, head, began):
    """The events of an answer."""
    send = lambda *args, **kwargs: protocol.event(protocol.chunk(head, *args, **kwargs))
    try:
      async with asyncio.timeout(self._limits.seconds - (time.monotonic() - began)):
        yield send({"role": "assistant", "content": ""})
        count = 0
        while True:
          update = await updates.get()
          if update.error:
            raise _failed(update.error)
          if not count:
            self.metrics.first_token.observe(time.monotonic() - began)
          count += len(update.tokens)
          if update.text or chat.logprobs and update.tokens:
            yield send({"content": update.text}, self._logprobs(chat, update))
          if update.generation:
            break
        yield send({}, finish_reason=update.generation.finish_reason)
        if chat.include_usage:
          yield protocol.event({**head, "object": "chat.completion.chunk", "choices": [],
                                "usage": protocol.usage(job.prompt_tokens, count)})
        self.metrics.latency.observe(time.monotonic() - began)
    except TimeoutError:
      yield protocol.event(self._late().body())
    except ApiError as e:
      yield protocol.event(e.body())
    yield protocol.event("[DONE]")

  def _logprobs(self, chat, update):
    return protocol.token_logprobs(self._vlm.tokenizer, update.tokens, update.logprobs) if (
        chat.logprobs) else None

  async def _models(self, request):
    return JSONResponse({"object": "list", "data": [self._about()]})

  async def _model(self, request):
    protocol.check_model(request.path_params["model"], self._name)
    return JSONResponse(self._about())

  def _about(self):
    return {"id": self._name, "object": "model", "created": self._created, "owned_by": "big_vlm"}

  async def _embeddings(self, request):
    with self._one_more():
      ask = protocol.parse_embeddings(await self._body(request), self._name)
      return JSONResponse(await self._one_at_a_time(self._embed, ask))

  def _embed(self, ask):
    """The answer to an EmbeddingRequest, in a thread."""
    vlm, vectors, tokens = self._vlm, {}, 0
    seen = [protocol.is_image(x) for x in ask.inputs]
    try:
      if any(seen):
        pictures = [self._picture(x) for x, image in zip(ask.inputs, seen) if image]
        vectors[True] = iter(vlm.embed(images=pictures))
      if texts := [x for x, image in zip(ask.inputs, seen) if not image]:
        vectors[False] = iter(vlm.embed(texts=texts))
        tokens = sum(len(vlm.tokenizer.to_int(x, eos=True)) for x in texts)
    except (ValueError, OSError) as e:
      raise ApiError(str(e), "input", "unsupported_input") from e
    return protocol.embeddings(self._name, [next(vectors[image]) for image in seen], ask.base64,
                               tokens)

  async def _healthz(self, request):
    fine = self._engine is None or self._engine.alive
    return PlainTextResponse("ok\n" if fine else "the engine has ended\n", 200 if fine else 503)

  async def _metrics(self, request):
    data, kind = self.metrics.text()
    return Response(data, media_type=kind)

  async def _no_route(self, request, error):
    return _error(ApiError(f"{request.method} {request.url.path[:80]}: {error.detail}.",
                           code="not_found", status=error.status_code))

  async def _defect(self, request, error):
    return _error(ApiError("The server has failed: its log says where.", code="defect", status=500))


class _Events(StreamingResponse):
  """A stream of server-sent events; `close` is called once it ends or the client leaves, even
  before the first event."""

  def __init__(self, events, close):
    super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
    self._close = close

  async def __call__(self, scope, receive, send):
    try:
      await super().__call__(scope, receive, send)
    finally:
      self._close()


def _error(error):
  headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else (
      {"Retry-After": "1"} if error.status == 429 else None)
  return JSONResponse(error.body(), error.status, headers)


def _failed(error):
  text = str(error) if isinstance(error, ValueError) else type(error).__name__
  return ApiError(f"The answer failed: {text[:300]}", code="failed", status=500)


async def _disconnect(request):
  """Returns when the client has left."""
  with contextlib.suppress(ClientDisconnect):
    while (await request.receive())["type"] != "http.disconnect":
      pass
