"""Finds images in an index of tools.index: python -m tools.search workdirs/photos "a cat"

Prints the nearest images of each query, the best first, with their cosines. --image takes images in
place of texts. The search is exact, in blocks of the index; --ann takes the graph that tools.index
--ann made. The model is the one that made the index, or --model, if that gives the same vectors.
"""
import json
import pathlib

import big_vlm
from big_vlm import cli, compilation, model_flags, vector_index
from pp.printable import printable
from tools import index as indexing


def search(found, vlm, queries, count, *, images=False, approximate=False):
  """[[{"image", "path", "cosine"}] of each query] in an Index; queries: texts, or images.

  Raises ValueError for a model that did not make the index.
  """
  options = found.about["embed"]
  found.check_model(indexing.probe(vlm, options), vlm.source)
  vectors = vlm.embed(queries, **options) if images else vlm.embed(texts=queries)
  scores, numbers = found.search(vectors, count, approximate)
  return [[found.item(n) | {"cosine": round(float(s), 4)} for s, n in zip(*row) if n >= 0]
          for row in zip(scores, numbers)]


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("index", help="a folder that tools.index made")
  parser.add_argument("queries", nargs="*", metavar="query", help="texts")
  parser.add_argument("--image", nargs="+", default=[], help="images, in place of texts")
  parser.add_argument("--count", type=int, default=10, help="results of a query")
  parser.add_argument("--ann", action="store_true", help="approximate")
  parser.add_argument("--model", help="in place of the model that made the index")
  parser.add_argument("--out", help="a JSONL to write: a line for each query")
  model_flags.add(parser, "auto")
  args = parser.parse_args(argv)
  queries = args.queries or args.image
  if not queries or args.queries and args.image:
    parser.error("give queries, or --image with images")
  if not all(query.strip() for query in queries):
    parser.error("a query is empty")
  if args.count < 1:
    parser.error(f"--count {args.count} is not 1 or more")
  if args.ann:
    vector_index.check_faiss()
  found = vector_index.Index(args.index, whole=not args.ann)
  compilation.cache()
  about = found.about
  vlm = model_flags.adapted(
      big_vlm.from_preset(args.model or about["source"], dtype=args.dtype or "auto"),
      args.adapter or about["adapter"], args.quantize or about["quantize"])
  results = search(found, vlm, queries, args.count, images=bool(args.image), approximate=args.ann)
  for query, rows in zip(queries, results):
    print(printable(query))
    for row in rows:
      print(f"  {row['cosine']:.4f}  {printable(row['path'])}")
  if args.out:
    pathlib.Path(args.out).write_text("".join(
        json.dumps({"query": query, "results": rows}, ensure_ascii=False) + "\n"
        for query, rows in zip(queries, results)))


if __name__ == "__main__":
  cli.run(main)
