"""Embeds images for search: python -m tools.index my/photos --model MODEL --out workdirs/photos

The images are those of a folder and of the folders in it, of a pattern such as "my/**/*.png", or of
the lines of a JSONL, {"image": "cat.png"}. MODEL is what big_vlm.from_preset takes: a SigLIP, or
another model that sees. The same command resumes after a kill. tools.search finds images by a text
or by an image.
"""
import base64
import hashlib
import json

import numpy as np

import big_vlm
from big_vlm import (
  cli,
  compilation,
  embedding,
  image_input,
  model_flags,
  presets,
  reporting,
  vector_index,
)
from evaluators import common
from tools import answers_file, predict_input

BATCH = 64  # images between two writes
ASKED = "image"  # stands for the prompt of tools.predict


def probe(vlm, options):
  """{"image": vector, "text": vector} of a picture and of a text that never change, by which a
  model is known again, whatever the format that it was loaded from."""
  image = np.add.outer(np.arange(0, 192, 4), np.arange(0, 64, 2))[..., None] * [1, 0, -1] % 256
  found = {"image": vlm.embed(image.astype(np.uint8), **options)[0]}
  if vlm.config.txt:
    found["text"] = vlm.embed(texts=[[1]])[0]
  return found


def index(vlm, requests, out, about, options, *, on_error="raise", approximate=False):
  """Writes the index of all requests of predict_input to the folder `out`.

  about: of index.json. options: of vlm.embed. on_error: "skip" leaves out what cannot be read.
  """
  names = hashlib.sha256(json.dumps([requests.ids, requests.names]).encode()).hexdigest()[:16]
  vectors = probe(vlm, options)
  about = about | {"probe": {part: [float(x) for x in v] for part, v in vectors.items()}}
  run = {key: about[key] for key in about if key != "probe"} | {
      "images": f"{len(requests)}, checksum of their names {names}",
      "weights": f"checksum {common.fingerprint(vlm.params)}"}
  file = answers_file.Partial(out, run)
  made = len(file.rows)
  file.start(requests, made if made >= len(requests) else made // BATCH * BATCH)
  note = reporting.counter("vectors", "images", file.kept)
  for first in range(file.kept, len(requests), BATCH):
    numbers = range(first, min(first + BATCH, len(requests)))
    rows = [_read(requests, i, on_error) for i in numbers]
    images = [row.pop("pixels") for row in rows if "pixels" in row]
    found = iter(vlm.embed(images, **options)) if images else iter(())
    file.add([row if "error" in row else row | {"answer": _encoded(next(found))} for row in rows])
    note(numbers[-1] + 1, len(requests))
  file.close()
  _finish(file, requests, out, about, approximate)


def _read(requests, number, on_error):
  """{"at", "digest", "pixels"} of a request, or "error" in place of the pixels."""
  row = {"at": number, "digest": ""}
  try:
    if requests.kinds[number] != ("image", 1):
      raise ValueError("has no single image, and only images are indexed")
    request = requests[number]
    row["digest"] = predict_input.digest(request)
    return row | {"pixels": image_input.read(request["image"])}
  except (ValueError, OSError) as e:
    problem = f"{requests.where(number)}: {e}"
    if on_error == "raise":
      raise type(e)(problem) from e
    return row | {"error": problem}


def _encoded(vector):
  return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()


def _finish(file, requests, out, about, approximate):
  count = len(requests) - file.tell_skipped("images")
  rows = ((np.frombuffer(base64.b64decode(row["answer"]), "<f4"),
           {"image": requests.names[row["at"]], "path": requests.path(row["at"])})
          for row in file.read() if "answer" in row)
  vector_index.write(out, rows, count, about, approximate)
  file.path.unlink()
  print(f"{count:,} images are in {out}: python -m tools.search {out} \"a cat\"")


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("input", help="a folder, a pattern or a .jsonl")
  parser.add_argument("--model", required=True, help="a preset, a handle (hf://...), a checkpoint")
  parser.add_argument("--out", required=True, help="the folder of the index")
  parser.add_argument("--resize", help="as vlm.embed takes it")
  parser.add_argument("--max_num_patches", type=int, default=256, help="of a NaFlex tower")
  parser.add_argument("--on_error", default="raise", choices=("raise", "skip"),
                      help="skip: leave out images that cannot be read, and name them")
  parser.add_argument("--ann", action="store_true", help="also for approximate search, with faiss")
  model_flags.add(parser, "auto")
  args = parser.parse_args(argv)
  options = dict(resize=args.resize, max_num_patches=args.max_num_patches)
  embedding.EmbedConfig(**options)
  if args.ann:
    vector_index.check_faiss()
  requests = predict_input.open_input(args.input, ASKED)
  if isinstance(requests, predict_input.Examples):
    raise ValueError(f"{args.input}: an index is of image files, which tools.search names; those "
                     "of Parquet, WebDataset and `datasets` are no files.")
  compilation.cache()
  vlm = model_flags.adapted(big_vlm.from_preset(args.model, dtype=args.dtype or "auto"),
                            args.adapter, args.quantize)
  about = {"model": presets.describe(vlm.config), "source": args.model, "adapter": args.adapter,
           "quantize": args.quantize, "embed": options}
  index(vlm, requests, args.out, about, options, on_error=args.on_error, approximate=args.ann)


if __name__ == "__main__":
  cli.run(main)
