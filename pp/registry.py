"""Names -> factories, for everything that a config spells as a string: ops, tokenizers, samplers.

  OPS.build("resize(224, antialias=True)")   ==   OPS["resize"](224, antialias=True)

Arguments are Python literals only. An op is a factory: called with its arguments it returns a
function example -> example, where an example is a flat dict. Keys that start with "_" belong to
the loader (`_rng`, `_id`, `_epoch`, `_mask`) and are never dropped by an op unless named.
"""

import ast
import contextlib
import functools
import inspect
import re

from pp.names import near_field, pick


def parse_call(text):
  """"a.b(1, k='x')" -> ("a.b", (1,), {"k": "x"}); a bare name has no arguments.

  Raises:
    ValueError: not a (dotted) name or a call of one, or an argument that is not a Python literal.
  """
  if not isinstance(text, str):
    raise ValueError(f"Cannot parse {text!r}: it is a {type(text).__name__}, not a name or a call "
                     "such as name(1, key='x').")
  text = text.strip()
  try:
    node = ast.parse(text, mode="eval").body
  except (SyntaxError, ValueError, RecursionError, MemoryError) as e:  # of nested brackets
    raise ValueError(f"Cannot parse `{text}`: {getattr(e, 'msg', e)}.") from None
  args, keywords = [], []
  if isinstance(node, ast.Call):
    node, args, keywords = node.func, node.args, node.keywords
  name = ast.unparse(node)
  if not re.fullmatch(r"[^\W\d]\w*(\.\w+)*", name):
    raise ValueError(f"Cannot parse `{text}`: expected a name or a call such as name(1, key='x').")
  kwargs = {}
  for keyword in keywords:
    if keyword.arg is None or keyword.arg in kwargs:
      what = "** is not allowed" if keyword.arg is None else f"{keyword.arg!r} is given twice"
      raise ValueError(f"Cannot parse `{text}`: {what}.")
    kwargs[keyword.arg] = _literal(keyword.value, text)
  return name, tuple(_literal(a, text) for a in args), kwargs


def _literal(node, text):
  try:
    return ast.literal_eval(node)
  except (ValueError, TypeError, RecursionError):
    raise ValueError(f"Cannot parse `{text}`: the argument `{ast.unparse(node)}` is not a literal "
                     "(number, string, bool, None, list, tuple or dict); a string needs quotes."
                     ) from None


class Registry(dict):
  """A dict name -> factory for one kind of thing; `what` names the kind in errors."""

  def __init__(self, what, instead=None):
    super().__init__()
    self.what, self._instead, self._facts = what, instead or {}, {}

  def register(self, name, **facts):
    """Decorator that stores a factory under `name`; a name can be given once only.

    facts: what holds of a call before it runs, each a value or a function of the call's arguments,
    {name: value} with the defaults filled in. Of ops:
      random   whether it draws from the example's generator
      images   how many images it makes of one example
      takes    {parameter: field} that pp.context.Context gives where the string does not
      sets     {parameter: field} that must agree with the Context, but is not taken from it
    """
    def decorate(factory):
      if name in self:
        raise ValueError(f"The {self.what} {name!r} is registered twice: by "
                         f"{self[name].__module__} and by {factory.__module__}.")
      self[name] = factory
      self._facts[name] = facts
      return factory
    return decorate

  def fact(self, text, name, default=None):
    """A fact of the call `text`, a name or "name(literal, key=literal)"; see register()."""
    fact = self._facts.get(parse_call(text)[0], {}).get(name, default)
    if not callable(fact):
      return fact
    bound = self.bind(text, partial=True)  # what only a context gives decides no fact
    bound.apply_defaults()
    with self._fitting(text):
      return fact(bound.arguments)

  def may_be_random(self, name):
    """Whether what `name` makes can draw from a generator, given the right arguments."""
    return bool(self._facts[name].get("random"))

  def build(self, text, context=None):
    """Calls the factory that `text` asks for; `context` has the fields that it takes.

    Raises ValueError for arguments of a type that the factory does not take, and what it raises.
    """
    bound = self.bind(text, context)
    with self._fitting(text) as factory:
      return factory(*bound.args, **bound.kwargs)

  @contextlib.contextmanager
  def _fitting(self, text):
    """Gives the factory of a call; what comes of arguments of another type is a ValueError."""
    name, args, kwargs = parse_call(text)
    try:
      yield self[name]
    except (TypeError, AttributeError, LookupError, ArithmeticError) as e:
      if not (args or kwargs):  # a defect of the factory
        raise
      raise ValueError(f"Wrong arguments in the {self.what} `{text.strip()}`: {e}. It takes "
                       f"{name}{inspect.signature(self[name])}.") from e

  def arguments(self, text, context=None):
    """{parameter: value} of the call `text`, defaults filled in; ValueError if it does not fit."""
    bound = self.bind(text, context)
    bound.apply_defaults()
    return bound.arguments

  def bind(self, text, context=None, partial=False):
    """The call `text` as inspect.BoundArguments; ValueError if it does not fit. partial: required
    arguments may be missing."""
    name, args, kwargs = parse_call(text)
    if name in self._instead:
      raise ValueError(f"The {self.what} {name!r} of big_vision does not exist here. Write "
                       f"instead: {self._instead[name]}.")
    signature = inspect.signature(pick(self, name, self.what))
    takes = self._facts.get(name, {}).get("takes", {})
    try:
      given = signature.bind_partial(*args, **kwargs).arguments
      taken = {p: getattr(context, f, None) for p, f in takes.items() if p not in given}
      bind = signature.bind_partial if partial else signature.bind
      return bind(*args, **kwargs, **{p: v for p, v in taken.items() if v is not None})
    except TypeError as e:
      unknown = [k for k in kwargs if k not in signature.parameters]
      hint = near_field(unknown[0], signature.parameters) if unknown else ""
      if lacking := [f for p, f in takes.items() if str(e).endswith(f"required argument: '{p}'")]:
        hint = f" Set it, or the config's field {lacking[0]}."
      raise ValueError(f"Wrong arguments in the {self.what} `{text.strip()}`: {e}.{hint} "
                       f"It takes {name}{signature}.") from None


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
