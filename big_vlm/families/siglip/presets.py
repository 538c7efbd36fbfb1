"""The released models of SigLIP and SigLIP 2, by big_vision's, Hugging Face's and KerasHub's names.

A row of RELEASED is (model, side in pixels, big_vision's file, version on Kaggle). Hugging Face's
name follows from the model, and KerasHub's from that. None: not there.
"""
import re

from big_vlm.families.siglip.text.variants import SIGLIP2_VOCAB, pad_token

SIZES = {"width", "depth", "mlp", "heads", "patch"}  # the fields that a model is told by
# {the end of a model's name: (words on Hugging Face, variant of the text tower)}
TOWERS = {
    "B/32": ("base-patch32", "text_B"), "B/16": ("base-patch16", "text_B"),
    "L/16": ("large-patch16", "text_L"), "So400m/14": ("so400m-patch14", "text_So400m"),
    "So400m/16": ("so400m-patch16", "text_So400m"),
    "g-opt/16": ("giant-opt-patch16", "text_So400m")}
KAGGLE, HUGGING_FACE = [], []  # two towers are in RELEASED
MODELS = {f"image tower of SigLIP {name}": name for name in TOWERS}
I18N_VOCAB = 250_000
NAFLEX = 256  # pixels that the table of a NaFlex tower would stand for: 16 x 16 patches of 16
RELEASED = [
    ("SigLIP B/16", 224, "webli_en_b16_224_63724782", 1),
    ("SigLIP B/16", 256, "webli_en_b16_256_60500360", 1),
    ("SigLIP B/16", 384, "webli_en_b16_384_68578854", 1),
    ("SigLIP B/16", 512, "webli_en_b16_512_68580893", 1),
    ("SigLIP L/16", 256, "webli_en_l16_256_60552751", 1),
    ("SigLIP L/16", 384, "webli_en_l16_384_63634585", 1),
    ("SigLIP So400m/14", 224, "webli_en_so400m_224_57633886", 1),
    ("SigLIP So400m/14", 384, "webli_en_so400m_384_58765454", 1),
    ("SigLIP B/16 multilingual", 256, "webli_i18n_b16_256_66117334", 1),
    ("SigLIP So400m/16 i18n", 256, "webli_i18n_so400m_16_256_78061115", 1),
    ("SigLIP 2 B/32", 256, "siglip2_b32_256", 1),
    ("SigLIP 2 B/16", 224, "siglip2_b16_224", 1),
    ("SigLIP 2 B/16", 256, "siglip2_b16_256", 1),
    ("SigLIP 2 B/16", 384, "siglip2_b16_384", 1),
    ("SigLIP 2 B/16", 512, "siglip2_b16_512", None),
    ("SigLIP 2 L/16", 256, "siglip2_l16_256", 1),
    ("SigLIP 2 L/16", 384, "siglip2_l16_384", 1),
    ("SigLIP 2 L/16", 512, "siglip2_l16_512", 1),
    ("SigLIP 2 So400m/14", 224, "siglip2_so400m14_224", 1),
    ("SigLIP 2 So400m/14", 384, "siglip2_so400m14_384", 1),
    ("SigLIP 2 So400m/16", 256, "siglip2_so400m16_256", 1),
    ("SigLIP 2 So400m/16", 384, "siglip2_so400m16_384", 1),
    ("SigLIP 2 So400m/16", 512, "siglip2_so400m16_512", 1),
    ("SigLIP 2 g-opt/16", 256, "siglip2_g-opt16_256", 2),
    ("SigLIP 2 g-opt/16", 384, "siglip2_g-opt16_384", 1),
    ("SigLIP 2 B/16 NaFlex", NAFLEX, "siglip2_b16_naflex", None),
    ("SigLIP 2 So400m/16 NaFlex", NAFLEX, "siglip2_so400m16_naflex", None),
]
MEDSIGLIP = ("MedSigLIP So400m/14", 448, {
    "google/medsiglip-448": "hf://google/medsiglip-448",
    "medsiglip_900m_448": "kaggle://keras/medsiglip/keras/medsiglip_900m_448/1"})


def released():
  """[(name, URI, config dict)] of every name of every released model."""
  found = []
  for model, side, npz, version in RELEASED:
    tower, more = re.fullmatch(r"SigLIP (?:2 )?(\S+)(?: (\w+))?", model).groups()
    generation = "siglip2" if model.startswith("SigLIP 2") else "siglip"
    size = "naflex" if more == "NaFlex" else f"{side}-{more}" if more else side
    names = {npz: f"gs://big_vision/{generation}/{npz}.npz",
             f"google/{generation}-{TOWERS[tower][0]}-{size}": None}
    hub = list(names)[1]
    names[hub] = f"hf://{hub}"
    if version:
      keras = hub.removeprefix("google/").replace("-", "_")
      names[keras] = f"kaggle://keras/siglip/keras/{keras}/{version}"
    # The file of So400m/16 i18n has no text head; the classes of the other two always have one.
    found += [(name, uri, config(model, side, head=more != "i18n" or "gs://" not in uri))
              for name, uri in names.items()]
  model, side, names = MEDSIGLIP
  return found + [(name, uri, config(model, side)) for name, uri in names.items()]


def config(model, side, head=True):
  """The dict {"img", "llm", "txt"} of a model of RELEASED or MEDSIGLIP."""
  tower = model.split()[2 if model.startswith("SigLIP 2") else 1]
  variant = TOWERS[tower][1]
  vocab = (SIGLIP2_VOCAB if model.startswith("SigLIP 2") else
           I18N_VOCAB if model.endswith(("i18n", "multilingual")) else 32_000)
  img = {"variant": tower, "image_size": side, "pool": "map"}
  txt = {"variant": variant, "vocab_size": vocab, "pad_token": pad_token(vocab)}
  if model.endswith("NaFlex"):
    img["naflex"] = True
  if tower == "g-opt/16":
    txt["out_width"] = 1536
  if not head:
    txt["out_width"] = None
  if (model, side) == ("SigLIP So400m/14", 224):
    txt["length"] = 16
  return {"img": img, "llm": None, "txt": txt}


def family_name(config):
  return "SigLIP"


def describe_pair(config, tower):
  """"SigLIP 2 So400m/14 at 384" of a PaliGemmaConfig with two towers; tower: the image tower's row
  of TOWERS, or its sizes in words."""
  two = " 2" * (config.txt.vocab_size == SIGLIP2_VOCAB)
  more = " NaFlex" * config.img.naflex + " i18n" * (config.txt.vocab_size == I18N_VOCAB)
  where = "" if config.img.naflex else f" at {config.img.image_size}"
  return f"SigLIP{two} {tower}{more}{where}"
