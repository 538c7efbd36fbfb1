"""molecules: MolScribe's data, pictures of molecules and their SMILES.

Qian et al., 2023, https://github.com/thomas0809/MolScribe#data: uspto_mol.zip and pubchem.zip to
train on, synthetic.zip and real.zip to evaluate on, each unzipped. A config reads one of them:

  uspto_mol/train_680k.csv                    drawings from patents; the CSV names the images
  pubchem/train_1m.csv                        without images: draw them, with Indigo or RDKit, into
    pubchem/images/2244.png                   files named by the column pubchem_cid
  synthetic/indigo.csv   synthetic/chemdraw.csv
  real/CLEF.csv   real/UOB.csv   real/USPTO.csv   real/staker.csv   real/acs.csv

The column file_path is relative to the folder that holds these ("synthetic/chemdraw/US0.png").
TIFF files are converted to PNG. The training splits leave out molecules without SMILES. The
evaluation splits keep them with the SMILES "", since the official score counts them as misses.
"""
import csv
import io
import pathlib

from PIL import Image

from big_vlm.datasets import base

EVAL = {"synthetic": {"indigo": 5719, "chemdraw": 5719},
        "real": {"CLEF": 992, "UOB": 5740, "USPTO": 5719, "staker": 50000, "acs": 331}}
TRAIN = {"uspto_mol": "train_680k.csv", "pubchem": "train_1m.csv"}


class Molecules(base.Builder):
  BUILDER_CONFIGS = base.configs({n: f"{n}.zip of MolScribe." for n in (*TRAIN, *EVAL)})
  FEATURES = {"image": base.IMAGE, "image/id": base.TEXT, "smiles": base.TEXT}
  SPLITS = {**{config: ("train",) for config in TRAIN},
            **{config: tuple(counts) for config, counts in EVAL.items()}}
  COUNTS = {**{config: {} for config in TRAIN}, **EVAL}

  def records(self, raw, split):
    config = self.builder_config.name
    with raw.path(f"{config}/{TRAIN.get(config, f'{split}.csv')}").open(
        encoding="utf-8", newline="") as file:  # row by row: the columns of graphs are long
      for row in csv.DictReader(file):
        name = (f"pubchem/images/{row['pubchem_cid']}.png" if config == "pubchem" else
                row["file_path"])
        if row["SMILES"] or config in EVAL:
          yield name, {"name": name, "smiles": row["SMILES"],
                       "id": row.get("image_id") or pathlib.PurePath(name).stem}

  def example(self, raw, record):
    name = record["name"]
    image = _png(raw.bytes(name)) if name.lower().endswith((".tif", ".tiff")) else raw.image(name)
    return {"image": image, "image/id": record["id"], "smiles": record["smiles"]}


def _png(data):
  with Image.open(io.BytesIO(data), formats=base.FORMATS) as image:
    return base.png(image.convert("RGB"))
