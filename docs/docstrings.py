"""How the book shows docstrings: the ops that are registered, and arguments as a list.

Docstrings here name an argument at the beginning of a line, "dtype: of activations", which Markdown
would run together.
"""
import re

import griffe


class Docstrings(griffe.Extension):

  def on_function(self, *, func, **kwargs):
    if func.docstring:
      names = "|".join(parameter.name.strip("*") for parameter in func.parameters)
      func.docstring.value = re.sub(rf"^((?:(?:{names})(?:, )?)+): ", r"\n- `\1`: ",
                                    func.docstring.value, flags=re.MULTILINE)

  def on_module_members(self, *, mod, **kwargs):
    if not mod.path.startswith("pp.ops_"):
      return
    for name, member in list(mod.members.items()):
      decorators = ([str(d.value) for d in member.decorators]
                    if not member.is_alias and member.is_function else [])
      if not any(d.startswith("OPS.register(") for d in decorators):
        mod.del_member(name)
      elif any(d.startswith("with_keys(") for d in decorators):
        member.docstring.value += "\n\nReads and writes `inkey=`, `outkey=` or `key=` as given."
