"""What a run has read so far, for its metrics: examples of each source, and what was skipped."""
import json

from big_vlm import distributed

SHOWN = 5  # ids of skipped examples in a line


class Counters:
  """Counts over the batches of a training; exact over a resume, since the stream is."""

  def __init__(self, stream, batch_size, on_error):
    self._stream, self._size, self._skips = stream, batch_size, on_error == "skip"
    self._skipped = []
    self._cut = None  # [texts that were cut, all texts]; None: batches do not say it

  def note(self, host):
    """Takes what stays on the host of a batch."""
    self._skipped += [i for ids in host.get("_skipped", ()) for i in ids or ()]
    if "_cut" in host:
      cut, texts = self._cut or (0, 0)
      self._cut = [cut + sum(map(bool, host["_cut"])), texts + len(host["_cut"])]

  def row(self, step):
    """{"examples/NAME": since the start, "skipped" and "cut": since the last row}; prints which.

    Where examples may be skipped or cut all processes must call it together.
    """
    row = {f"examples/{k}": n for k, n in self._stream.counts(step * self._size).items()}
    if self._cut is not None:
      counts = distributed.all_gather_bytes(json.dumps(self._cut).encode())
      cut, texts = (sum(numbers) for numbers in zip(*map(json.loads, counts)))
      row["cut"], self._cut = cut, [0, 0]
      if cut:
        print(f"cut {cut} of {texts} texts to the length of the text tower", flush=True)
    if self._skips:
      everyone = distributed.all_gather_bytes(json.dumps(self._skipped).encode())
      skipped = [i for ids in everyone for i in json.loads(ids)]
      row["skipped"], self._skipped = len(skipped), []
      if skipped:
        more = f", and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
        print(f"skipped {len(skipped)} examples: {', '.join(skipped[:SHOWN])}{more}", flush=True)
    return row
