"""Names of the leaves of parameter trees, and rules over them: "llm/layers/attn/q_einsum/w"."""
import re

import jax
from flax import traverse_util


def names(tree):
  """The leaves' names in jax.tree.leaves order: keys, fields and indices joined by "/"."""
  return [jax.tree_util.keystr(path, simple=True, separator="/")
          for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def nested(leaves):
  """{"llm/final_norm/scale": x} -> {"llm": {"final_norm": {"scale": x}}}: names() undone."""
  return traverse_util.unflatten_dict(leaves, sep="/")


def map_with_names(f, tree, *rest):
  """jax.tree.map of f(name, leaf, ...)."""
  flat = iter(names(tree))
  return jax.tree.map(lambda *leaves: f(next(flat), *leaves), tree, *rest)


def assign(leaf_names, rules, what):
  """{name: value of the first (regex, value) rule that matches all of it}.

  Raises ValueError for a name that no rule covers, and for a rule that matches no name at all.
  """
  hits = {n: [i for i, (regex, _) in enumerate(rules) if re.fullmatch(regex, n)]
          for n in leaf_names}
  if bare := [n for n, h in hits.items() if not h]:
    raise ValueError(f"No {what} rule covers {len(bare)} of {len(hits)} parameters, e.g. "
                     f"{', '.join(bare[:3])}. End the rules with ('.*', ...).")
  used = {i for h in hits.values() for i in h}
  if idle := [regex for i, (regex, _) in enumerate(rules) if i not in used]:
    raise ValueError(f"The {what} rule {idle[0]!r} matches no parameter. Names look like "
                     f"{', '.join(leaf_names[:3])}; the regex must match all of the name.")
  return {n: rules[h[0]][1] for n, h in hits.items()}
