"""digits: scenes of real handwritten digits, the data set of the quickstart.

The digits are the 1,797 scans (8x8, 17 grey levels) of the UCI set that scikit-learn ships. The
backgrounds are plain colours and crops of scikit-learn's two photographs. It downloads nothing.
Each scene lists its digits from left to right with boxes, an instance mask, captions in seven
languages and questions with answers. Train, val and test share no handwritten sample.
"""
import collections
import concurrent.futures
import dataclasses
import functools
import io
import multiprocessing

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from big_vlm import child_process
from pp import tokenizer

LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "zh")
TOKENIZER_FILE = "tokenizer.model"
VOCABULARY = 480  # 4 control pieces, 256 bytes, "\n", 80 characters; the rest are words
# The samples of each split, after one fixed permutation of the 1,797.
HANDWRITING = {"train": slice(0, 1200), "val": slice(1200, 1400), "test": slice(1400, 1797)}
CHUNK = 250  # scenes that a process draws at a time, in a fifth of a second
FEW = 10_000  # scenes that are drawn sooner than processes have started and imported NumPy and TFDS
DRAWING = 4  # processes at most: TFDS writes in one, as fast as three can draw

_COUNTS = {  # counting words for 1..5 and the noun, singular and plural
    "en": (("one", "two", "three", "four", "five"), "digit", "digits"),
    "de": (("eine", "zwei", "drei", "vier", "fünf"), "Ziffer", "Ziffern"),
    "fr": (("un", "deux", "trois", "quatre", "cinq"), "chiffre", "chiffres"),
    "es": (("una", "dos", "tres", "cuatro", "cinco"), "cifra", "cifras"),
    "it": (("una", "due", "tre", "quattro", "cinque"), "cifra", "cifre"),
    "pt": (("um", "dois", "três", "quatro", "cinco"), "algarismo", "algarismos"),
    "zh": (("一", "两", "三", "四", "五"), "个数字", "个数字"),
    "sv": (("en", "två", "tre", "fyra", "fem"), "siffra", "siffror"),  # of `swedish` alone
}
_AND = {"en": " and ", "de": " und ", "fr": " et ", "es": " y ", "it": " e ", "pt": " e ",
        "zh": "和", "sv": " och "}
COLOURS = {"red": (230, 40, 40), "green": (50, 200, 50), "blue": (70, 110, 255),
           "yellow": (235, 225, 40), "pink": (250, 110, 220), "white": (245, 245, 245)}


@dataclasses.dataclass
class DigitsConfig(tfds.core.BuilderConfig):
  """The size and content of the scenes."""
  image: int = 32  # side in pixels
  digits: int = 3  # the most in a scene
  fewest: int = 1
  height: tuple = (12, 16)  # range of a digit's height in pixels
  grid: int = 1  # digits stand at multiples of this many pixels
  photos: float = 0.5  # fraction of scenes over a photograph
  brightness: float = 1.0  # of the backgrounds; at 0.4 all digits are lighter than theirs
  named: bool = False  # "text" names the digits, line by line, with their COLOURS and places
  swedish: bool = False  # questions are whole prompts in Swedish, for a model that is trained
  scenes: tuple = (60_000, 1_000, 2_000)  # train, val, test


_PAIRS = dict(grid=16, digits=4, fewest=2, brightness=0.4, named=True, swedish=True)


class Digits(tfds.core.GeneratorBasedBuilder):
  """Scenes of handwritten digits with boxes, masks, captions and questions.

  processes: that draw the scenes of a large split. More than one need a __main__ that they can
  import, as that of a command.
  """
  processes = 1
  VERSION = tfds.core.Version("1.0.0")
  BUILDER_CONFIGS = [
      DigitsConfig(name="small", grid=4, brightness=0.4,
                   description="32 px, 1 to 3 light digits of 12 to 16 px; trains in minutes."),
      DigitsConfig(name="photos", image=64, digits=5, height=(14, 26), photos=1.0,
                   description="64 px, 1 to 5 digits of 14 to 26 px, light or dark, over photos."),
      DigitsConfig(name="swedish", grid=4, brightness=0.4, swedish=True, scenes=(4000, 500, 1000),
                   description="Like `small`, with prompts and answers in Swedish."),
      DigitsConfig(name="pairs", **_PAIRS, scenes=(20_000, 500, 500),
                   description="2 to 4 digits of named colours in the corners, with a text that "
                               "says which; prompts and answers in Swedish."),
      DigitsConfig(name="tiny_pairs", **_PAIRS, scenes=(64, 16, 16),
                   description="A few scenes of `pairs`, for tests."),
      DigitsConfig(name="tiny", grid=4, brightness=0.4, scenes=(512, 64, 64),
                   description="A few scenes of `small`, for tests."),
  ]

  def _info(self):
    f, side = tfds.features, self.builder_config.image
    return tfds.core.DatasetInfo(
        builder=self, description=__doc__, disable_shuffling=True,
        features=f.FeaturesDict({
            "id": f.Text(),
            "image": f.Image(shape=(side, side, 3), encoding_format="png"),
            # Pixel value i is the i-th object, counted from 1; 0 is the background.
            "instances": f.Image(shape=(side, side, 1), encoding_format="png"),
            "objects": f.Sequence({"label": f.ClassLabel(num_classes=10), "bbox": f.BBoxFeature(),
                                   "sample": f.Scalar(np.int64)}),
            "ocr": f.Text(),
            "captions": {lang: f.Text() for lang in LANGUAGES},
            "questions": f.Sequence(f.Text()),  # in random order
            "answers": f.Sequence(f.Text()),
            **({"text": f.Text()} if self.builder_config.named else {}),
        }))

  def _log_download_bytes(self):
    """TFDS would say "Unknown size" three times; nothing is downloaded."""

  def _split_generators(self, dl_manager):
    del dl_manager  # nothing to download
    if self.builder_config.named or not self.builder_config.swedish:
      train_tokenizer(self.data_path / TOKENIZER_FILE, self.builder_config)
    return {split: self._generate_examples(split, n)
            for split, n in zip(HANDWRITING, self.builder_config.scenes)}

  def _generate_examples(self, split, n):
    processes = min(self.processes, DRAWING) if n > FEW else 1
    return enumerate(examples(self.builder_config, split, n, processes))


def examples(config, split, n, processes=1):
  """Yields the n examples of a split in order, as TFDS takes them.

  Raises OSError where a process that draws them is killed.
  """
  draw = functools.partial(_examples, config, split)
  chunks = [range(i, min(i + CHUNK, n)) for i in range(0, n, CHUNK)]
  if processes == 1:
    for chunk in chunks:
      yield from draw(chunk)
    return
  # Spawned, as this process has threads, which a fork would leave without their locks.
  pool = concurrent.futures.ProcessPoolExecutor(
      processes, multiprocessing.get_context("spawn"), child_process.begin)
  drawn = collections.deque()
  try:
    for chunk in chunks:
      drawn.append(pool.submit(draw, chunk))
      if len(drawn) > 2 * processes:  # TFDS may be slower in writing them
        yield from drawn.popleft().result()
    for chunk in drawn:
      yield from chunk.result()
  except concurrent.futures.process.BrokenProcessPool as e:
    raise OSError("A process that draws scenes was killed; mostly the memory is not enough. The "
                  "same command draws them anew.") from e
  finally:
    pool.shutdown(cancel_futures=True)


def _examples(config, split, numbers):
  made = []
  for i, scene in zip(numbers, scenes(config, split, numbers.stop, numbers.start)):
    image, instances = scene.pop("image"), scene.pop("instances")
    made.append({"id": f"{split}-{i:06d}", "image": _png(image), "instances": _png(instances),
                 **scene})
  return made


def scenes(config, split, n, first=0):
  """Yields the scenes of a split from number `first` to n; each depends on the split and its
  number only."""
  digits, photos = _material()
  order = np.random.default_rng(0).permutation(len(digits.images))[HANDWRITING[split]]
  for i in range(first, n):
    rng = np.random.default_rng([list(HANDWRITING).index(split), i])
    yield _scene(rng, config, digits, order, photos)


@functools.cache
def _material():
  """(the scans, the photographs) of scikit-learn."""
  from sklearn import datasets  # here: slow to import, and reading prepared scenes needs none of it
  return datasets.load_digits(), datasets.load_sample_images().images


def _scene(rng, config, digits, order, photos):
  image = _ground(rng, config, photos)
  placed = []  # (sample, y, x, ink mask [h, w] in 0..1)
  for sample in rng.choice(order, rng.integers(config.fewest, config.digits + 1), replace=False):
    alpha = _ink(rng, digits.images[sample] / 16., rng.integers(*config.height, endpoint=True))
    if (at := _free_place(rng, placed, alpha.shape, config)) is not None:
      placed.append((sample, *at, alpha))
  placed.sort(key=lambda p: (config.named and p[1], p[2]))  # left to right, named line by line

  instances = np.zeros((config.image, config.image), np.uint8)
  objects, names = [], []
  for i, (sample, y, x, alpha) in enumerate(placed):
    h, w = alpha.shape
    patch = image[y:y + h, x:x + w]
    name, colour = (_named(rng) if config.named else
                    ("", _contrasting(rng, patch.mean((0, 1)))))
    patch += alpha[..., None] * (colour - patch)
    instances[y:y + h, x:x + w][alpha > 0.4] = i + 1
    objects.append(dict(
        label=int(digits.target[sample]), sample=int(sample),
        bbox=tfds.features.BBox(*(np.array([y, x, y + h, x + w]) / config.image))))
    names.append(f"{name} {objects[-1]['label']} {_corner(y, x, config.image)}")
  labels = [o["label"] for o in objects]
  asked = ask_in_swedish(labels) if config.swedish else ask(rng, labels)
  questions, answers = zip(*rng.permutation(asked).tolist())
  return dict(
      image=np.clip(image, 0, 255).astype(np.uint8), instances=instances, objects=objects,
      ocr="".join(map(str, labels)), captions={lang: caption(lang, labels) for lang in LANGUAGES},
      questions=list(questions), answers=list(answers),
      **({"text": ", ".join(names)} if config.named else {}))


def _ground(rng, config, photos):
  """[side, side, 3] float32 in 0..255."""
  side = config.image
  if rng.random() >= config.photos:
    view = np.broadcast_to(rng.uniform(0, 255, 3), (side, side, 3))
  else:
    photo = photos[rng.integers(len(photos))]
    crop = rng.integers(side, min(photo.shape[:2]) // 2)
    y, x = rng.integers(photo.shape[0] - crop), rng.integers(photo.shape[1] - crop)
    view = Image.fromarray(photo[y:y + crop, x:x + crop]).resize((side, side))
  return np.asarray(view, np.float32) * config.brightness


def _ink(rng, digit, height):
  """Slants and stretches a digit [8, 8] in 0..1 and crops it to its ink: [height, w] in 0..1."""
  big = Image.fromarray((digit * 255).astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)
  a = np.deg2rad(rng.uniform(-8, 8))
  shear = rng.uniform(-0.1, 0.1)
  m = np.array([[np.cos(a), -np.sin(a) + shear], [np.sin(a), np.cos(a)]])
  offset = 16 - m @ (16, 16)  # turn about the centre
  big = big.transform((32, 32), Image.Transform.AFFINE, (*m[0], offset[0], *m[1], offset[1]),
                      Image.Resampling.BILINEAR)
  ys, xs = np.nonzero(np.asarray(big) > 80)
  box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
  width = (box[2] - box[0]) / (box[3] - box[1]) * height * rng.uniform(0.9, 1.1)
  width = int(np.clip(round(width), height // 3, height))  # a 1 is narrow
  small = big.resize((width, int(height)), Image.Resampling.BILINEAR, box=box)
  return np.clip(np.asarray(small, np.float32) / 200, 0, 1)


def _free_place(rng, placed, shape, config):
  """(y, x) of a box of this shape that overlaps no placed digit; None after 100 tries."""
  h, w = shape
  for _ in range(100):
    y, x = (rng.integers((config.image - n) // config.grid + 1) * config.grid for n in shape)
    if all(y >= py + a.shape[0] or py >= y + h or x >= px + a.shape[1] or px >= x + w
           for _, py, px, a in placed):
      return y, x
  return None


def _contrasting(rng, ground):
  """A random colour at least 100 grey levels lighter or darker than the background."""
  while True:
    colour = rng.uniform(0, 255, 3)
    if abs(colour.mean() - ground.mean()) > 100:
      return colour


def _named(rng):
  """(name, RGB) of one of COLOURS."""
  name = str(rng.choice(list(COLOURS)))
  return name, np.array(COLOURS[name])


def _corner(y, x, side):
  """_corner(0, 16, 32) -> "top right"."""
  return f"{'top' if y < side / 2 else 'bottom'} {'left' if x < side / 2 else 'right'}"


def caption(lang, labels):
  """caption("en", [3, 7, 1]) -> "three digits: 3, 7 and 1"."""
  counts, singular, plural = _COUNTS[lang]
  noun = singular if len(labels) == 1 else plural
  comma, colon, space = ("、", "：", "") if lang == "zh" else (", ", ": ", " ")
  colon = " : " if lang == "fr" else colon
  *head, last = map(str, labels)
  listed = comma.join(head) + _AND[lang] + last if head else last
  return f"{counts[len(labels) - 1]}{space}{noun}{colon}{listed}"


def ask(rng, labels):
  """[(question, answer), ...] about digits, given from left to right."""
  absent = rng.choice(np.setdiff1d(np.arange(10), labels))
  i = rng.integers(len(labels))
  qas = [("how many digits are there?", len(labels)),
         ("what is the largest digit?", max(labels)),
         ("what is the smallest digit?", min(labels)),
         (f"is there a {rng.choice(labels)}?", "yes"),
         (f"is there a {absent}?", "no"),
         (f"how many times is there a {labels[i]}?", labels.count(labels[i]))]
  if labels.count(labels[i]) == 1:  # else "the 3" would name two digits
    qas += [(f"what is left of the {labels[i]}?", labels[i - 1] if i else "nothing"),
            (f"what is right of the {labels[i]}?",
             labels[i + 1] if i + 1 < len(labels) else "nothing")]
  return [(q, str(a)) for q, a in qas]


def ask_in_swedish(labels):
  """[(prompt, answer), ...] in a language that the quickstart's model does not know."""
  return [("caption sv", caption("sv", labels)),
          ("answer sv hur många siffror finns det?", _COUNTS["sv"][0][len(labels) - 1]),
          ("answer sv vilken siffra är störst?", str(max(labels))),
          ("answer sv vilken siffra är minst?", str(min(labels)))]


def train_tokenizer(path, config):
  """Trains a SentencePiece model on the texts of 2,000 scenes and writes it to path."""
  texts = []
  for scene in scenes(config, "train", min(2000, config.scenes[0])):
    if config.named:
      texts += [scene["text"], *scene["questions"], *scene["answers"]]
      continue
    texts += ["ocr", scene["ocr"], *(f"caption {lang}" for lang in LANGUAGES)]
    texts += ["detect " + " ; ".join(scene["ocr"]), *scene["captions"].values()]
    texts += [*scene["answers"], *(f"answer en {q}" for q in scene["questions"])]
  tokenizer.train_sentencepiece(texts, path, vocab_size=VOCABULARY, model_type="bpe")


def _png(array):
  out = io.BytesIO()
  Image.fromarray(array).save(out, "png", compress_level=3)
  return out.getvalue()
