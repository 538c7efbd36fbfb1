"""From the name of a model to its config, text length and the place of its weights.

  big_vlm.from_preset("pali_gemma2_mix_3b_224")              KerasHub's names; from Kaggle
  big_vlm.from_preset("google/paligemma2-3b-mix-224")        Hugging Face ids; "hf://ID@REVISION"
  big_vlm.from_preset("pt_3b_224")                           big_vision's names of .npz files, which
                                                             are in $BIG_VLM_CHECKPOINTS

`python -m big_vlm.presets` lists all of them. A name alone builds the model, offline; nothing is
fetched here (checkpoints/handles.py does that).
"""
import dataclasses
import difflib
import functools
import math
import os
import re

from etils import epath

from big_vlm.families import gemma, paligemma

MODELS = {  # (variant of the tower, variant of the decoder)
    "PaliGemma 3B": ("So400m/14", "gemma_2b"),
    "PaliGemma 2 3B": ("So400m/14", "gemma2_2b"),
    "PaliGemma 2 10B": ("So400m/14", "gemma2_9b"),
    "PaliGemma 2 28B": ("So400m/14", "gemma2_27b"),
    "Gemma 2B": (None, "gemma_2b"),
    "Gemma 7B": (None, "gemma_7b"),
    "Gemma 2 2B": (None, "gemma2_2b"),
    "Gemma 2 9B": (None, "gemma2_9b"),
    "Gemma 2 27B": (None, "gemma2_27b"),
    "VaultGemma 1B": (None, "vault_gemma_1b"),
    "OPT 125m": (None, "opt_125m"),
    "OPT 1.3b": (None, "opt_1.3b"),
    "OPT 2.7b": (None, "opt_2.7b"),
    "OPT 6.7b": (None, "opt_6.7b"),
    "SigLIP B/16": ("B/16", None),
    "SigLIP L/16": ("L/16", None),
    "SigLIP So400m/14": ("So400m/14", None),
}

# Kaggle model, architecture, names. A name is the model's variation on Kaggle (NAME=VARIATION where
# they differ) with its version; the image size of a PaliGemma is the number at its end.
KERASHUB = [
    ("keras/paligemma", "PaliGemma 3B",
     "pali_gemma_3b_mix_224/4 pali_gemma_3b_mix_448/4 "
     "pali_gemma_3b_224/4 pali_gemma_3b_448/4 pali_gemma_3b_896/4"),
    ("keras/paligemma2", "PaliGemma 2 3B",
     "pali_gemma2_mix_3b_224/2 pali_gemma2_mix_3b_448/2 pali_gemma_2_ft_docci_3b_448/2 "
     "pali_gemma2_pt_3b_224/2 pali_gemma2_pt_3b_448/2 pali_gemma2_pt_3b_896/2"),
    ("keras/paligemma2", "PaliGemma 2 10B",
     "pali_gemma2_mix_10b_224/3 pali_gemma2_mix_10b_448/3 pali_gemma2_ft_docci_10b_448/3 "
     "pali_gemma2_pt_10b_224/3 pali_gemma2_pt_10b_448/3 pali_gemma2_pt_10b_896/3"),
    ("keras/paligemma2", "PaliGemma 2 28B",
     "pali_gemma2_mix_28b_224=pali_gemma2_28b_mix_224/3 "
     "pali_gemma2_mix_28b_448=pali_gemma2_28b_mix_448/3 "
     "pali_gemma2_pt_28b_224/4 pali_gemma2_pt_28b_448/3 pali_gemma2_pt_28b_896/3"),
    ("keras/gemma", "Gemma 2B", "gemma_2b_en/3 gemma_instruct_2b_en/3 gemma_1.1_instruct_2b_en/4"),
    ("keras/codegemma", "Gemma 2B", "code_gemma_2b_en/2 code_gemma_1.1_2b_en/2"),
    ("keras/gemma", "Gemma 7B", "gemma_7b_en/4 gemma_instruct_7b_en/4 gemma_1.1_instruct_7b_en/5"),
    ("keras/codegemma", "Gemma 7B",
     "code_gemma_7b_en/3 code_gemma_instruct_7b_en/3 code_gemma_1.1_instruct_7b_en/3"),
    ("keras/gemma2", "Gemma 2 2B", "gemma2_2b_en/2 gemma2_instruct_2b_en/2"),
    ("keras/gemma2", "Gemma 2 9B", "gemma2_9b_en/4 gemma2_instruct_9b_en/4"),
    ("keras/gemma2", "Gemma 2 27B", "gemma2_27b_en/3 gemma2_instruct_27b_en/3"),
    ("google/shieldgemma", "Gemma 2 2B", "shieldgemma_2b_en/2"),
    ("google/shieldgemma", "Gemma 2 9B", "shieldgemma_9b_en/2"),
    ("google/shieldgemma", "Gemma 2 27B", "shieldgemma_27b_en/2"),
    ("keras/cell2sentence", "Gemma 2 2B", "c2s_scale_gemma_2_2b_en/1"),
    ("keras/cell2sentence", "Gemma 2 27B", "c2s_scale_gemma_2_27b_en/1"),
    ("keras/vaultgemma", "VaultGemma 1B", "vault_gemma_1b_en/2"),
    ("keras/opt", "OPT 125m", "opt_125m_en/3"),
    ("keras/opt", "OPT 1.3b", "opt_1.3b_en/3"),
    ("keras/opt", "OPT 2.7b", "opt_2.7b_en/3"),
    ("keras/opt", "OPT 6.7b", "opt_6.7b_en/3"),
]

# Owner, architecture, repositories; the image size of a PaliGemma or SigLIP is the number at the
# end. Of a PaliGemma there are also NAME-jax (big_vision's .npz) and NAME-keras.
HUGGING_FACE = [
    ("google", "PaliGemma 3B",
     "paligemma-3b-mix-224 paligemma-3b-mix-448 "
     "paligemma-3b-pt-224 paligemma-3b-pt-448 paligemma-3b-pt-896"),
    ("google", "PaliGemma 2 3B",
     "paligemma2-3b-mix-224 paligemma2-3b-mix-448 paligemma2-3b-ft-docci-448 "
     "paligemma2-3b-pt-224 paligemma2-3b-pt-448 paligemma2-3b-pt-896"),
    ("google", "PaliGemma 2 10B",
     "paligemma2-10b-mix-224 paligemma2-10b-mix-448 paligemma2-10b-ft-docci-448 "
     "paligemma2-10b-pt-224 paligemma2-10b-pt-448 paligemma2-10b-pt-896"),
    ("google", "PaliGemma 2 28B",
     "paligemma2-28b-mix-224 paligemma2-28b-mix-448 "
     "paligemma2-28b-pt-224 paligemma2-28b-pt-448 paligemma2-28b-pt-896"),
    ("google", "Gemma 2B", "gemma-2b gemma-2b-it gemma-1.1-2b-it codegemma-2b codegemma-1.1-2b"),
    ("google", "Gemma 7B",
     "gemma-7b gemma-7b-it gemma-1.1-7b-it codegemma-7b codegemma-7b-it codegemma-1.1-7b-it"),
    ("google", "Gemma 2 2B", "gemma-2-2b gemma-2-2b-it shieldgemma-2b"),
    ("google", "Gemma 2 9B", "gemma-2-9b gemma-2-9b-it shieldgemma-9b"),
    ("google", "Gemma 2 27B", "gemma-2-27b gemma-2-27b-it shieldgemma-27b"),
    ("google", "VaultGemma 1B", "vaultgemma-1b"),
    ("facebook", "OPT 125m", "opt-125m"),
    ("facebook", "OPT 1.3b", "opt-1.3b"),
    ("facebook", "OPT 2.7b", "opt-2.7b"),
    ("facebook", "OPT 6.7b", "opt-6.7b"),
    ("google", "SigLIP B/16",
     "siglip-base-patch16-224 siglip-base-patch16-256 siglip-base-patch16-384 "
     "siglip-base-patch16-512"),
    ("google", "SigLIP L/16", "siglip-large-patch16-256 siglip-large-patch16-384"),
    ("google", "SigLIP So400m/14", "siglip-so400m-patch14-224 siglip-so400m-patch14-384"),
]

# The single-task transfers of PaliGemma, 55 of them: ("google/paligemma-3b-ft-chartqa-448", ...).
FINE_TUNED = re.compile(r"google/paligemma-3b-ft-[a-z0-9-]+-(224|448|896)")
NPZ_NAME = re.compile(r"(pt|mix)_(?:(3b|10b|28b)_)?(224|448|896)(?:\.(f32|f16|bf16))?")
NPZ_ENDS = {"f32": (".npz", ".f32.npz"), "bf16": (".bf16.npz", ".b16.npz"), "f16": (".f16.npz",)}
HOW_TO_LIST = "`python -m big_vlm.presets` lists all names."


@dataclasses.dataclass(frozen=True)
class Preset:
  """A released model by name."""
  name: str
  config: dict  # for paligemma.config: {"img": {"variant", **changes}, "llm": ...}, either or None
  text_len: int | None  # tokens: of pretraining (PaliGemma), 1024 (text only), None (SigLIP)
  handle: str  # for checkpoints.handles.fetch: "kaggle://...", "hf://..." or "npz://NAME"


def _preset(name, model, handle):
  tower, decoder = MODELS[model]
  size = tower and int(re.search(r"\d+$", name).group())
  img = {"variant": tower, "image_size": size} if tower else None
  llm = {"variant": decoder} if decoder else None
  text_len = 1024 if decoder else None  # KerasHub's length; Gemma could take 8192
  if decoder is None:
    img["pool"] = "map"
  elif tower:
    llm["vocab_size"] = 257_152  # Gemma's 256,000, then 1024 <loc> and 128 <seg>
    if model.startswith("PaliGemma 2"):
      llm["window"] = None  # as it was trained; Gemma 2's text models have one
    text_len = 512 if size > 224 else 256 if "mix" in name else 128
  return Preset(name, {"img": img, "llm": llm}, text_len, handle)


def _table():
  table = {}
  for place, model, names in KERASHUB:
    for entry in names.split():
      name, _, variation = entry.partition("=")
      handle = f"kaggle://{place}/keras/{variation or name}"
      name = name.partition("/")[0]
      table[name] = _preset(name, model, handle)
  for owner, model, names in HUGGING_FACE:
    for name in names.split():
      name = f"{owner}/{name}"
      table[name] = _preset(name, model, f"hf://{name}")
  for size, model in [(None, "PaliGemma 3B"), *((s, f"PaliGemma 2 {s.upper()}")
                                                for s in ("3b", "10b", "28b"))]:
    for kind, side in [("pt", 224), ("pt", 448), ("pt", 896), ("mix", 224), ("mix", 448)]:
      name = "_".join(filter(None, [kind, size, str(side)]))
      table[name] = _preset(name, model, f"npz://{name}")
  return table


PRESETS = _table()
_KAGGLE = {p.handle.rpartition("/")[0]: p for p in PRESETS.values() if "kaggle://" in p.handle}


def resolve(source):
  """The Preset of a known name; None for an existing path and for a handle of something else.

  source: a path, a handle such as "hf://org/name", or a name (see the top of this file). A path
  that exists comes before a name of the same spelling. A known model keeps the revision, version
  or file that its handle asks for.

  Raises:
    ValueError: none of these; the message has the nearest name.
  """
  source = os.fspath(source)
  if "://" not in source and _exists(source):
    return None
  preset = PRESETS.get(source) or _hugging_face(source) or _kaggle(source) or _npz(source)
  if preset or "://" in source:
    return preset
  hint = near_miss(source)
  if not hint and re.fullmatch(r"[\w.-]+/[\w.-]+", source):
    hint = f" For a repository on Hugging Face write 'hf://{source}'."
  raise ValueError(f"Unknown model {source!r}: no file or folder, no handle (hf://, kaggle://, "
                   f"gs://) and no known name.{hint} {HOW_TO_LIST}")


def uri(source):
  """Where the weights of a source are: the handle of a known name, else the source itself."""
  preset = resolve(source)
  return preset.handle if preset else os.fspath(source)


def _exists(source):
  file = source.partition(".npz:")  # FILE.npz:sub/tree is a part of a file
  return epath.Path(file[0] + ".npz" if file[2] else source).expanduser().exists()


def _hugging_face(source):
  found = re.fullmatch(r"(?:hf://)?([\w.-]+/[\w.-]+?)(-jax|-keras)?([@/].*)?", source)
  if not found:
    return None
  name, fmt, rest = found.groups(default="")
  handle = f"hf://{name}{fmt}{rest}"
  if FINE_TUNED.fullmatch(name):
    return _preset(name, "PaliGemma 3B", handle)
  if name in PRESETS and (not fmt or "paligemma" in name):
    return dataclasses.replace(PRESETS[name], handle=handle)
  return None


def _kaggle(source):
  parts = source.split("/")
  preset = _KAGGLE.get("/".join(parts[:6]))  # kaggle:, "", owner, model, framework, variation
  return preset and dataclasses.replace(preset, handle=source)


def _npz(source):
  found = NPZ_NAME.fullmatch(source)
  preset = found and found[4] and PRESETS.get(source.rpartition(".")[0])
  return preset and dataclasses.replace(preset, name=source, handle=f"npz://{source}")


def npz_files(name):
  """File names under which a model of big_vision's may lie, the likeliest first.

  "pt_3b_224" and "pt_3b_224.bf16" -> big_vision's own pt_3b_224.bf16.npz, and
  paligemma2-3b-pt-224.b16.npz as on Kaggle; without a dtype float32 comes first.
  """
  kind, size, side, dtype = NPZ_NAME.fullmatch(name).groups()
  stems = [name.partition(".")[0],
           f"paligemma2-{size}-{kind}-{side}" if size else f"paligemma-3b-{kind}-{side}"]
  return [stem + end for key, ends in NPZ_ENDS.items() if dtype in (None, key)
          for end in ends for stem in stems]


def near_miss(name):
  """" Did you mean 'x'?" if a known name is like `name`, whatever the order of its words; or ""."""
  def likeness(known):
    return sum(difflib.SequenceMatcher(a=spell(known), b=spell(name)).ratio()
               for spell in (_sorted_words, _letters)) / 2

  best = max(PRESETS, key=likeness)
  return f" Did you mean {best!r}?" if likeness(best) > 0.55 else ""


def _sorted_words(name):
  return " ".join(sorted(re.split(r"[-_ ]+", name.lower().rpartition("/")[2])))


def _letters(name):
  return re.sub(r"[-_. ]+", "", name.lower().rpartition("/")[2])


def parameters(config):
  """How many numbers a model of these dicts holds; no array is made."""
  return _count(paligemma.config(**config))


@functools.cache
def _count(config):
  return sum(math.prod(leaf.shape) for leaf in paligemma.param_shapes(config).values())


_SIZES = {"width", "depth", "mlp", "heads", "kv_heads", "head_dim", "post_norms", "patch"}


def describe(config):
  """A PaliGemmaConfig in words: "PaliGemma 2 3B at 448", "Gemma 2 9B", "SigLIP B/16 at 224".

  Sizes of no release are spelled out: "Gemma of width 32, depth 2".
  """
  rows = {k: v and (None if _SIZES & set(v) else v["variant"])
          for k, v in paligemma.to_dict(config).items()}
  where = f" at {config.img.image_size}" if config.img else ""
  known = {pair: name for name, pair in MODELS.items()}
  if (rows["img"], rows["llm"]) in known and bool(rows["img"]) == bool(config.img):
    return known[rows["img"], rows["llm"]] + where
  if config.llm is None:
    return f"SigLIP of {_dimensions(config.img)},{where}"
  family = "OPT"
  if isinstance(config.llm, gemma.GemmaConfig):
    family = "Gemma 2" if config.llm.post_norms else "Gemma"
  decoder = known.get((None, rows["llm"]))
  if config.img is None:
    return decoder or f"{family} of {_dimensions(config.llm)}"
  if decoder and rows["img"] != "So400m/14":
    decoder += f" and a tower of {_dimensions(config.img)}"
  decoder = decoder or f"{family} decoder of {_dimensions(config.llm)}"
  return f"PaliGemma with {decoder},{where}"


def _dimensions(config):
  return f"width {config.width}, depth {config.depth}"


def main():
  """Prints the table."""
  rows = [("NAME", "PARAMETERS", "IMAGE", "TEXT", "MODEL", "WEIGHTS")]
  for p in PRESETS.values():
    model = describe(paligemma.config(**p.config)).partition(" at ")[0]
    size = p.config["img"]["image_size"] if p.config["img"] else "-"
    rows.append((p.name, f"{parameters(p.config):,}", size, p.text_len or "-", model, p.handle))
  widths = [max(len(str(cell)) for cell in column) for column in zip(*rows)]
  for row in rows:
    cells = [str(cell).rjust(w) if i in (1, 2, 3) else str(cell).ljust(w)
             for i, (cell, w) in enumerate(zip(row, widths))]
    print("  ".join(cells).rstrip())
  print("\nAlso google/paligemma-3b-ft-TASK-SIZE, a paligemma id with -jax or -keras at its end,\n"
        "hf://ID@REVISION, and .f32, .f16 or .bf16 after pt_... and mix_..., which are .npz files\n"
        "in the folder $BIG_VLM_CHECKPOINTS. IMAGE is in pixels, TEXT in tokens.")


if __name__ == "__main__":
  main()
