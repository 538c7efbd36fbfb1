"""Images per second of the training loader: JPEG files to batches of tokens and pixels.

  make bench-loader
  python -m benchmarks.loader [--images 512] [--seconds 15] [--settings 0x1 2x1 tf] [--rounds 1]

The data are 640 x 480 JPEGs (quality 90), crops of scikit-learn's two photographs, and their
captions in a JSONL file. big_vlm/data/loader.py decodes them, resizes to 224 with antialias,
tokenizes into rows of 128, shuffles and collates into batches of 32, on 2 cores. A setting is
WORKERSxTHREADS, as in config.input: worker processes (0 for threads of the training process) and
the threads of each. The setting "tf" is the same pipeline in tf.data (benchmarks/loader_tf.py), run
by a Python with TensorFlow (--tf). The benchmark first checks that both make the same rows: equal
tokens and masks, and pixels within one level.

  images/s   of batches taken one after the other, without any other work
  busy       processor time over elapsed time, of all processes; 2 is the maximum
  per core   images for each second of processor time: what to compare where others work too
  wait       fraction of the time that a step of 0.5 s waits for its batch; the step sleeps
"""
import argparse
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import libraries

RESULTS = pathlib.Path(__file__).parent / "results"
BATCH, TEXT, CORES, STEP = 32, 128, 2, 0.5
WARM = 8  # batches before the timing starts: workers start, buffers fill


def make_data(folder, count):
  """Writes data.jsonl, its images and a tokenizer; returns the mean bytes of an image."""
  from PIL import Image
  from sklearn import datasets

  from pp.tokenizer import train_sentencepiece
  rng, sizes, captions = np.random.default_rng(0), [], []
  photos = [Image.fromarray(x) for x in datasets.load_sample_images().images]
  with open(folder / "data.jsonl", "w") as lines:
    for i in range(count):
      photo = photos[i % len(photos)]
      w = int(rng.integers(photo.width // 2, photo.width))
      h = min(w * 3 // 4, photo.height)
      x, y = int(rng.integers(photo.width - w + 1)), int(rng.integers(photo.height - h + 1))
      cut, data = photo.crop((x, y, x + w, y + h)).resize((640, 480), Image.LANCZOS), io.BytesIO()
      (cut if rng.random() < 0.5 else cut.transpose(Image.FLIP_LEFT_RIGHT)).save(
          data, "JPEG", quality=90)
      (folder / f"{i}.jpg").write_bytes(data.getvalue())
      sizes.append(data.tell())
      captions.append(f"a photograph of a {'temple in china' if i % 2 == 0 else 'dahlia'}, cut "
                      f"{w} pixels wide from column {x} and row {y} on")
      print(json.dumps(dict(image=f"{i}.jpg", prefix="caption en", suffix=captions[-1])),
            file=lines)
  train_sentencepiece(captions, folder / "tokenizer.model", 400)
  return sum(sizes) / count


def component(folder):
  """(the one component of the mixture, its Context)."""
  from pp.context import Context
  context = Context(f"sp('{folder}/tokenizer.model', tokensets=('loc', 'seg'))", TEXT, 224)
  return dict(data=dict(name="jsonl", path=f"{folder}/data.jsonl"),
              pp="decode|resize(antialias=True)|text_layout"), context


def check(folder, python):
  """The differences of pixels from tf.data's rows; ValueError if tokens or masks differ."""
  from big_vlm.data import source
  from pp.builder import get_preprocess_fn
  file = f"{folder}/tf.npz"
  subprocess.run(_tf(python, folder, 0) + [file], check=True)
  one, context = component(folder)
  ours, preprocess = source.get(**one["data"]), get_preprocess_fn(one["pp"], context)
  with np.load(file) as theirs:
    rows = [preprocess(ours[i]) for i in range(len(theirs["text"]))]
    for key in ("text", "mask_ar", "mask_loss"):
      if not np.array_equal([r[key] for r in rows], theirs[key]):
        raise ValueError(f"{key} is not what tf.data makes.")
    off = np.abs(np.stack([r["image"] for r in rows]).astype(int) - theirs["image"])
  if off.max() > 1:
    raise ValueError(f"Pixels differ from tf.data's by up to {off.max()} levels.")
  return dict(most=int(off.max()), differ=float((off > 0).mean()))


def _tf(python, folder, seconds):
  return [python, str(pathlib.Path(__file__).with_name("loader_tf.py")), folder,
          *map(str, (seconds, TEXT, BATCH, WARM))]


def run(folder, workers, threads, seconds):
  """The facts of one setting, measured in this process."""
  from big_vlm.data import loader, mixture
  one, context = component(folder)
  stream = mixture.Mixture([one], 0, context=context)
  batches = loader.train_batches(stream, BATCH, workers=workers, threads=threads)
  for _ in range(WARM):
    shape = next(batches)["image"].shape
  assert shape == (BATCH, 224, 224, 3), shape
  began, used, rates = time.perf_counter(), _processor_time(), []
  while (spent := time.perf_counter() - began) < seconds:
    at = time.perf_counter()
    next(batches)
    rates.append(time.perf_counter() - at)
  busy = (_processor_time() - used) / spent
  waits = []
  for _ in range(round(seconds / 2 / STEP)):
    at = time.perf_counter()
    next(batches)
    waits.append(time.perf_counter() - at)
    time.sleep(STEP)
  return dict(images_per_s=BATCH * len(rates) / spent, busy=busy,
              longest_batch_s=max(rates), wait=sum(waits) / (sum(waits) + STEP * len(waits)))


def _processor_time():
  """Processor seconds of this process and its running children, from /proc."""
  total, ticks, mine = 0, os.sysconf("SC_CLK_TCK"), {os.getpid()}
  for pid in sorted(int(p) for p in os.listdir("/proc") if p.isdigit()):
    try:
      fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
      continue  # it has ended
    if pid in mine or int(fields[1]) in mine:
      mine.add(pid)
      total += int(fields[11]) + int(fields[12])
  return total / ticks


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--images", type=int, default=512)
  parser.add_argument("--seconds", type=float, default=15)
  parser.add_argument("--rounds", type=int, default=1)
  parser.add_argument("--settings", nargs="+",
                      default=["0x1", "0x2", "0x4", "1x2", "2x1", "2x2", "tf"])
  parser.add_argument("--tf", default=".venv-tf/bin/python", help="a Python with TensorFlow")
  parser.add_argument("--out", type=pathlib.Path, default=RESULTS / "loader.json")
  parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.child:
    folder, workers, threads = args.child
    return print(json.dumps(run(folder, int(workers), int(threads), args.seconds)))
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
  load, taken = [round(x, 2) for x in os.getloadavg()], {s: [] for s in args.settings}
  with tempfile.TemporaryDirectory() as folder:
    size = make_data(pathlib.Path(folder), args.images)
    off = check(folder, args.tf) if "tf" in args.settings else None
    for _ in range(args.rounds):
      for setting in args.settings:
        command = _tf(args.tf, folder, args.seconds) if setting == "tf" else [
            sys.executable, "-m", "benchmarks.loader", "--seconds", str(args.seconds), "--child",
            folder, *setting.split("x")]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        taken[setting].append(json.loads(done.stdout.splitlines()[-1]))
        print(setting, {k: round(v, 2) for k, v in taken[setting][-1].items()}, file=sys.stderr)
  rows = {s: {k: statistics.median(r[k] for r in runs) for k in runs[0]}
          for s, runs in taken.items()}
  result = {**libraries.circumstances("640x480 to 224", "cpu", load), "image_bytes": round(size),
            "batch": BATCH, "text": TEXT, "step_s": STEP, "pixels_off_tf": off, "rows": rows}
  print(f"{result['device']}; load {load}; {size / 1024:.0f} KiB an image\n"
        "workers x threads  images/s  busy  per core  wait")
  for setting, row in rows.items():
    print(f"{setting:17s}  {row['images_per_s']:8.0f}  {row['busy']:4.2f}  "
          f"{row['images_per_s'] / row['busy']:8.0f}  "
          + (f"{row['wait']:4.0%}" if "wait" in row else ""))
  args.out.parent.mkdir(parents=True, exist_ok=True)
  args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
  main()
