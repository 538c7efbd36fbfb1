"""Serves a model over HTTP as OpenAI's API has it: python -m tools.serve W --port 8000

  curl localhost:8000/v1/chat/completions -d '{"messages": [{"role": "user", "content": [
    {"type": "text", "text": "caption en"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}]}]}'

Requests are decoded side by side and join between two tokens; each answer is that of vlm.generate.
SIGTERM and Ctrl-C answer what was asked and end. docs/serve.md has the fields of a request.
"""
import importlib.util
import os
import pathlib
import signal
import threading

import big_vlm
from big_vlm import cli, compilation, model_flags, reporting
from tools import demo

MISSING = ("The server needs Starlette, Uvicorn and prometheus_client, which are an extra of this "
           "project: pip install -r requirements.txt, or pip install 'big_vlm[serve]'")
TOKEN = "BIG_VLM_SERVE_TOKEN"  # environment variable: the bearer token


def read_token(path):
  """The bearer token of a file, or of the environment; None: there is none.

  Raises ValueError for an empty one, and OSError."""
  try:
    token = pathlib.Path(path).read_text().strip() if path else os.environ.get(TOKEN)
  except OSError as e:
    raise OSError(f"--token_file {path}: {e.strerror}.") from e
  if token is not None and (not token or not token.isascii() or len(token.split()) > 1):
    raise ValueError(f"The token of {path or TOKEN} is not one word of ASCII characters.")
  return token


def load(source, dtype, adapter, quantize):
  """The VLM of a source; ValueError for one that cannot read a prompt."""
  vlm = big_vlm.from_preset(source, dtype=dtype)
  if vlm.config.llm:
    model_flags.check_tokenizer(vlm, source)
  return model_flags.adapted(vlm, adapter, quantize)


def serve(app, host, port, ready):
  """Answers until SIGTERM or SIGINT, then ends what was begun; a second signal does not wait.

  ready: called with the port once requests are taken. Raises OSError where the port is taken.
  """
  import uvicorn
  # In a thread of its own Uvicorn leaves the signals alone: a server that has drained ends with 0.
  server = uvicorn.Server(uvicorn.Config(app, host, port, log_level="warning", access_log=False,
                                         timeout_keep_alive=30))
  thread = threading.Thread(target=server.run, name="http")

  def stop(*_):
    server.force_exit = server.should_exit
    server.should_exit = True
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, stop)
  thread.start()
  while thread.is_alive() and not server.started:
    thread.join(.05)
  if server.started:
    ready(server.servers[0].sockets[0].getsockname()[1])
  while thread.is_alive():  # a wait without end would not see signals
    thread.join(1)
  if not server.started:
    raise OSError(f"Cannot serve on {host}:{port}: see above. --port gives another port.")


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("source", help="a preset, a handle (hf://...), a checkpoint or a work folder")
  parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
  parser.add_argument("--host", default="127.0.0.1",
                      help="0.0.0.0 for all networks: then give a token too")
  parser.add_argument("--name", help="of the model in requests (default: the end of the source)")
  parser.add_argument("--slots", type=int, default=16, help="answers decoded side by side")
  parser.add_argument("--max_prompt_tokens", type=int, default=128)
  parser.add_argument("--max_tokens", type=int, default=256, help="most tokens of an answer")
  parser.add_argument("--max_images", type=int, default=1, help="of a prompt")
  parser.add_argument("--max_body_mb", type=float, default=32, help="of a request")
  parser.add_argument("--max_pixels", type=int, default=50_000_000, help="of an image")
  parser.add_argument("--queue", type=int, default=256, help="requests that wait for a slot")
  parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="of a request")
  parser.add_argument("--image_urls", nargs="+", default=(), choices=("http", "https", "file"),
                      help="schemes of URLs that images may have beside data: whoever asks can "
                           "then make this machine fetch addresses or read images on its disk")
  parser.add_argument("--token_file", help=f"file with the bearer token that requests to /v1 need "
                                           f"(or the environment variable {TOKEN})")
  model_flags.add(parser, "auto")
  args = parser.parse_args(argv)
  if missing := [name for name in ("starlette", "uvicorn", "prometheus_client")
                 if not importlib.util.find_spec(name)]:
    raise ValueError(f"{MISSING} (missing: {', '.join(missing)})")
  for name in ("slots", "max_prompt_tokens", "max_tokens", "max_pixels", "queue", "timeout",
               "max_body_mb"):
    if not getattr(args, name) > 0:
      raise ValueError(f"--{name} {getattr(args, name)} is not above 0.")
  if args.max_images < 0:
    raise ValueError(f"--max_images {args.max_images} is below 0.")
  token = read_token(args.token_file)
  demo.check_port(args.port)
  compilation.cache()
  vlm = load(args.source, args.dtype or "auto", args.adapter, args.quantize)
  from big_vlm.serving import app, engine  # here: the extra may be missing
  running = None
  if vlm.config.llm:  # a tower such as SigLIP's embeds, and answers nothing
    sizes = engine.Sizes(args.slots, args.max_prompt_tokens, args.max_images, args.max_tokens,
                         args.queue)
    running = engine.Engine(vlm, sizes)
    running.warm_up(reporting.counter("compiling", "sizes of prompts"))
    running.start()
  name = args.name or pathlib.PurePath(args.source.rstrip("/")).name
  limits = app.Limits(body_bytes=int(args.max_body_mb * 2**20), pixels=args.max_pixels,
                      seconds=args.timeout, image_urls=tuple(args.image_urls))
  server = app.Server(vlm, running, name, limits, token, vlm.text_len or 64)
  try:
    serve(server.app, args.host, args.port, lambda port: print(
        f"serving {name} on http://{args.host}:{port}/v1", flush=True))
  finally:
    if running:
      running.close()
  print("all requests are answered")


if __name__ == "__main__":
  cli.run(main)
