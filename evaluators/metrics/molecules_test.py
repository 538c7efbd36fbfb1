"""SMILES: equality of strings, and, with RDKit, MolScribe's numbers; what is said without it."""
import importlib.util
import json
import pathlib
import sys

import pytest

from evaluators.metrics import molecules

GOLDEN = json.loads((pathlib.Path(__file__).parent / "golden/molecules.json").read_text())["cases"]
needs_rdkit = pytest.mark.skipif(not importlib.util.find_spec("rdkit"), reason="RDKit is optional")


@pytest.mark.parametrize("prediction, target, score", [
    ("CCO", "CCO", 1), ("OCC", "CCO", 0), ("CCO ", "CCO", 0), ("", "", 0), ("C", "", 0)])
def test_exact_match(prediction, target, score):
  assert molecules.smiles_exact_match(prediction, target) == score


def test_without_rdkit_it_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "rdkit", None)
  with pytest.raises(ModuleNotFoundError, match="pip install rdkit.*smiles_exact_match"):
    molecules.smiles_canonical_match("CCO", "OCC")


def test_without_rdkit_the_strings_are_compared(monkeypatch):
  monkeypatch.setattr(molecules.importlib.util, "find_spec", lambda name: None)
  assert molecules.smiles(["CCO", "OCC"], ["CCO", "CCO"]) == {"exact_match": 0.5}


def test_the_golden_pairs_have_all_kinds():
  assert len(GOLDEN) >= 200
  assert {tuple(case[2:]) for case in GOLDEN} >= {(0, 0, 0), (0, 1, 1), (0, 0, 1), (1, 1, 1)}


@needs_rdkit
def test_equals_molscribes_evaluation():
  for said, right, full, no_cis_trans, graph in GOLDEN:
    got = [molecules.smiles_canonical_match(said, right, **kw)
           for kw in ({}, {"cis_trans": False}, {"chirality": False})]
    assert got == [full, no_cis_trans, graph], (said, right)


@needs_rdkit
def test_all_figures():
  got = molecules.smiles(["OCC", "F/C=C/F", "CCO"], ["CCO", "FC=CF", "CCO"])
  assert got == pytest.approx({"exact_match": 1 / 3, "canonical_match": 2 / 3,
                               "no_cis_trans_match": 1, "graph_match": 1})


def test_bad_input():
  with pytest.raises(ValueError, match="2 predictions, 1 targets"):
    molecules.smiles(["C", "C"], ["C"])
  with pytest.raises(ValueError, match="the set is empty"):
    molecules.smiles([], [])
  for match in (molecules.smiles_exact_match, molecules.smiles_canonical_match):
    with pytest.raises(TypeError, match="prediction is None"):
      match(None, "C")
