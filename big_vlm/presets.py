"""From the name of a model to its config, text length and the place of its weights.

  big_vlm.from_preset("pali_gemma2_mix_3b_224")              KerasHub's names; from Kaggle
  big_vlm.from_preset("google/paligemma2-3b-mix-224")        Hugging Face ids; "hf://ID@REVISION"
  big_vlm.from_preset("pt_3b_224")                           big_vision's names of .npz files, which
                                                             are in $BIG_VLM_CHECKPOINTS
  big_vlm.from_preset("siglip2_b16_256")                     and of SigLIP's, in its public bucket
  big_vlm.from_preset("digits")                              the small one that is in the package

`python -m big_vlm.presets` lists all of them, `python -m big_vlm.presets okvqa` and names("okvqa")
some. The models of a family are in presets.py of its folder. A name alone builds the model,
offline; checkpoints/uris.py fetches weights.
"""
import dataclasses
import difflib
import functools
import math
import os
import re

from etils import epath

from big_vlm import cli
from big_vlm.families import exchange, paligemma, paligemma_presets
from big_vlm.families.siglip import presets as siglip_presets
from big_vlm.formats import bv
from big_vlm.formats.parts import split_part

BEST = "@best"
HOW_TO_LIST = "`python -m big_vlm.presets` lists all names."
TEXT_LEN = 1024  # of a text-only model: KerasHub's; Gemma could take 8192


@dataclasses.dataclass(frozen=True)
class Preset:
  """A released model by name."""
  name: str
  config: dict  # for paligemma.config: {"img": {"variant", **changes}, "llm": ...}, either or None;
  # SigLIP's has a "txt" too
  text_len: int | None  # tokens: of pretraining (PaliGemma), 1024 (text only), of a text (SigLIP)
  uri: str  # for checkpoints.uris.fetch: "kaggle://...", "hf://...", "npz://NAME", "package://NAME"
  prompts: tuple = ()  # that it was trained on, such as "caption {lang}"; (): any text


# {model in words: (variant of the tower, variant of the decoder)}
MODELS = dict(paligemma_presets.MODELS)
for _family, _part in exchange.modules("presets").items():
  MODELS |= {model: (None, variant) if _part == "llm" else (variant, None)
             for model, variant in _family.MODELS.items()}


def _preset(name, model, uri, family=paligemma_presets):
  tower, decoder = MODELS[model]
  size = tower and int(re.search(r"\d+$", name).group())
  img = {"variant": tower, "image_size": size} if tower else None
  llm = {"variant": decoder} if decoder else None
  text_len = TEXT_LEN
  if tower:
    llm["vocab_size"] = paligemma_presets.VOCAB_SIZE
    if model.startswith("PaliGemma 2"):
      llm["window"] = None  # as it was trained; Gemma 2's text models have one
    text_len = 512 if size > 224 else 256 if "mix" in name else 128
  prompts = family.prompts(name) if hasattr(family, "prompts") else ()
  return Preset(name, {"img": img, "llm": llm}, text_len, uri, prompts)


def _table():
  """{name: Preset}.

  In a family's table KAGGLE, names are variations on Kaggle (NAME=VARIATION where they differ) with
  their versions; in HUGGING_FACE, names are repositories of the owner.
  """
  table = {"digits": Preset("digits", paligemma_presets.DIGITS, paligemma_presets.DIGITS_TEXT_LEN,
                            "package://digits", paligemma_presets.DIGITS_PROMPTS)}
  for family in [paligemma_presets, *exchange.modules("presets")]:
    for place, model, names in family.KAGGLE:
      for entry in names.split():
        name, _, variation = entry.partition("=")
        uri = f"kaggle://{place}/keras/{variation or name}"
        name = name.partition("/")[0]
        table[name] = _preset(name, model, uri, family)
    for owner, model, names in family.HUGGING_FACE:
      for name in names.split():
        name = f"{owner}/{name}"
        table[name] = _preset(name, model, f"hf://{name}", family)
  for model, names in paligemma_presets.NPZ:
    table |= {name: _preset(name, model, f"npz://{name}") for name in names}
  for name, uri, config in siglip_presets.released():
    table[name] = Preset(name, config, paligemma.config(**config).txt.length, uri)
  return table


PRESETS = _table()
_KAGGLE = {p.uri.rpartition("/")[0]: p for p in PRESETS.values() if "kaggle://" in p.uri}


def resolve(source: str | os.PathLike) -> Preset | None:
  """The Preset of a known name; None for an existing path and for a URI of something else.

  source: a path, a URI such as "hf://org/name", or a name (see the top of this file). A path that
  exists comes before a name of the same spelling. A known model keeps the revision, version or file
  that its URI asks for.

  Raises:
    ValueError: none of these; the message has the nearest name.
  """
  source = located(source)
  if "://" not in source and epath.Path(split_part(source)[0]).expanduser().exists():
    return None
  preset = PRESETS.get(source) or _hugging_face(source) or _kaggle(source) or _npz(source)
  if preset or "://" in source:
    return preset
  hint = near_miss(source)
  if not hint and re.fullmatch(r"[\w.-]+/[\w.-]+", source):
    hint = f" For a repository on Hugging Face write 'hf://{source}'."
  raise ValueError(f"Unknown model {source!r}: there is no file or folder of this name, and it is "
                   "neither a URI (hf://, kaggle://, gs://) nor a known name."
                   f"{hint} {HOW_TO_LIST}")


def uri(source):
  """Where the weights of a source are: the URI of a known name, else the source itself."""
  preset = resolve(source)
  return preset.uri if preset else located(source)


def located(source):
  """"W@best", the best checkpoint of a work folder, as the path W/best; big_vision's
  "W/checkpoint.bv" as its newest step; others unchanged.

  Raises FileNotFoundError for a folder on this machine that has none.
  """
  file, part = split_part(os.fspath(source))
  source = bv.located(file) + f":{part}" * bool(part)
  folder = source.removesuffix(BEST)
  if folder == source or source.startswith(("hf://", "kaggle://")):  # there @ names a revision
    return source
  if "://" not in source and epath.Path(source).expanduser().exists():
    return source
  if "://" not in source and epath.Path(folder).expanduser().is_dir() and not (
      epath.Path(folder).expanduser() / "best").is_dir():
    raise FileNotFoundError(f"{folder} has no best checkpoint: its training had no config.best. "
                            f"{folder} itself opens the newest one.")
  return f"{folder}/best"


def _hugging_face(source):
  """Of a PaliGemma there are also NAME-jax (big_vision's .npz) and NAME-keras."""
  found = re.fullmatch(r"(?:hf://)?([\w.-]+/[\w.-]+?)(-jax|-keras)?([@/].*)?", source)
  if not found:
    return None
  name, format, rest = found.groups(default="")
  uri = f"hf://{name}{format}{rest}"
  if name in PRESETS and (not format or "paligemma" in name):
    return dataclasses.replace(PRESETS[name], uri=uri)
  if paligemma_presets.FINE_TUNED.fullmatch(name):
    return _preset(name, "PaliGemma 3B", uri)
  return None


def _kaggle(source):
  preset = _KAGGLE.get("/".join(source.split("/")[:6]))  # kaggle:, "", owner, ..., variation
  return preset and dataclasses.replace(preset, uri=source)


def _npz(source):
  found = paligemma_presets.NPZ_NAME.fullmatch(source)
  preset = found and found[4] and PRESETS.get(source.rpartition(".")[0])
  return preset and dataclasses.replace(preset, name=source, uri=f"npz://{source}")


def near_miss(name):
  """" Did you mean 'x'?" if a known name is like `name`, whatever the order of its words; or ""."""
  spellings = (lambda s: " ".join(sorted(re.split(r"[-_ ]+", s))),
               lambda s: re.sub(r"[-_. ]+", "", s))

  def likeness(known):
    a, b = (s.lower().rpartition("/")[2] for s in (known, name))
    return sum(difflib.SequenceMatcher(a=spell(a), b=spell(b)).ratio() for spell in spellings) / 2

  best = max(PRESETS, key=likeness)
  return f" Did you mean {best!r}?" if likeness(best) > 0.55 else ""


def parameters(config):
  """How many numbers a model of these dicts holds; no array is made."""
  return count(paligemma.config(**config))


@functools.cache
def count(config):
  """How many numbers the model of a PaliGemmaConfig holds."""
  return sum(math.prod(leaf.shape) for leaf in paligemma.param_shapes(config).values())


def describe(config):
  """A PaliGemmaConfig in words: "PaliGemma 2 3B at 448", "Gemma 2 9B", "SigLIP B/16 at 224", "image
  tower of SigLIP B/16 at 224".

  Sizes of no release are spelled out: "Gemma of width 32, depth 2".
  """
  rows, families = paligemma.to_dict(config), {}
  for part, row in rows.items():
    family = families[part] = row and exchange.module(getattr(config, part), "presets")
    rows[part] = row and (None if family.SIZES & set(row) else row["variant"])
  names = {variants: model for model, variants in MODELS.items()}
  where = f" at {config.img.image_size}" if config.img else ""
  if config.img and config.txt:
    return siglip_presets.describe_pair(config, rows["img"] or f"of {_dimensions(config.img)},")
  if config.txt:
    return f"{families['txt'].family_name(config.txt)} of {_dimensions(config.txt)}"
  if (rows["img"], rows["llm"]) in names and bool(rows["img"]) == bool(config.img):
    return names[rows["img"], rows["llm"]] + where
  if config.llm is None:
    return f"{families['img'].family_name(config.img)} of {_dimensions(config.img)},{where}"
  family, decoder = families["llm"].family_name(config.llm), names.get((None, rows["llm"]))
  if config.img is None:
    return decoder or f"{family} of {_dimensions(config.llm)}"
  if decoder and rows["img"] != "So400m/14":
    decoder += f" and a tower of {_dimensions(config.img)}"
  decoder = decoder or f"{family} decoder of {_dimensions(config.llm)}"
  return f"PaliGemma with {decoder},{where}"


def _dimensions(config):
  return f"width {config.width}, depth {config.depth}"


def names(match: str = "") -> list[str]:
  """[str]: the names that have `match` in them, such as "ft-okvqa"; all by default."""
  return [name for name in PRESETS if match in name]


def main(argv=None):
  """Prints the table."""
  parser = cli.Parser(__doc__)
  parser.add_argument("match", nargs="?", default="", help="only names with this in them: ft-okvqa")
  match = parser.parse_args(argv).match
  if not names(match):
    raise ValueError(f"No model has {match!r} in its name.{near_miss(match)} {HOW_TO_LIST}")
  rows = [("NAME", "PARAMETERS", "IMAGE", "TEXT", "MODEL", "WEIGHTS")]
  for p in map(PRESETS.get, names(match)):
    model = describe(paligemma.config(**p.config)).partition(" at ")[0]
    img = p.config["img"] or {"image_size": "-"}
    size = "any" if img.get("naflex") else img["image_size"]
    rows.append((p.name, f"{parameters(p.config):,}", size, p.text_len or "-", model, p.uri))
  widths = [max(len(str(cell)) for cell in column) for column in zip(*rows)]
  for row in rows:
    cells = [str(cell).rjust(w) if i in (1, 2, 3) else str(cell).ljust(w)
             for i, (cell, w) in enumerate(zip(row, widths))]
    print("  ".join(cells).rstrip())
  print("\nAlso a paligemma id with -jax or -keras at its end, hf://ID@REVISION, and .f32, .f16\n"
        "or .bf16 after pt_... and mix_..., which are .npz files in $BIG_VLM_CHECKPOINTS.\n"
        "IMAGE is in pixels, any: NaFlex; TEXT in tokens.")


if __name__ == "__main__":
  cli.run(main)
