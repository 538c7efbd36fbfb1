"""Image-text retrieval: images find their captions among those of all images, and captions theirs.

As big_vision's evaluator of this name (the COCO and Flickr30k protocol of Karpathy's splits): all
captions that an image has take part, and an image is right where any of its own is among the k
nearest. It sorts equal similarities arbitrarily; here the first in the data comes first. Images and
captions are compared in blocks: nothing of size images x captions is held.
"""
from big_vlm import vector_index
from big_vlm.batch import BATCH
from evaluators.metrics import groups
from evaluators.predictions import MissingKey, require_keys
from evaluators.vectors import packed, unpacked
from pp.canonical import SPELLINGS
from pp.names import pick

RECALLS = (1, 5, 10)
PERCENT = tuple(f"{way}_recall@{k}" for way in ("img2txt", "txt2img") for k in RECALLS)
TOWERS = 2
DEPTH = max(RECALLS)  # the nearest that are looked at
SHOWN = 5  # of them, in predictions and the report
OF_SAMPLE = "it is easier to find one among fewer, so that the metric of all is lower"


def check(captions="captions", spelling="ascii"):
  if captions in BATCH:
    raise ValueError(f"captions={captions!r} is what a model reads of an example: copy the texts "
                     f"to another key in the eval's pp string, copy({captions!r}, 'captions')|"
                     "keep('image', 'captions').")
  pick(SPELLINGS, spelling, "spelling of texts")


def begin(vectors, options):
  del vectors, options


def prepare(vectors, options, known):
  del vectors, options, known


def compare(found, prepared):
  del prepared
  return [{"vector": packed(vector)} for vector in found]


def check_example(p, known, options):
  """Makes "references" the list of an example's captions; raises ValueError for one without any."""
  del known
  if options.captions not in p:
    raise MissingKey(f"The evaluator 'retrieval' needs captions, and the example {p.get('id')!r} "
                     f"has no {options.captions!r}; it has {', '.join(map(str, p))}. Name them by "
                     "captions=, and have the eval's pp string keep them: keep('image', 'captions')"
                     ".")
  found = p[options.captions]
  found = [found] if isinstance(found, str) else found
  if not isinstance(found, list) or not all(isinstance(x, str) for x in found):
    raise ValueError(f"The captions of {p.get('id')!r} are {str(found)[:80]}, not a list of texts.")
  if not found or not all(x.strip() for x in found):
    raise ValueError(f"The example {p.get('id')!r} has {'an empty' if found else 'no'} caption: "
                     "retrieval takes images with texts.")
  p["references"] = found


def texts(predictions):
  """The captions of all images, one after the other."""
  return [text for p in predictions for text in p["references"]]


def finish(predictions, known, zt):
  """Adds where the nearest are, counted from 1; None: not among the nearest DEPTH.

  "text_rank": of the first own caption; "image_ranks": of the image, for each of its captions;
  "nearest_texts" [[text, cosine, own]]; "nearest_images" [[index, cosine, own]] of its first
  caption.
  zt: float32 [captions of all, D].
  """
  del known
  zi, said = unpacked([p.pop("vector") for p in predictions]), texts(predictions)
  owner = [i for i, p in enumerate(predictions) for _ in p["references"]]
  of_images, of_texts = (  # (cosines, numbers) of the nearest
      vector_index.nearest(zt, zi, DEPTH), vector_index.nearest(zi, zt, DEPTH))
  first = 0
  for i, p in enumerate(predictions):
    count = len(p["references"])
    p["text_rank"] = rank(i, [owner[t] for t in of_images[1][i]])
    p["image_ranks"] = [rank(i, row) for row in of_texts[1][first:first + count].tolist()]
    p["nearest_texts"] = [[said[t], round(float(cosine), 5), owner[t] == i]
                          for cosine, t in zip(*(x[i, :SHOWN] for x in of_images))]
    p["nearest_images"] = [[int(n), round(float(cosine), 5), int(n) == i]
                           for cosine, n in zip(*(x[first, :SHOWN] for x in of_texts))]
    p["prediction"] = p["nearest_texts"][0][0]
    first += count


def rank(wanted, found):
  """The place of a number in a list, from 1 on; None where it is not there."""
  return found.index(wanted) + 1 if wanted in found else None


def score(predictions, tokenizer, captions="captions", spelling="ascii"):
  """{"img2txt_recall@1", ...}, fractions; "score" of a prediction is its img2txt_recall@1.

  captions: the key of an image's texts, one or a list. spelling: a row of pp.canonical.SPELLINGS;
  big_vision's is "ascii".
  """
  del tokenizer, captions, spelling
  require_keys(predictions, ["image_ranks"], "retrieval")
  within = lambda ranks, k: sum(rank is not None and rank <= k for rank in ranks)
  for p in predictions:
    ways = {"img2txt": [p["text_rank"]], "txt2img": p["image_ranks"]}
    p["counts"] = {f"{way}_recall@{k}": [within(ranks, k), len(ranks)]
                   for way, ranks in ways.items() for k in RECALLS}
    p["correct"] = p["text_rank"] == 1
    p["score"] = float(p["correct"])
  return {name: groups.ratio(p["counts"][name] for p in predictions) for name in PERCENT}
