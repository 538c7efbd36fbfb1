"""Damaged input for the fuzz tests of readers, and the loop in which they read it.

  BIG_VLM_FUZZ=20000 .venv/bin/python -m pytest big_vlm/formats/fuzz_test.py -s
"""
import collections
import json
import os
import resource
import time
import traceback

import numpy as np

COUNT = int(os.environ.get("BIG_VLM_FUZZ", "0"))  # of each test; 0: as many as each can afford
SECONDS, MEGABYTES = 2.0, 500  # that one may take
PIECES = [b"", b"\0", b"\n", b'"', b"[" * 3000, b"1e999", b"-1", b"null", b"NaN", b"9" * 5000, b"{",
          b"../../etc/passwd", b"}", b"0.5", b"\xc3", b"true", b"1000000000000", b"[]", b",", b"5"]
VALUES = [None, True, False, 0, -1, 1, 3, 10**9, 10**400, 0.5, 1e300, "", "x", "\x1b[2J", "../x",
          "x" * 10**6, [], [1], {}, {"a": 1}, [[]], [None] * 5]


def mutated(data, rng, pieces=PIECES):
  """Bytes or str with one to three places of up to eight replaced, removed, repeated or cut off.

  pieces: what may be put there, beside random bytes.
  """
  for _ in range(rng.integers(1, 4)):
    at = int(rng.integers(len(data) + 1))
    end = at + int(rng.integers(9))
    noise = rng.bytes(3) if isinstance(data, bytes) else rng.bytes(3).decode("latin-1")
    piece = [pieces[rng.integers(len(pieces))], noise, data[at:end] * 2][rng.integers(3)]
    data = data[:at] + piece + (data[end:] if rng.integers(20) else data[:0])
  return data


def mutated_json(data, rng):
  """Bytes of a JSON in which one or two values or keys are replaced."""
  content = json.loads(data)
  spots = list(_spots(content))
  for _ in range(rng.integers(1, 3)):
    inside, key = spots[rng.integers(len(spots))]
    if rng.integers(4) or not isinstance(inside, dict):
      inside[key] = VALUES[rng.integers(len(VALUES))]
    else:
      inside[str(key) + "s"] = inside.pop(key, 0)
  return json.dumps(content).encode()


def _spots(content):
  items = content.items() if isinstance(content, dict) else enumerate(content)
  for key, value in items:
    yield content, key
    if isinstance(value, (dict, list)):
      yield from _spots(value)


def attack(attempt, count, capsys, name, refusals=(ValueError, OSError)):
  """{outcome: how often} of attempt(rng), COUNT or `count` times.

  An attempt returns its outcome, or raises one of `refusals` with a text of a paragraph at most. Of
  each kind of other error one is shown, and all of them fail the test, as do attempts of more than
  SECONDS and MEGABYTES.
  """
  rng, done, kinds, slowest = np.random.default_rng(COUNT), collections.Counter(), {}, 0.
  first = _peak()
  for _ in range(COUNT or count):
    began, before = time.process_time(), _peak()
    try:
      done[attempt(rng)] += 1
    except refusals as e:
      done["refused"] += 1
      if not 0 < len(str(e)) < 8000:
        kinds["a long text, or none"] = str(e)[:500]
    except Exception as e:
      where = traceback.extract_tb(e.__traceback__)[-1]
      kinds.setdefault(f"{type(e).__name__} at {where.filename}:{where.lineno}",
                       "".join(traceback.format_exception(e, limit=-4))[:3000])
    seconds, grown = time.process_time() - began, _peak() - before
    slowest = max(slowest, seconds)
    if seconds > SECONDS or grown > MEGABYTES:
      kinds.setdefault("too much", f"{seconds:.1f} s, {grown} MiB")
  if COUNT:
    with capsys.disabled():
      print(f"\n{name}: {dict(done)}, slowest {slowest:.2f} s, {_peak() - first} MiB more")
  assert not kinds, "\n\n".join(f"{kind}: {text}" for kind, text in kinds.items())
  return done


def _peak():
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
