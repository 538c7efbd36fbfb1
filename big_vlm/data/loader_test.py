import collections
import io
import itertools
import json
import subprocess
import sys

import grain
import numpy as np
import psutil
import pytest
from PIL import Image

from big_vlm.data import jsonl, loader, mixture, tfds
from pp.builder import get_preprocess_fn

BATCH_SIZE = 8
READ_OPTIONS = grain.ReadOptions


@pytest.fixture
def parts(tmp_path, data_dir):
  """A mixture of three sources, TFDS, JSONL and a list: images, text, random ops."""
  lines = [json.dumps({"image": "blank.png", "words": [f"{i}{c}" for c in "abc"]})
           for i in range(11)]
  (tmp_path / "words.jsonl").write_text("\n".join(lines))
  picture = "decode|resize(8)|keep('image', 'said')"
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "blank.png")
  return [
      dict(data=dict(name="digits/tiny", split="train[:13]", data_dir=data_dir), weight=2.,
           pp=f"choice(key='questions')|copy('questions', 'said')|{picture}"),
      dict(data=dict(name="jsonl", path=str(tmp_path / "words.jsonl")), weight=1.,
           pp=f"choice(key='words')|copy('words', 'said')|{picture}"),
      dict(data=dict(name="memory", examples=[
          {"image": np.zeros((9, 9, 3), np.uint8), "words": [f"m{i}{c}" for c in "abc"]}
          for i in range(5)]), weight=.5,
           pp=f"choice_no_replacement(key='words')|copy('words', 'said')|{picture}")]


@pytest.fixture
def take(parts):
  """A function: the ids and the randomly chosen words [steps][slots] of the first batches."""
  def take(steps, **kw):
    stream = mixture.Mixture(parts, seed=0)
    batches = itertools.islice(loader.train_batches(stream, BATCH_SIZE, **kw), steps)
    return [list(zip(b["_id"], b["said"], strict=True)) for b in batches]
  return take


def rows_of(process, processes, batch_size=BATCH_SIZE):
  each = batch_size // processes
  return range(process * each, (process + 1) * each)


def rows_of_processes(take, steps, processes, **kw):
  """The batches of all processes, concatenated row by row."""
  each = [take(steps, rows=rows_of(p, processes), **kw) for p in range(processes)]
  return [list(itertools.chain(*batches)) for batches in zip(*each, strict=True)]


def test_the_stream_depends_on_nothing_but_seed_and_step(take):
  want = take(7, threads=1)
  assert len({i for batch in want for i, _ in batch}) == 13 + 11 + 5
  assert take(7, threads=4) == want
  for k in range(7):
    assert take(7 - k, step=k) == want[k:]  # resumed
  for n in (2, 4, 8):
    assert rows_of_processes(take, 7, n) == want
  assert rows_of_processes(take, 4, 2, step=3, threads=4) == want[3:]  # on other hosts


def test_batches_of_one(parts):
  batch, = itertools.islice(loader.train_batches(mixture.Mixture(parts, seed=0), 1), 1)
  assert batch["image"].shape == (1, 8, 8, 3)


def test_worker_processes_do_not_change_the_stream(take):
  want = take(7)
  assert take(7, workers=4) == want
  assert take(2, workers=1, step=5, rows=rows_of(1, 2)) == [
      batch[BATCH_SIZE // 2:] for batch in want[5:]]


def test_the_workers_of_a_killed_training_end():
  code = ("import multiprocessing as mp, time\nfrom big_vlm.data import loader, mixture\n"
          "data = dict(name='memory', examples=[{'x': 'y'}])\n"
          "stream = mixture.Mixture([dict(data=data, pp='copy(\"x\", \"z\")')], seed=0)\n"
          "batches = loader.train_batches(stream, 1, workers=1)\nnext(batches)\n"
          "print(*[p.pid for p in mp.active_children()], flush=True)\ntime.sleep(99)\n")
  training = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
  workers = [psutil.Process(int(pid)) for pid in training.stdout.readline().split()]
  training.kill()
  training.communicate()
  assert workers and not psutil.wait_procs(workers, timeout=20)[1]


def test_far_steps_are_reached_at_once(take):
  assert take(1, step=10**9) == take(2, step=10**9 - 1)[1:]


def test_images_come_as_uint8_arrays_and_text_as_lists(parts):
  batch = next(loader.train_batches(mixture.Mixture(parts, seed=0), 4))
  assert sorted(batch) == ["_id", "_source", "image", "said"]  # _rng and _epoch stay behind
  assert (batch["image"].dtype, batch["image"].shape) == (np.uint8, (4, 8, 8, 3))
  assert loader.split_batch(batch) == (
      {"image": batch["image"]}, {k: batch[k] for k in ("_id", "_source", "said")})


def test_pixels_of_two_ranges_are_no_batch():
  pixels = {"a": np.full((2, 2, 3), 200, np.uint8), "b": np.ones((2, 2, 3), np.float32)}
  rows = [{"_id": name, "image": image} for name, image in pixels.items()]
  with pytest.raises(ValueError, match="'image' is uint8 in example a but float32 in b"):
    loader.collate(rows)
  for row, segment in zip(rows, ([0], [1])):  # packed, and the first has no image
    row.update(image=row["image"][None] * segment[0], image_segment=np.int32(segment))
  assert loader.collate(rows)["image"].max() == 1


def test_no_more_is_read_ahead_than_fits(monkeypatch):
  asked = []
  monkeypatch.setattr(grain, "ReadOptions",
                      lambda **kw: asked.append(kw["prefetch_buffer_size"]) or READ_OPTIONS(**kw))
  stream = collections.defaultdict(lambda: {"image": np.zeros((512, 512, 3), np.uint8)})
  for memory_gb, workers, want in [(0.1, 0, 8), (0.01, 0, 3), (0.01, 2, 1), (1e-9, 0, 1)]:
    loader.train_batches(stream, 4, memory_gb=memory_gb, workers=workers)  # 3 MB a batch
    assert asked.pop() == want


@pytest.mark.parametrize("size, batch_size, count", [
    (10, 4, 3), (8, 4, 2), (1, 4, 1), (3, 1, 3), (5, 8, 1)])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_an_evaluation_sees_every_example_once_and_in_order(size, batch_size, count, processes):
  if batch_size % processes:
    pytest.skip("does not divide")
  examples = [{"text": np.array([i], np.int32), "_id": f"e{i}"} for i in range(size)]
  each = []
  for p in range(processes):
    batches, n = loader.eval_batches(examples, get_preprocess_fn("keep('text')"), batch_size,
                                     rows=rows_of(p, processes, batch_size))
    each.append(list(batches))
    assert n == count == len(each[-1])  # the same for all processes: they evaluate in step
  batches = [{k: np.concatenate([b[k] for b in row]) for k in row[0]}
             for row in zip(*each, strict=True)]
  assert {b["text"].shape for b in batches} == {(batch_size, 1)}
  mask = np.concatenate([b["_mask"] for b in batches])
  assert mask.dtype == np.bool_ and mask.sum() == size and mask[:size].all()
  seen = np.concatenate([b["_id"] for b in batches])
  assert seen[mask].tolist() == [f"e{i}" for i in range(size)]


def test_rows_need_not_be_neighbours(take):
  # A mesh may give a process rows from several places of the batch.
  assert take(2, rows=[1, 6]) == [[batch[1], batch[6]] for batch in take(2)]


def test_collate_stacks_the_contract_and_lists_the_rest():
  got = loader.collate([{"text": np.array([1, 2]), "suffix": "a", "_id": "x:1", "_rng": 0},
                        {"text": np.array([3, 4]), "id": 7, "_id": "x:2", "_rng": 1}])
  np.testing.assert_array_equal(got.pop("text"), [[1, 2], [3, 4]])
  assert got == {"suffix": ["a", None], "id": [None, 7], "_id": ["x:1", "x:2"]}


@pytest.mark.parametrize("key, shapes, complaint", [
    ("image", [(4, 4, 3), (4, 4, 3), (5, 4, 3)],
     r"'image' is \(4, 4, 3\) in example x:0 but \(5, 4, 3\) in x:2; .*`resize`"),
    ("text", [(4,), (5,)],
     r"'text' is \(4,\) in example x:0 but \(5,\) in x:1; .*`text_layout` with config.text_len"),
    ("image", [(4, 4, 3), None], "Example x:0 has 'image' but x:1 has not"),
    ("image", [None, None, (4, 4, 3)], "Example x:2 has 'image' but x:0 has not"),
])
def test_unlike_examples_are_named(key, shapes, complaint):
  with pytest.raises(ValueError, match=complaint):
    loader.collate([{"_id": f"x:{i}"} | ({} if s is None else {key: np.zeros(s, np.int32)})
                    for i, s in enumerate(shapes)])


@pytest.fixture
def damaged(tmp_path):
  """Three images in a JSONL, the second cut short."""
  out = io.BytesIO()
  Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(out, "png")
  for name, data in [("a", out.getvalue()), ("b", out.getvalue()[:-30]), ("c", out.getvalue())]:
    (tmp_path / f"{name}.png").write_bytes(data)
  (tmp_path / "my.jsonl").write_text("\n".join(f'{{"image": "{n}.png"}}' for n in "abc"))
  return str(tmp_path / "my.jsonl")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_image_is_named_in_training(damaged, workers):
  stream = mixture.Mixture([dict(data=dict(name="jsonl", path=damaged), pp="decode")], seed=0)
  with pytest.raises(ValueError, match="decode` failed on example my.jsonl:2: cannot decode image"):
    list(itertools.islice(loader.train_batches(stream, 3, workers=workers), 2))


def test_a_corrupt_image_is_named_in_evaluation(damaged):
  batches, _ = loader.eval_batches(jsonl.Jsonl(damaged), get_preprocess_fn("decode"), 2)
  with pytest.raises(ValueError, match="example my.jsonl:2: cannot decode image"):
    list(batches)


def test_an_evaluation_of_a_prepared_data_set(data_dir):
  examples = tfds.Tfds("digits/tiny", split="val", data_dir=data_dir)
  preprocess = get_preprocess_fn("decode|keep('image', 'id')")
  batches, count = loader.eval_batches(examples, preprocess, 60)
  first, last = batches
  assert count == 2 and first["image"].shape == (60, 32, 32, 3) and last["_mask"].sum() == 4
  assert (first["id"] + last["id"])[:64] == [f"val-{i:06d}" for i in range(64)]
