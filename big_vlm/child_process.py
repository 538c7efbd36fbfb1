"""What worker processes of this project have in common: they end with their parent."""
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading


def begin():
  """To be called first in a worker process that multiprocessing has started.

  A parent that is killed would leave its workers, and their shared memory, for good: this one ends
  as soon as it has none. Ctrl-C reaches the workers too, and is the parent's to answer.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
  multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
  os._exit(1)
