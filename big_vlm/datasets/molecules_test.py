"""MolScribe's files: a config for each archive, a split for each CSV file."""
import io

import pytest
from PIL import Image


def test_evaluation_sets_keep_what_has_no_smiles(release, picture):
  splits = release("molecules/synthetic", {
      "synthetic/indigo.csv": "image_id,SMILES,file_path\nUS0,CCO,synthetic/indigo/US0.png\n"
                              "US1,,synthetic/indigo/US1.png\n",
      "synthetic/chemdraw.csv": "image_id,SMILES,file_path\nUS0,CCO,synthetic/chemdraw/US0.png\n",
      "synthetic/indigo/US0.png": picture(1, "PNG"), "synthetic/indigo/US1.png": picture(2, "PNG"),
      "synthetic/chemdraw/US0.png": picture(3, "PNG")})
  assert {e["image/id"]: e["smiles"] for e in splits["indigo"]} == {"US0": "CCO", "US1": ""}
  assert splits["chemdraw"][0]["image"] == picture(3, "PNG")


def test_patents_are_tiff(release, picture):
  csv = ('file_path,SMILES,node_coords\nuspto_mol/2001/US1.TIF,"[R1]C",'
         '"[[0, 1], [2, 3]]"\nuspto_mol/2001/US2.TIF,,"[]"\n')
  [example] = release("molecules/uspto_mol", {
      "uspto_mol/train_680k.csv": csv, "uspto_mol/2001/US1.TIF": picture(1, "TIFF")})["train"]
  assert (example["image/id"], example["smiles"]) == ("US1", "[R1]C")
  with Image.open(io.BytesIO(example["image"])) as image, Image.open(
      io.BytesIO(picture(1, "PNG"))) as want:
    assert image.format == "PNG" and image.tobytes() == want.tobytes()


def test_pubchem_has_the_images_that_were_drawn(release, picture):
  files = {"pubchem/train_1m.csv": "pubchem_cid,SMILES\n2244,CC(=O)OC1=CC=CC=C1C(O)=O\n"}
  with pytest.raises(FileNotFoundError, match="pubchem/images/2244.png, which is not there"):
    release("molecules/pubchem", files)
  [example] = release("molecules/pubchem", files | {
      "pubchem/images/2244.png": picture(4, "PNG")})["train"]
  assert example["image"] == picture(4, "PNG") and example["smiles"].startswith("CC(=O)O")
