"""Molecules, MolScribe's data: the SMILES of a drawn molecule."""
from configs.transfers import common

SETTINGS = {res: dict(steps=30_000, lr=1e-4, label_smoothing=0.1) for res in (224, 448, 896)}
PUBLISHED = common.table("""
                             paligemma2_10b
                                        448
molecules/chemdraw/accuracy            94.8
""")


def get_config(arg=None):
  a = common.parse(arg, res=448, model="paligemma2_10b", text_len=256)
  c = common.transfer(a, SETTINGS, PUBLISHED, rates=None)
  # The report has no example of the prompt.
  prompt = f"decode|resize(antialias=True)|{common.prompt('molecule')}"
  answer = f"{prompt}|copy('smiles', 'suffix')"
  sizes = {"uspto_mol": 680, "pubchem": 1000}  # in thousands; a component weighs by its examples
  c.input.mixture = [common.component(a, f"molecules/{name}", "train", answer, weight=float(size))
                     for name, size in sizes.items()]
  for data, splits, fraction in (("synthetic", ("indigo", "chemdraw"), 0.1),
                                ("real", ("CLEF", "UOB", "USPTO", "staker", "acs"), None)):
    common.evaluate(c, a, "molecules", dict(zip(splits, splits)), "vqa",
                    f"{prompt}|copy('smiles', 'answer')", data=f"molecules/{data}", metric="smiles",
                    keep=("answer", "image/id"), prompt_len=16, fraction=fraction)
  common.perplexity(c, a, "molecules", {"chemdraw": "chemdraw"}, answer, data="molecules/synthetic")
  return c
