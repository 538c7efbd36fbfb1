"""Writes small data with the libraries that people have them from, and how these read them back.

  python big_vlm/data/golden/make_sources.py       with datasets 5.2.0 and webdataset 1.0.2

  saved/        DatasetDict.save_to_disk: train (in two files) and test
  hub/data/     the same as Parquet, as push_to_hub names it
  tars/         webdataset.ShardWriter: train-000000.tar, train-000001.tar
  expected.json {"rows": of train, "samples": of the tars}, as the libraries iterate over them;
                bytes are in base64
"""
import base64
import io
import json
import pathlib
import shutil

import datasets
import webdataset
from PIL import Image

HERE = pathlib.Path(__file__).parent
ROWS = 5


def picture(i, format="PNG"):
  Image.new("RGB", (8 + i, 6), (40 * i, 9, 200)).save(file := io.BytesIO(), format)
  return file.getvalue()


def data():
  text, number, whole = map(datasets.Value, ("string", "float32", "int64"))
  features = datasets.Features({
      "image": datasets.Image(), "question": text, "answers": datasets.List(text),
      "label": datasets.ClassLabel(names=["no", "yes"]), "lang": text, "width": whole,
      "objects": {"bbox": datasets.List(datasets.List(number)), "name": datasets.List(text)}})
  return datasets.Dataset.from_list([{
      "image": {"bytes": picture(i), "path": f"{i}.png"}, "question": f"wie viele {i}?",
      "answers": [f"{i}", f"{i + 1} Stück"], "label": i % 2, "lang": ("de", "en", None)[i % 3],
      "width": 8 + i, "objects": {"bbox": [[0., 0.25, 1., 0.5]] * (i % 3), "name": ["é"] * (i % 3)},
  } for i in range(ROWS)], features=features)


def encoded(value):
  if isinstance(value, bytes):
    return base64.b64encode(value).decode()
  if isinstance(value, dict):
    return {k: encoded(v) for k, v in value.items() if not k.startswith("__")}
  return [encoded(v) for v in value] if isinstance(value, list) else value


def main():
  for name in ("saved", "hub", "tars"):
    shutil.rmtree(HERE / name, ignore_errors=True)
  train = data()
  test = train.select([1, 0])
  for split, part, shards in (("train", train, 2), ("test", test, 1)):
    part.save_to_disk(HERE / "saved" / split, num_shards=shards)
    (HERE / "hub" / "data").mkdir(parents=True, exist_ok=True)
    for i in range(shards):
      part.shard(shards, i, contiguous=True).to_parquet(
          HERE / "hub" / "data" / f"{split}-{i:05}-of-{shards:05}.parquet", batch_size=2)
  (HERE / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
  (HERE / "tars").mkdir()
  with webdataset.ShardWriter(str(HERE / "tars" / "train-%06d.tar"), maxcount=3, verbose=0,
                              mtime=0) as out:
    for i in range(ROWS):
      image = {"jpg": picture(i, "JPEG")} if i == 3 else {"png": picture(i)}
      out.write({"__key__": f"a/{i:04}", **image,
                 "txt": f"{i} Stück", "json": {"prompt": f"wie viele {i}?", "lang": "de"},
                 "cls": i % 2})
  loaded = datasets.load_from_disk(HERE / "saved")["train"].cast_column(
      "image", datasets.Image(decode=False))
  samples = webdataset.WebDataset(str(HERE / "tars" / "train-{000000..000001}.tar"),
                                  shardshuffle=False).decode()
  read = {"rows": [encoded({**row, "image": row["image"]["bytes"]}) for row in loaded],
          "samples": [{"key": s["__key__"], **encoded(s)} for s in samples]}
  (HERE / "expected.json").write_text(json.dumps(read, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
  main()
