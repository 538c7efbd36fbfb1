"""One training at a time in a work folder: W/training.lock says which process writes there.

On a disk the operating system holds the lock, and lets go of it with the process, however that
ends. An object store has no locks: there the file is rewritten every BEAT seconds, and a file that
stands still was left by a process that is gone. Process 0 of a run holds it for all.
"""
import contextlib
import datetime
import fcntl
import json
import os
import socket
import threading
import time

import psutil
from etils import epath

from big_vlm import distributed, files

NAME = "training.lock"
BEAT = 20.0  # seconds
WATCHED = 3  # beats without a change after which an object is taken for left behind


@contextlib.contextmanager
def lock(workdir):
  """Holds the lock of a folder that exists; ValueError on all processes if another one does."""
  with contextlib.ExitStack() as held:
    hold = _hold_file if files.is_local(workdir) else _hold_object
    distributed.broadcast_from_primary(lambda: hold(epath.Path(workdir) / NAME, held))
    yield


def _hold_file(path, held):
  while True:
    file = held.enter_context(open(path, "a+"))  # without inheritance by other programs
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
      raise ValueError(_held(path, _read(path))) from e
    except OSError as e:  # a file system without locks
      print(f"{path} cannot be locked ({e.strerror}): see that no other training writes there")
    if os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
      break  # else its last holder has just removed it
  _take_over(path, _read(path))
  file.truncate(0)
  file.write(json.dumps(_me()))
  file.flush()
  held.callback(path.unlink, missing_ok=True)


def _hold_object(path, held):
  before = _read(path)
  if before and not _is_gone(before):
    print(f"{path} is there: waiting up to {WATCHED * BEAT:.0f} s for a sign of life of "
          f"{_who(before)}", flush=True)
    for _ in range(WATCHED):
      time.sleep(BEAT)
      if (now := _read(path)) and now != before:
        raise ValueError(_held(path, now))
  _take_over(path, before)
  me, ended = _me(), threading.Event()

  def beat():
    while not ended.wait(BEAT):
      with contextlib.suppress(OSError):  # the run itself meets such errors where they matter
        path.write_text(json.dumps(me | {"beat": time.time()}))
  path.write_text(json.dumps(me))
  thread = threading.Thread(target=beat, daemon=True)
  thread.start()
  held.callback(path.unlink, missing_ok=True)
  held.callback(thread.join)
  held.callback(ended.set)


def _me():
  return {"host": socket.gethostname(), "pid": os.getpid(),
          "start": datetime.datetime.now().astimezone().isoformat(timespec="seconds")}


def _read(path):
  """What the holder wrote, {} where it is not there or half written."""
  try:
    found = json.loads(path.read_text())
    return found if isinstance(found, dict) else {}
  except (OSError, ValueError):
    return {}


def _is_gone(holder):
  """Whether it was a process of this machine that has ended."""
  pid = holder.get("pid")
  return (holder.get("host") == socket.gethostname() and isinstance(pid, int)
          and not psutil.pid_exists(pid))


def _who(holder):
  return "process {pid} on {host}, since {start}".format_map(
      {"pid": "?", "host": "?", "start": "?"} | holder)


def _held(path, holder):
  return (f"{path.parent} is in use by another training ({_who(holder)}). Two would overwrite each "
          "other's checkpoints: wait for it, end it, or give another --workdir.")


def _take_over(path, holder):
  if holder:
    print(f"{path} was left by {_who(holder)}, which is gone: taking it over", flush=True)
