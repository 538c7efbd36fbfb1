"""Writes molecules.json: what MolScribe's evaluation says of pairs of SMILES.

  python make_molecules.py REFERENCES     (needs rdkit 2026.9.1 and SmilesPE 0.0.3); a folder with
    molscribe_evaluate.py   thomas0809/MolScribe 7296a304 on GitHub, molscribe/evaluate.py

  {"rdkit": version, "cases": [[prediction, target, canon_smiles_em, canon_smiles, graph]]}

Its processes are replaced by a loop.
"""
import importlib.util
import itertools
import json
import pathlib
import random
import sys
from unittest import mock

FAMILIES = [  # spellings of one molecule, and neighbours of it
    ["CCO", "OCC", "C(C)O", "[CH3][CH2][OH]", "CCO ", "CC=O", "CCS", "ccO"],
    ["c1ccccc1", "C1=CC=CC=C1", "c1ccc(cc1)", "C1CCCCC1", "c1ccccn1", "c1ccccc", "[Ph]"],
    ["F/C=C/F", "F/C=C\\F", "FC=CF", "F\\C=C\\F", "C(F)=CF"],
    ["N[C@@H](C)C(=O)O", "C[C@H](N)C(O)=O", "N[C@H](C)C(=O)O", "NC(C)C(=O)O", "OC(=O)C(C)N"],
    ["[R1]CC", "CC[R1]", "[R2]CC", "[1*]CC", "*CC", "[R]CC", "[X]CC", "RCC", "[Ar]CC", "[R10]CC"],
    ["[Na+].[Cl-]", "[Cl-].[Na+]", "[Na]Cl", "NaCl", "[Na+]", "ClBr", "[NH4+]"],
    ["", "[]", "[", "C(", "C1CC", "not a molecule", "C%12CCCC%12", "C%1CC%1", "C\u2028C", "?",
     "**"],
    ["CC(=O)Oc1ccccc1C(=O)O", "O=C(C)Oc1ccccc1C(O)=O", "CC(=O)Oc1ccccc1C(=O)[O-]", "CN1C=NC2=C1"],
    ["[13CH4]", "C", "[CH4]", "[2H]C", "[CH3]", "B", "Br", "[Si](C)(C)C", "C[Si](C)C",
     "[nH]1cccc1"],
]


class Serial:
  """multiprocessing.Pool as a plain loop."""

  def __init__(self, workers):
    del workers

  def __enter__(self):
    return self

  def __exit__(self, *error):
    return False

  def starmap(self, function, rows, chunksize):
    del chunksize
    return list(itertools.starmap(function, rows))


def main(folder):
  spec = importlib.util.spec_from_file_location("molscribe", folder / "molscribe_evaluate.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  draw, pairs = random.Random(0), []
  for family in FAMILIES:
    pairs += itertools.product(family, family)
    pairs += [(draw.choice(draw.choice(FAMILIES)), target) for target in family]
  cases = []
  with mock.patch.object(module.multiprocessing, "Pool", Serial):
    for said, right in pairs:
      got = module.SmilesEvaluator([right]).evaluate([said])
      scores = [float(got[name]) for name in ("canon_smiles_em", "canon_smiles", "graph")]
      cases.append([said, right, *scores])
  lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
  (pathlib.Path(__file__).parent / "molecules.json").write_text(
      f'{{"rdkit":"{module.rdkit.__version__}","cases":[\n{lines}\n]}}\n')
  print(len(cases), "pairs; equal:", [sum(c[k] for c in cases) for k in (2, 3, 4)])


if __name__ == "__main__":
  main(pathlib.Path(sys.argv[1]))
