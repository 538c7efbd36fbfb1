"""Batches of this process, in order, made ahead by threads or worker processes (Grain).

The example at (step, slot) is element step * batch_size + slot of the stream, whatever the number
of processes and workers: the loader's whole state is the step.
"""
import absl.flags
import grain
import numpy as np

from big_vlm.batch import BATCH

ENDLESS = 2**53  # elements: Grain divides this number as a float, which is exact up to here


class _Slots:
  """The elements of a stream that one of `processes` feeds, from a step on."""

  def __init__(self, stream, batch_size, step, process, processes):
    self._stream, self._size = stream, batch_size
    self._local, self._first = _local_size(batch_size, processes), step * batch_size
    self._offset = process * self._local

  def __len__(self):
    return (ENDLESS - self._first) // self._size * self._local

  def __getitem__(self, index):
    step, slot = divmod(index, self._local)
    return self._stream[self._first + step * self._size + self._offset + slot]


def train_batches(stream, batch_size, *, step=0, process=0, processes=1, workers=0, threads=2):
  """Iterator over batches (dicts, see big_vlm/batch.py) from `step` on."""
  slots = _Slots(stream, batch_size, step, process, processes)
  local = _local_size(batch_size, processes)
  batches = grain.MapDataset.source(slots).batch(local, batch_fn=collate)
  it = batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4))
  if workers:
    if not absl.flags.FLAGS.is_parsed():  # Grain reads flags of its own; a notebook parses none
      absl.flags.FLAGS.mark_as_parsed()
    it = it.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))
  return iter(it)


def eval_batches(examples, preprocess, batch_size, *, process=0, processes=1, threads=2):
  """(iterator over batches, their number): every example once, in order, "_mask" False on filling.

  All processes get the same number of batches; process p has the rows p * batch_size / processes
  and on of each.
  """
  local = _local_size(batch_size, processes)
  count = -(-len(examples) // batch_size)

  def make(slot):
    step, row = divmod(slot, local)
    index = step * batch_size + process * local + row
    example = preprocess(examples[min(index, len(examples) - 1)])
    return {**example, "_mask": np.bool_(index < len(examples))}

  rows = grain.MapDataset.range(count * local).map(make).batch(local, batch_fn=collate)
  read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2)
  return iter(rows.to_iter_dataset(read)), count


def _local_size(batch_size, processes):
  if batch_size % processes:
    raise ValueError(f"A batch of {batch_size} does not divide over {processes} processes.")
  return batch_size // processes


def collate(examples):
  """The keys of the batch contract stacked, all others as lists; keys with "_" but _id, _mask go.

  An example without one of the other keys has None there. Raises ValueError where examples differ
  in keys or shapes of the contract.
  """
  batch = {}
  for key in dict.fromkeys(k for e in examples for k in e):
    if key in BATCH:
      batch[key] = _stack(key, examples)
    elif not key.startswith("_") or key == "_id":
      batch[key] = [e.get(key) for e in examples]
  return batch


def _stack(key, examples):
  if (bare := next((e for e in examples if key not in e), None)) is not None:
    has = next(e for e in examples if key in e)
    raise ValueError(f"Example {has.get('_id')} has {key!r} but {bare.get('_id')} has not; all "
                     "examples of a batch need it, or none.")
  values = [np.asarray(e[key]) for e in examples]
  odd = next((i for i, v in enumerate(values) if v.shape != values[0].shape), None)
  if odd is not None:
    raise ValueError(
        f"{key!r} is {values[0].shape} in example {examples[0].get('_id')} but {values[odd].shape} "
        f"in {examples[odd].get('_id')}; a batch needs one shape: "
        + ("resize(...)" if key == "image" else "tolen(...)") + " in the pp string sees to it.")
  return np.stack(values)


def split_batch(batch):
  """(what goes to the devices, what stays on the host) of a collated batch."""
  device = {k: v for k, v in batch.items() if k in BATCH}
  return device, {k: v for k, v in batch.items() if k not in BATCH}
