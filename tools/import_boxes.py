"""Annotations of other tools -> JSONL that trains detection or segmentation.

  python -m tools.import_boxes coco ANNOTATIONS.json IMAGES OUT.jsonl
  python -m tools.import_boxes yolo FOLDER OUT.jsonl            data.yaml or classes.txt, labels/
  python -m tools.import_boxes voc FOLDER OUT.jsonl             Annotations/*.xml, JPEGImages/
  python -m tools.import_boxes polygons FOLDER OUT.jsonl        JSON files of labelme
  python -m tools.import_boxes masks IMAGES MASKS OUT.jsonl     mask images

Images stay where they are: lines name them relative to OUT's folder, or to --root. Boxes are
clipped to the image and empty ones dropped, and a table says how many. Images that are missing or
of another size than annotated are an error. Boxes are written for pictures turned upright by their
EXIF, as forkme trains. tools/importers/ describes each format and the lines.
"""
import collections
import hashlib
import json
import pathlib

from big_vlm import cli, files, reporting
from tools import jsonl_images
from tools.importers import coco, codes, lines, masks, polygons, voc, yolo

READERS = {
    "coco": (coco, ("annotations", "images")),
    "yolo": (yolo, ("folder",)),
    "voc": (voc, ("folder",)),
    "polygons": (polygons, ("folder",)),
    "masks": (masks, ("images", "masks")),
}


def convert(pictures, classes, out, root=None, split=(), options=None, encode=None):
  """Writes OUT.jsonl, or OUT_train.jsonl, ... -> (ImportResult, {path: number of lines}).

  split: [(name, fraction)]; the hash of an image's file name alone decides its part.
  encode: of importers/codes.py. Raises ValueError, FileNotFoundError, OSError.
  """
  out = pathlib.Path(out)
  if out.suffix != ".jsonl":
    raise ValueError(f"OUT is a file that ends in .jsonl, not {out}.")
  base = pathlib.Path(root or out.parent).resolve()
  headers = jsonl_images.each(lambda p: lines.header(p.path), pictures, "images")
  result = lines.make(pictures, headers, classes, lambda p: relative(p, base),
                    options or lines.Options(), encode)
  if not result.lines:
    raise ValueError(f"{out} would have no lines: of {len(pictures)} images none has objects of "
                     "the classes wanted.")
  groups = collections.defaultdict(list)
  for path, line in result.lines:
    groups[which(path.name, split)].append(line)
  written = {}
  for name in [name for name, _ in split] or [None]:
    path = out.with_name(f"{out.stem}_{name}.jsonl") if name else out
    files.write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n"
                                     for line in groups[name]))
    written[path] = len(groups[name])
  return result, written


def relative(path, base):
  """How a line names an image below `base`; ValueError for one elsewhere."""
  try:
    return path.resolve().relative_to(base).as_posix()
  except ValueError:
    raise ValueError(
        f"The image {path} is not below {base}, which lines name images from. Put OUT.jsonl in a "
        "folder above the images, or give that folder as --root, and as root=... in the config's "
        "data.") from None


def which(name, split):
  """The part of a split that a file name belongs to; None without a split."""
  place = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) / 2**64
  for part, fraction in split:
    place -= fraction
    if place < 0:
      return part
  return split[-1][0] if split else None


def parse_split(text):
  """"train=0.9,val=0.1" -> [("train", 0.9), ("val", 0.1)]; ValueError unless they add up to 1."""
  try:
    parts = [(name.strip(), float(fraction)) for name, fraction in
             (part.split("=") for part in text.split(","))]
  except ValueError:
    parts = []
  fractions = [fraction for _, fraction in parts]
  if not parts or abs(sum(fractions) - 1) > 1e-6 or min(fractions) <= 0:
    raise ValueError(f"--split {text!r} is not of the form train=0.9,val=0.1 with fractions that "
                     "add up to 1.")
  return parts


def summary(result, written):
  """A summary of the import as text."""
  table = [("class", "objects", "images"), *((c, f"{n:,}", f"{result.images[c]:,}")
                                             for c, n in result.objects.most_common())]
  notes = [f"{what}: {n:,}" for what, n in result.counts.items()]
  notes += [f"warning: {text}" for text in result.warnings]
  files = [f"{path}: {n:,} lines" for path, n in written.items()]
  return "\n".join([reporting.columns(table), "", *notes, *files])


def _parser():
  parser = cli.Parser(__doc__)
  kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
  for kind, (module, places) in READERS.items():
    sub = kinds.add_parser(kind, description=module.__doc__, help=module.__doc__.partition(":")[0])
    for place in places:
      sub.add_argument(place)
    _common_arguments(sub)
    if kind != "masks":
      sub.add_argument("--encoding", help="of the annotation files, e.g. latin-1 or gb18030")
    if kind == "yolo":
      sub.add_argument("--shape", default="auto", choices=("auto", "pose", "polygon"),
                       help="of lines that could be both")
    if kind == "voc":
      sub.add_argument("--image_set", help="images of ImageSets/Main/SET.txt only")
    if kind == "polygons":
      sub.add_argument("--images", help="folder of the images, if not where the JSON says")
    if kind == "masks":
      sub.add_argument("--class_names", default="",
                       help="of the values from 0 on: background,cat,dog; with --instances of the "
                            "objects: cell")
      sub.add_argument("--instances", action="store_true", help="each value is an object")
  return parser


def _common_arguments(parser):
  parser.add_argument("out", help="JSONL file to write")
  parser.add_argument("--root", help="folder that lines name images from, if not OUT's")
  parser.add_argument("--prompt", default="per_image", choices=lines.PROMPTS,
                      help="ask for the classes in the image (default), for all of the data set, "
                           "or for one of the image in each line")
  parser.add_argument("--frame", choices=lines.FRAMES,
                      help="that objects were drawn in, of images that EXIF turns")
  parser.add_argument("--order", default="raster", choices=lines.ORDERS,
                      help="of objects: from the top left (default), or as annotated")
  parser.add_argument("--classes", default="", help="take these only: cat,dog")
  parser.add_argument("--min_area", type=float, default=0., help="of a box, in pixels")
  parser.add_argument("--skip_crowd", action="store_true", help="leave COCO's crowds out")
  parser.add_argument("--split", help="e.g. train=0.9,val=0.1: OUT_train.jsonl, OUT_val.jsonl")
  parser.add_argument("--masks", action="store_true", dest="write_masks",  # a place is "masks" too
                      help="write masks; needs --vqvae")
  parser.add_argument("--vqvae", help="the file vae-oid.npz: encodes the masks")


def main(argv=None):
  args = _parser().parse_args(argv)
  module, places = READERS[args.kind]
  extra = {"coco": lambda: dict(encoding=args.encoding),
           "yolo": lambda: dict(encoding=args.encoding, shape=args.shape),
           "voc": lambda: dict(encoding=args.encoding, image_set=args.image_set),
           "polygons": lambda: dict(encoding=args.encoding, images=args.images),
           "masks": lambda: dict(names=_words(args.class_names), instances=args.instances)}
  pictures, classes = module.read(*(getattr(args, p) for p in places),
                                  **extra[args.kind]())
  options = lines.Options(args.prompt, args.order, _words(args.classes), args.min_area,
                          args.skip_crowd, args.frame)
  split = parse_split(args.split) if args.split else ()
  if args.write_masks != bool(args.vqvae):
    raise ValueError("--masks and --vqvae go together: vae-oid.npz encodes the masks.")
  encode = codes.encoder(args.vqvae) if args.write_masks else None
  print(summary(*convert(pictures, classes, args.out, args.root, split, options, encode)))


def _words(text):
  return tuple(w.strip() for w in text.split(",") if w.strip())


if __name__ == "__main__":
  cli.run(main)
