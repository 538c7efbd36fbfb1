"""Molecules as SMILES: the same string, the same molecule, the same graph."""
import importlib.util
import re

from evaluators.metrics import groups, ids, text

# The tokens of a SMILES string; any other character is dropped before reading, as in MolScribe.
_TOKEN = re.compile(r"\[[^\]]+\]|Br|Cl|%[0-9]{2}|[BCNOSPFIbcnosp0-9().=#\-+\\/:~@?>*$]")


def smiles_exact_match(prediction, target):
  """1.0 if the two strings are equal, else 0.0; an empty target is met by nothing.

  One molecule has many strings: this is a lower bound of `smiles_canonical_match`, and fair only
  where the model learned targets written by the same program.

  Raises:
    TypeError: where either is not a string.
  """
  return text.exact_match(prediction, target) if target != "" else 0.0


def smiles_canonical_match(prediction, target, *, chirality=True, cis_trans=True):
  """1.0 if both have the same canonical SMILES, else 0.0; an empty target is met by nothing.

  Arguments as in `canonical`; both sides go through the RDKit that is installed, as canonical forms
  change between its versions.

  Raises:
    TypeError: where either is not a string.
    ModuleNotFoundError: where RDKit is not installed.
  """
  text.exact_match(prediction, target)  # for its errors
  answer, reference = (canonical(s, chirality=chirality, cis_trans=cis_trans)
                       for s in (prediction, target))
  return float(answer == reference != "")


def canonical(smiles, *, chirality=True, cis_trans=True):
  """The canonical SMILES by RDKit, or, where it cannot read the string, the string.

  Before that, as in MolScribe (thomas0809/MolScribe, molscribe/evaluate.py): characters that SMILES
  does not know are dropped, and nothing may remain; "[R1]" becomes "[1*]" and any other bracket
  that is not an atom ("[Ph]") becomes "*".

  Args:
    smiles: str.
    chirality: False takes all stereochemistry out of the result.
    cis_trans: False takes / and \\ out first: double bonds have no sides.

  Raises:
    ModuleNotFoundError: where RDKit is not installed.
  """
  Chem, rdBase = _rdkit()
  if not cis_trans:
    smiles = smiles.replace("/", "").replace("\\", "")
  with rdBase.BlockLogs():  # a model's wrong strings would fill the screen
    smiles = "".join(_group(token, Chem) for token in _TOKEN.findall(smiles))
    molecule = Chem.MolFromSmiles(smiles)
    return smiles if molecule is None else Chem.MolToSmiles(molecule, isomericSmiles=chirality)


def smiles(predictions, targets):
  """Fractions of molecules, 0..1:

    exact_match       by `smiles_exact_match`
  and, only where RDKit is installed, by `smiles_canonical_match`:
    canonical_match   with all stereochemistry (MolScribe's canon_smiles_em)
    no_cis_trans_match  without the sides of double bonds: MolScribe's main metric, canon_smiles
    graph_match       without stereochemistry (MolScribe's graph)

  PaliGemma 2 reports an exact match in per cent and does not say which of these.

  Args:
    predictions, targets: lists of str, as long as each other.

  Raises:
    ValueError: where they are empty or differ in length.
    TypeError: where one holds something else than strings.
  """
  rows = ids.rows(predictions=predictions, targets=targets)
  metrics = {"exact_match": groups.mean(smiles_exact_match(*row) for row in rows)}
  if importlib.util.find_spec("rdkit"):
    for name, kw in (("canonical_match", {}), ("no_cis_trans_match", {"cis_trans": False}),
                     ("graph_match", {"chirality": False})):
      metrics[name] = groups.mean(smiles_canonical_match(*row, **kw) for row in rows)
  return metrics


def _group(token, Chem):
  """A token as RDKit can read it: a bracket that is not an atom is a group of unknown atoms."""
  if token[0] != "[":
    return token
  if found := re.fullmatch(r"\[R(\d+)\]", token):
    return f"[{found[1]}*]"
  return token if Chem.AtomFromSmiles(token) is not None else "*"


def _rdkit():
  try:
    from rdkit import Chem, rdBase
  except ImportError as error:
    raise ModuleNotFoundError(
        "Canonical SMILES need RDKit, which is not installed: `pip install rdkit`. Without it, "
        "smiles_exact_match compares the strings as they are.") from error
  return Chem, rdBase
