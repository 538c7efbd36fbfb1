"""Batches of this process, in order, prefetched by threads or worker processes (Grain).

The example at (step, slot) is element step * batch_size + slot of the stream, whatever the number
of processes and workers: the step is the whole state of the loader.
"""
import signal

import absl.flags
import numpy as np
from etils import epy

from big_vlm import child_process, cpu
from big_vlm.batch import BATCH

with epy.lazy_imports(error_callback="pip install 'big_vlm[train]'"):  # slow to import
  import grain

GRACE = 20  # seconds that a worker lives after SIGTERM
AHEAD = 8  # batches that the threads of each worker prefetch at most
KEPT = ("_id", "_source", "_skipped", "_cut")  # keys of the loader that stay in a batch
ENDLESS = 2**53  # elements: Grain divides this number as a float, which is exact up to here


class _Slots:
  """The elements of a stream that a process reads: some rows of each batch, from a step on."""

  def __init__(self, stream, batch_size, step, rows):
    self._stream, self._size, self._rows = stream, batch_size, rows
    self._first = step * batch_size

  def __len__(self):
    return (ENDLESS - self._first) // self._size * len(self._rows)

  def __getitem__(self, index):
    step, slot = divmod(index, len(self._rows))
    return self._stream[self._first + step * self._size + self._rows[slot]]


def train_batches(stream, batch_size, *, step=0, rows=None, workers=0, threads=2, memory_gb=2.,
                  reader=None):
  """Iterator over batches (dicts, see big_vlm/batch.py) from `step` on.

  Args:
    stream: random access to examples, a mixture.Mixture.
    batch_size: examples of a step.
    rows: the rows of the batch to make (sharding.local_batch_rows), all by default.
    workers: processes that make batches; 0: threads of this one.
    threads: of each worker.
    memory_gb: the most that prefetched batches hold; one is always prefetched.
    reader: of rows, their slots and what collates the examples (packing.Layout.reader); by default
      a row is the example of its slot.
  """
  cpu.keep_freed_memory()
  rows = list(range(batch_size) if rows is None else rows)
  read, make = (rows, collate) if reader is None else reader(rows)
  slots = _Slots(stream, batch_size, step, read)
  batches = grain.MapDataset.source(slots).batch(len(read), batch_fn=make)
  ahead = int(memory_gb * 2**30 / max(workers, 1) / (size_of(slots[0]) * len(read)))
  it = batches.to_iter_dataset(grain.ReadOptions(
      num_threads=threads, prefetch_buffer_size=min(max(ahead, 1), AHEAD)))
  if workers:
    if not absl.flags.FLAGS.is_parsed():  # Grain reads flags of its own; a notebook parses none
      absl.flags.FLAGS.mark_as_parsed()
    it = it.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers),
                        worker_init_fn=_start_worker)
  return iter(it)


def _start_worker(worker, workers):
  """Schedulers signal the workers too, which the current step still needs."""
  del worker, workers
  cpu.keep_freed_memory()
  child_process.begin()
  signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))


def eval_batches(examples, preprocess, batch_size, *, rows=None, threads=2, start=0):
  """(iterator over batches, their number): every example from `start` on once, in order.

  "_mask" is False on padding rows. rows: the slots of each batch to read, all by default; they do
  not change the number of batches.
  """
  cpu.keep_freed_memory()
  rows = list(range(batch_size) if rows is None else rows)
  count = -(-(len(examples) - start) // batch_size)

  def make(slot):
    step, row = divmod(slot, len(rows))
    index = start + step * batch_size + rows[row]
    example = preprocess(examples[min(index, len(examples) - 1)])
    return {**example, "_mask": np.bool_(index < len(examples))}

  made = grain.MapDataset.range(count * len(rows)).map(make).batch(len(rows), batch_fn=collate)
  read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2)
  return iter(made.to_iter_dataset(read)), count


def collate(examples):
  """Stacks the keys of big_vlm/batch.py and lists all others; of keys with "_" only KEPT stay.

  An example without one of the other keys has None there. Raises ValueError where examples differ
  in the keys or shapes of big_vlm/batch.py.
  """
  batch = {}
  for key in dict.fromkeys(k for e in examples for k in e):
    if key in BATCH:
      batch[key] = _stack(key, examples)
    elif not key.startswith("_") or key in KEPT:
      batch[key] = [e.get(key) for e in examples]
  return batch


def size_of(example):
  """Bytes that an example adds to a batch."""
  return sum(np.asarray(v).nbytes for k, v in example.items() if k in BATCH) or 1


def _stack(key, examples):
  if (bare := next((e for e in examples if key not in e), None)) is not None:
    has = next(e for e in examples if key in e)
    both = "; config.input.packing='pack' trains on both" * (key == "image")
    raise ValueError(f"Example {has.get('_id')} has {key!r} but {bare.get('_id')} has not; all "
                     f"examples of a batch need it, or none{both}.")
  values = [np.asarray(e[key]) for e in examples]
  odd = next((i for i, v in enumerate(values) if v.shape != values[0].shape), None)
  if odd is not None:
    raise ValueError(
        f"{key!r} is {values[0].shape} in example {examples[0].get('_id')} but {values[odd].shape} "
        f"in {examples[odd].get('_id')}; a batch needs one shape: "
        + ("`resize`" if key == "image" else "`text_layout` with config.text_len")
        + " in the pp string makes one.")
  if key == "image":
    _check_one_dtype(examples)
  return np.stack(values)


def _check_one_dtype(examples):
  """Raises ValueError for pixels 0..255 beside pixels -1..1, as which they would be read."""
  found = [(e.get("_id"), np.asarray(e["image"]).dtype) for e in examples
           if np.any(e.get("image_segment", 1))]  # a packed row of texts has no pixels
  odd = next(((i, dtype) for i, dtype in found if dtype != found[0][1]), None)
  if odd:
    raise ValueError(f"'image' is {found[0][1]} in example {found[0][0]} but {odd[1]} in {odd[0]}: "
                     "all pipelines of a mixture make one dtype, uint8 0..255 by `resize` alone "
                     "or float32 -1..1 by `value_range(-1, 1)` behind it.")


def split_batch(batch):
  """(keys for the devices, keys that stay on the host) of a collated batch."""
  device = {k: v for k, v in batch.items() if k in BATCH}
  return device, {k: v for k, v in batch.items() if k not in BATCH}
