"""Names -> factories, for everything that a config spells as a string: ops, tokenizers, samplers.

  OPS.build("resize(224, antialias=True)")   ==   OPS["resize"](224, antialias=True)

Arguments are Python literals only. An op is a factory: called with its arguments it returns a
function example -> example, where an example is a flat dict. Keys that start with "_" belong to
the loader (`_rng`, `_id`, `_epoch`, `_mask`) and are never dropped by an op unless named.
"""

import ast
import functools
import inspect

from pp.names import near_miss, pick


def parse_call(text):
  """"a.b(1, k='x')" -> ("a.b", (1,), {"k": "x"}); a bare name has no arguments.

  Raises:
    ValueError: not a (dotted) name or a call of one, or an argument that is no Python literal.
  """
  text = text.strip()
  try:
    node = ast.parse(text, mode="eval").body
  except (SyntaxError, ValueError) as e:
    raise ValueError(f"Cannot parse `{text}`: {getattr(e, 'msg', e)}.") from None
  args, keywords = [], []
  if isinstance(node, ast.Call):
    node, args, keywords = node.func, node.args, node.keywords
  name = _dotted_name(node)
  if name is None:
    raise ValueError(f"Cannot parse `{text}`: expected a name or a call such as name(1, key='x').")
  kwargs = {}
  for keyword in keywords:
    if keyword.arg is None or keyword.arg in kwargs:
      what = "** is not allowed" if keyword.arg is None else f"{keyword.arg!r} is given twice"
      raise ValueError(f"Cannot parse `{text}`: {what}.")
    kwargs[keyword.arg] = _literal(keyword.value, text)
  return name, tuple(_literal(a, text) for a in args), kwargs


def _dotted_name(node):
  if isinstance(node, ast.Name):
    return node.id
  if isinstance(node, ast.Attribute):
    head = _dotted_name(node.value)
    return head and f"{head}.{node.attr}"
  return None


def _literal(node, text):
  try:
    return ast.literal_eval(node)
  except (ValueError, TypeError):
    raise ValueError(f"Cannot parse `{text}`: the argument `{ast.unparse(node)}` is not a literal "
                     "(number, string, bool, None, list, tuple or dict); a string needs quotes."
                     ) from None


class Registry(dict):
  """A dict name -> factory for one kind of thing; `what` names the kind in errors."""

  def __init__(self, what, instead=None):
    super().__init__()
    self.what, self._instead = what, instead or {}
    self._random = {}

  def register(self, name, random=False):
    """Decorator that stores a factory under `name`; a name can be given once only.

    random: whether what it makes draws from a generator; where that depends on the arguments, a
      function of them all, {name: value} with the defaults filled in.
    """
    def decorate(factory):
      if name in self:
        raise ValueError(f"The {self.what} {name!r} is registered twice: by "
                         f"{self[name].__module__} and by {factory.__module__}.")
      self[name] = factory
      self._random[name] = random
      return factory
    return decorate

  def is_random(self, text):
    """Whether what `build(text)` would make draws from a generator."""
    name, args, kwargs = parse_call(text)
    random = self._random.get(name, False)
    if callable(random):
      random = random(self._bound(text, name, args, kwargs).arguments)
    return bool(random)

  def may_be_random(self, name):
    """Whether what `name` makes can draw from a generator, given the right arguments."""
    return bool(self._random.get(name, False))

  def build(self, text):
    """Calls the factory that `text`, a name or "name(literal, key=literal)", asks for."""
    name, args, kwargs = parse_call(text)
    self._bound(text, name, args, kwargs)
    return self[name](*args, **kwargs)

  def _bound(self, text, name, args, kwargs):
    """The call as inspect.BoundArguments, defaults filled in; ValueError if it does not fit."""
    if name in self._instead:
      raise ValueError(f"The {self.what} {name!r} of big_vision does not exist here. Write "
                       f"instead: {self._instead[name]}.")
    signature = inspect.signature(pick(self, name, self.what))
    try:
      bound = signature.bind(*args, **kwargs)
    except TypeError as e:
      unknown = [k for k in kwargs if k not in signature.parameters]
      hint = near_miss(unknown[0], signature.parameters) if unknown else ""
      raise ValueError(f"Wrong arguments in the {self.what} `{text.strip()}`: {e}.{hint} "
                       f"It takes {name}{signature}.") from None
    bound.apply_defaults()
    return bound


_NAMES = "`getidx` on a list of label names in the data, or labels as strings"
OPS = Registry("pp op", instead={
    "rag_tensor": "nothing, since ops take arrays of any length; pad with `tolen` or "
                  "`pad_to_shape` at the end of the pipeline",
    "tokenize": "`tok(key='text', model=\"sp('path/of.model')\", length=N, eos='yes')`, with "
                "`lower` before it for lower case",
    "clip_i1k_label_names": _NAMES, "i21k_label_names": _NAMES})
TOKENIZERS = Registry("tokenizer")
TOKENSETS = Registry("tokenset")


def with_keys(default=None, random=False):
  """Decorator: a factory of value -> value becomes a factory of example -> example.

  The factory gains the keyword arguments `inkey` and `outkey`, where the op reads and writes
  (`default` unless given), and `key`, which stands for both. With no default the user names them.
  random: the factory makes a function of (value, generator) instead, and the example's own
  generator is handed to it.
  """
  def decorate(factory):
    @functools.wraps(factory)
    def wrapped(*args, key=None, inkey=default, outkey=default, **kwargs):
      source, target = key or inkey, key or outkey
      if source is None or target is None:
        raise ValueError(f"{factory.__name__} needs key=, or both inkey= and outkey=.")
      fn = factory(*args, **kwargs)
      if random:
        return lambda example: {
            **example, target: fn(example[source], rng_of(example, factory.__name__))}
      return lambda example: {**example, target: fn(example[source])}

    extra = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value)
             for name, value in [("key", None), ("inkey", default), ("outkey", default)]]
    signature = inspect.signature(factory)
    wrapped.__signature__ = signature.replace(
        parameters=[*signature.parameters.values(), *extra])
    return wrapped
  return decorate


def rng_of(example, op):
  """The example's own np.random.Generator, which the training loader puts under "_rng".

  Raises:
    ValueError: there is none, so the pipeline runs where nothing may be random.
  """
  if "_rng" in example:
    return example["_rng"]
  raise ValueError(
      f"The random op {op!r} is in a pipeline that must not be random: only the training loader "
      "gives an example its generator '_rng'. In an evaluation use a fixed op instead (getidx or "
      "reshape for choice, resize or central_crop for crops), or put np.random.default_rng(seed) "
      "under '_rng'.")
