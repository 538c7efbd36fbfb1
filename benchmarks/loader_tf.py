"""The pipeline of benchmarks/loader.py in tf.data, for a venv with TensorFlow.

  python benchmarks/loader_tf.py FOLDER SECONDS TEXT BATCH WARM [FILE.npz]

Prints {"images_per_s", "busy"}; with FILE.npz it writes the first rows in order instead, for a
comparison. The ops are big_vision's: decode_image, tf.image.resize, truncation to uint8, in graphs
that AUTOTUNE runs in parallel. The tokenizer is tensorflow_text's, inside the graph; big_vision
calls SentencePiece from Python, one example at a time, which is slower.
"""
import json
import os
import resource
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

ROWS = 8  # to compare


def pipeline(folder, text, shuffled):
  """tf.data.Dataset of {"image", "text", "mask_ar", "mask_loss"}, one example each."""
  with open(f"{folder}/data.jsonl") as f:
    rows = [json.loads(line) for line in f]
  with open(f"{folder}/tokenizer.model", "rb") as f:
    model = f.read()
  tokenizer = tf_text.SentencepieceTokenizer(model)
  bos = tf_text.SentencepieceTokenizer(model, add_bos=True)
  eos = tf_text.SentencepieceTokenizer(model, add_eos=True)
  separator = tokenizer.tokenize("\n")

  def make(row):
    image = tf.io.decode_image(tf.io.read_file(row["image"]), channels=3, expand_animations=False)
    image = tf.ensure_shape(image, [None, None, 3])
    image = tf.image.resize(image, (224, 224), antialias=True)
    image = tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8)
    prefix = tf.concat([bos.tokenize(row["prefix"]), separator], 0)
    suffix = eos.tokenize(row["suffix"])
    ones = tf.concat([tf.zeros_like(prefix), tf.ones_like(suffix)], 0)

    def pad(x, value):
      x = x[:text + 1]
      x = tf.pad(x, [[0, text + 1 - tf.size(x)]], constant_values=value)
      return tf.ensure_shape(x, [text + 1])
    return {"image": image, "text": pad(tf.concat([prefix, suffix], 0), 0),
            "mask_ar": pad(ones, 1), "mask_loss": pad(ones, 0)}

  data = tf.data.Dataset.from_tensor_slices(
      {"image": [f"{folder}/{row['image']}" for row in rows],
       **{k: [row[k] for row in rows] for k in ("prefix", "suffix")}})
  if shuffled:
    data = data.shuffle(len(rows)).repeat()
  return data.map(make, num_parallel_calls=tf.data.AUTOTUNE)


def main(folder, seconds, text, batch, warm, out=None):
  if out:
    rows = list(pipeline(folder, int(text), False).batch(ROWS).take(1).as_numpy_iterator())
    np.savez(out, **rows[0])
    return
  batch = int(batch)
  data = pipeline(folder, int(text), True).batch(batch, drop_remainder=True)
  batches = data.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
  for _ in range(int(warm)):
    next(batches)
  began, used, count = time.perf_counter(), processor_time(), 0
  while (spent := time.perf_counter() - began) < float(seconds):
    next(batches)
    count += batch
  print(json.dumps({"images_per_s": count / spent, "busy": (processor_time() - used) / spent}))


def processor_time():
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
  main(*sys.argv[1:])
