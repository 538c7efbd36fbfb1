"""Reads pickles of lists, tuples, dicts, strings, numbers, booleans and None, without unpickling.

Unpickling a file runs the functions that it names. This module lists the opcodes with
`pickletools`, which runs none, and follows those that build plain values. Any other opcode, such as
one that names a function or a class, is an error.
"""
import pickletools

VALUES = {"INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT",
          "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "BINUNICODE8",
          "SHORT_BINUNICODE"}
NEW = {"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
       "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def loads(data, name="This"):
  """Returns the value of a pickle.

  Args:
    data: bytes of any pickle protocol.
    name: of the file, for errors.

  Raises:
    ValueError: it holds another kind of value, or is not a complete pickle.
  """
  stack, outer, memo = [], [], {}  # outer: the stacks below each open mark
  try:
    for opcode, arg, at in pickletools.genops(data):
      name = opcode.name
      if name in VALUES:
        stack.append(arg)
      elif name in NEW:
        stack.append(NEW[name]())
      elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        memo[len(memo) if name == "MEMOIZE" else arg] = stack[-1]
      elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[arg])
      elif name == "MARK":
        outer.append(stack)
        stack = []
      elif name in ("LIST", "TUPLE", "DICT", "APPENDS", "SETITEMS"):
        items, stack = stack, outer.pop()
        _collect(name, items, stack)
      elif name in TUPLES:
        stack[-TUPLES[name]:] = [tuple(stack[-TUPLES[name]:])]
      elif name == "APPEND":
        _collect("APPENDS", [stack.pop()], stack)
      elif name == "SETITEM":
        value, key = stack.pop(), stack.pop()
        _collect("SETITEMS", [key, value], stack)
      elif name not in ("PROTO", "FRAME", "STOP"):
        raise ValueError(f"byte {at} is the opcode {name} ({arg!r}), which makes no plain value; "
                         "nothing of the file was run")
    value, = stack
    return value
  except (ValueError, IndexError, KeyError, TypeError, AttributeError) as e:
    raise ValueError(f"{name} is not a pickle of plain lists, dicts, texts and numbers: {e}. "
                     "Get it again from its publisher.") from e


def _collect(name, items, stack):
  """Follows LIST, TUPLE and DICT, which push the items, or APPENDS and SETITEMS, which add them."""
  if name in ("LIST", "TUPLE"):
    stack.append(items if name == "LIST" else tuple(items))
  elif name == "APPENDS":
    list.extend(stack[-1], items)
  else:
    if name == "DICT":
      stack.append({})
    dict.update(stack[-1], zip(items[::2], items[1::2], strict=True))
