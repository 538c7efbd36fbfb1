"""Many clients of one server, beside one request after another.

  .venv/bin/python -m benchmarks.serve [--size small] [--requests 1000] [--clients 16]

The model is the one of benchmarks/decode.py with random weights, or `digits`, on 2 cores. Requests
are mixed: two of three have an image (of 40), answers have up to 16 to 64 tokens, half are greedy,
the others drawn; one of four is streamed. The clients, OpenAI's, are a process of their own that
asks over HTTP on the loopback.

  lost        requests without an answer
  different   answers whose tokens differ in number or log-probability (1e-3) from vlm.generate's
  alone       vlm.generate for every 25th request, one after the other, before and after
  one_client  a client that asks the server for every 10th request, one after the other
  cpu         seconds of the processor for a token, with those of the server's process alone: what
              others do on the machine changes these less
  memory      of the server's process, MiB, after each fifth of the requests
"""
import argparse
import base64
import concurrent.futures
import io
import json
import multiprocessing
import os
import pathlib
import tempfile
import threading
import time

import numpy as np
import openai
import psutil
import uvicorn
from PIL import Image

from benchmarks import libraries, vocabulary

RESULTS = pathlib.Path(__file__).parent / "results"
IMAGES, EACH, EACH_OF_ONE = 40, 25, 10
PROMPTS = {"digits": ("ocr", "caption en", "answer en how many digits are there?", "detect 3 ; 8")}


def model(name):
  """The VLM `digits`, or that of a libraries.Size with random weights."""
  import big_vlm
  if name == "digits":
    return big_vlm.from_preset(name)
  size = libraries.SIZES[name]
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "large.model"
    vocabulary.write(path, size.vocab - 1152)
    return big_vlm.VLM.from_config(libraries.our_config(size),
                                   f"sp('{path}', tokensets=('loc', 'seg'))")


def requests(count, name, image_size):
  """[dict] of the fields that differ, and PNGs."""
  rng = np.random.default_rng(0)
  pictures = []
  for _ in range(IMAGES):
    data = io.BytesIO()
    pixels = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((image_size,) * 2).save(data, "PNG")
    pictures.append(data.getvalue())
  samplers = ({}, {}, {"temperature": .8}, {"temperature": 1., "top_p": .9})
  prompts = PROMPTS.get(name, ())
  prompt = lambda i: prompts[i % len(prompts)] if prompts else f"answer en question {i}"
  return [dict(prompt=prompt(i), image=int(rng.integers(IMAGES)) if i % 3 else None,
               max_tokens=int(rng.integers(16, 65)), seed=i, stream=i % 4 == 1,
               sampler=samplers[i // 4 % 4]) for i in range(count)], pictures


def generate_args(ask):
  s = ask["sampler"]
  name = ("greedy" if not s else f"top_p({s['top_p']}, t={s['temperature']})" if "top_p" in s
          else f"temperature({s['temperature']})")
  return dict(sampler=name, seed=ask["seed"], max_new_tokens=ask["max_tokens"])


def send(client, ask, urls):
  """[log-probability] of the tokens of one answer."""
  content = [{"type": "text", "text": ask["prompt"]}]
  if ask["image"] is not None:
    content.append({"type": "image_url", "image_url": {"url": urls[ask["image"]]}})
  got = client.chat.completions.create(
      model="m", messages=[{"role": "user", "content": content}], logprobs=True, seed=ask["seed"],
      max_tokens=ask["max_tokens"], stream=ask["stream"], **ask["sampler"])
  chunks = got if ask["stream"] else [got]
  return [x.logprob for chunk in chunks for c in chunk.choices if c.logprobs
          for x in c.logprobs.content]


def drive(port, asks, urls, clients, answers):
  """The process of the clients: puts (number, log-probabilities) of each answer into a queue, then
  (None, seconds)."""
  client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", timeout=3600,
                         max_retries=0)
  send(client, asks[0], urls)  # imports
  began = time.perf_counter()
  with concurrent.futures.ThreadPoolExecutor(clients) as pool:
    futures = {pool.submit(send, client, ask, urls): i for i, ask in enumerate(asks)}
    for future in concurrent.futures.as_completed(futures):
      if error := future.exception():
        print(f"lost: {error}", flush=True)
      answers.put((futures[future], None if error else future.result()))
  answers.put((None, time.perf_counter() - began))


def ask_all(port, asks, urls, clients):
  """({number: log-probabilities}, seconds, MiB of this process after each fifth)."""
  spawn = multiprocessing.get_context("spawn")
  answers = spawn.SimpleQueue()
  process = spawn.Process(target=drive, args=(port, asks, urls, clients, answers))
  process.start()
  found, memory = {}, []
  while (got := answers.get())[0] is not None:
    number, logprobs = got
    found |= {} if logprobs is None else {number: logprobs}
    if len(found) % max(len(asks) // 5, 1) == 0:
      memory.append(round(psutil.Process().memory_info().rss / 2**20))
      print(f"{len(found)} answers, {memory[-1]} MiB", flush=True)
  process.join()
  return found, got[1], memory


class Served:
  """A server of a model, in threads of this process."""

  def __init__(self, vlm, slots):
    from big_vlm.serving import app, engine
    self.engine = engine.Engine(vlm, engine.Sizes(slots=slots, prompt_tokens=32, new_tokens=64))
    self.engine.warm_up()
    self.engine.start()
    self._http = uvicorn.Server(uvicorn.Config(
        app.Server(vlm, self.engine, "m", app.Limits(seconds=3600)).app, port=0,
        log_level="error", access_log=False))
    self._thread = threading.Thread(target=self._http.run)
    self._thread.start()
    while not self._http.started:
      time.sleep(.1)
    self.port = self._http.servers[0].sockets[0].getsockname()[1]

  def close(self):
    self._http.should_exit = True
    self._thread.join()
    self.engine.close()


def alone(vlm, asks, pictures):
  """(seconds, processor's seconds) of a token, one request after another."""
  part = asks[::EACH]
  one = lambda ask: vlm.generate(
      ask["prompt"], [None if ask["image"] is None else pictures[ask["image"]]],
      **generate_args(ask))
  for ask in part:
    one(ask)  # compiles
  began, cpu = time.perf_counter(), time.process_time()
  tokens = sum(len(one(ask)[0].tokens) for ask in part)
  return (time.perf_counter() - began) / tokens, (time.process_time() - cpu) / tokens


def different(vlm, asks, pictures, found):
  """Numbers of the answers that are not generate's; those are decoded 32 side by side."""
  odd = []
  for name in dict.fromkeys(generate_args(ask)["sampler"] for ask in asks):
    part = [i for i, ask in enumerate(asks) if generate_args(ask)["sampler"] == name and i in found]
    for first in range(0, len(part), 32):
      some = part[first:first + 32]
      answers = vlm.generate(
          [asks[i]["prompt"] for i in some],
          [None if asks[i]["image"] is None else pictures[asks[i]["image"]] for i in some],
          sampler=name, seed=[asks[i]["seed"] for i in some], max_new_tokens=64)
      for i, answer in zip(some, answers):
        wanted = answer.logprobs[:asks[i]["max_tokens"]]
        if len(wanted) != len(found[i]) or not np.allclose(wanted, found[i], atol=1e-3):
          odd.append(i)
  return odd


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--size", choices=["digits", *libraries.SIZES], default="small")
  parser.add_argument("--requests", type=int, default=1000)
  parser.add_argument("--clients", type=int, default=16)
  parser.add_argument("--out", type=pathlib.Path)
  args = parser.parse_args()
  libraries.pin_cores(libraries.SIZES["small"])
  load = [round(x, 2) for x in os.getloadavg()]
  vlm = model(args.size)
  asks, pictures = requests(args.requests, args.size, vlm.image_size)
  urls = ["data:image/png;base64," + base64.b64encode(data).decode() for data in pictures]
  before, cpu_before = alone(vlm, asks, pictures)
  print(f"one after the other: {1 / before:.1f} tokens/s", flush=True)
  server = Served(vlm, args.clients)
  one, one_seconds, _ = ask_all(server.port, asks[::EACH_OF_ONE], urls, 1)
  one_rate = sum(map(len, one.values())) / one_seconds
  print(f"one client: {one_rate:.1f} tokens/s", flush=True)
  cpu = time.process_time()
  found, seconds, memory = ask_all(server.port, asks, urls, args.clients)
  tokens = sum(map(len, found.values()))
  cpu, stats = (time.process_time() - cpu) / tokens, dict(server.engine.stats)
  server.close()
  after, cpu_after = alone(vlm, asks, pictures)  # before and after: others use the machine too
  odd = different(vlm, asks, pictures, found)
  result = {**libraries.circumstances(args.size, "cpu", load), "requests": args.requests,
            "clients": args.clients, "lost": args.requests - len(found), "different": odd,
            "tokens": tokens, "seconds": round(seconds, 1),
            "tokens_per_s": round(tokens / seconds, 1),
            "one_client_tokens_per_s": round(one_rate, 1),
            "alone_tokens_per_s": [round(1 / before, 1), round(1 / after, 1)],
            "speedup": [round(x * tokens / seconds, 2) for x in (1 / one_rate, before, after)],
            "cpu_ms_per_token": [round(1e3 * x, 2) for x in (cpu, cpu_before, cpu_after)],
            "cpu_speedup": [round(x / cpu, 2) for x in (cpu_before, cpu_after)],
            "memory_MiB": memory, "engine": stats}
  print(json.dumps(result, indent=1))
  out = args.out or RESULTS / f"serve_{args.size}.json"
  out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
  main()
