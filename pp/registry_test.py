import numpy as np
import pytest

from pp.builder import get_preprocess_fn
from pp.names import pick
from pp.registry import Registry, parse_call, rng_of, with_keys


def test_pick_offers_the_nearest_name_and_lists_all():
  assert pick({"resize": 1}, "resize", "pp op") == 1
  with pytest.raises(ValueError) as e:
    pick({"resize": 1, "decode": 2}, "rezise", "pp op")
  assert str(e.value) == (
      "Unknown pp op 'rezise'. Did you mean 'resize'? Known: decode, resize.")


@pytest.mark.parametrize("text, want", [
    ("flatten", ("flatten", (), {})),
    (" a.b.op ", ("a.b.op", (), {})),
    ("op()", ("op", (), {})),
    ("op(-1, 2.5, None, True)", ("op", (-1, 2.5, None, True), {})),
    ("op([1, 2], k={'a': (1,)})", ("op", ([1, 2],), {"k": {"a": (1,)}})),
    (r"op('a|b\n', c=',)')", ("op", ("a|b\n",), {"c": ",)"})),
])
def test_parse_call(text, want):
  assert parse_call(text) == want


@pytest.mark.parametrize("text, complaint", [
    ("", "Cannot parse"),
    ("op(", "was never closed"),
    ("resize(x)", "the argument `x` is not a literal"),
    ("op(1 | 2)", "not a literal"),
    ("op(*[1])", "not a literal"),
    ("op(f())", "not a literal"),
    ("op(__import__('os').getcwd())", "not a literal"),
    ("op(a=1, a=2)", "'a' is given twice"),
    ("op(**{})", "** is not allowed"),
    ("3", "expected a name or a call"),
    ("f()()", "expected a name or a call"),
    ("a[0].b", "expected a name or a call"),
])
def test_parse_call_says_what_is_wrong(text, complaint):
  with pytest.raises(ValueError) as e:
    parse_call(text)
  assert complaint in str(e.value) and f"`{text}`" in str(e.value)


def samplers():
  registry = Registry("sampler")

  @registry.register("top_k")
  def top_k(k, t=1.0):
    return f"k={k} t={t}"
  return registry


def test_registry_builds_from_a_string():
  assert samplers().build("top_k(5, t=0.5)") == "k=5 t=0.5"
  assert list(samplers()) == ["top_k"]


@pytest.mark.parametrize("text, complaint", [
    ("topk(1)", "Unknown sampler 'topk'. Did you mean 'top_k'?"),
    ("top_k", "missing a required argument: 'k'"),
    ("top_k(1, 2, 3)", "too many positional arguments"),
    ("top_k(kk=1)", "Did you mean 'k'? It takes top_k(k, t=1.0)."),
])
def test_registry_errors_show_the_signature(text, complaint):
  with pytest.raises(ValueError) as e:
    samplers().build(text)
  assert complaint in str(e.value)


def test_an_error_of_the_factory_itself_is_not_dressed_up():
  registry = Registry("thing")
  registry.register("bad")(lambda: 1 + "a")
  with pytest.raises(TypeError, match="unsupported operand"):
    registry.build("bad")


def test_a_name_is_registered_once():
  with pytest.raises(ValueError, match="'top_k' is registered twice"):
    samplers_ = samplers()
    samplers_.register("top_k")(len)


@pytest.mark.parametrize("kwargs, want", [
    ({}, {"image": 2, "a": 10}),
    ({"key": "a"}, {"image": 1, "a": 11}),
    ({"inkey": "a"}, {"image": 11, "a": 10}),
    ({"outkey": "b"}, {"image": 1, "a": 10, "b": 2}),
    ({"inkey": "a", "outkey": "b"}, {"image": 1, "a": 10, "b": 11}),
])
def test_with_keys(kwargs, want):
  add = with_keys("image")(lambda n: lambda x: x + n)
  example = {"image": 1, "a": 10}
  assert add(1, **kwargs)(example) == want
  assert example == {"image": 1, "a": 10}


def test_with_keys_without_a_default_needs_names():
  with pytest.raises(ValueError, match="needs key="):
    with_keys()(lambda: str)(inkey="a")


def test_rng_of():
  rng = np.random.default_rng(0)
  assert rng_of({"_rng": rng}, "choice") is rng
  with pytest.raises(ValueError, match="random op 'choice' .* must not be random"):
    rng_of({}, "choice")


@pytest.mark.parametrize("text,message", [
    ("random_crop(2j)", "Wrong arguments in the pp op .*`: .*It takes random_crop"),
    ("strfmt(None, outkey='x')", "Wrong arguments in the pp op"),
    ("lookup(1, key='label')", "Wrong arguments in the pp op .*not int"),  # a file that is open
    ("text_layout(tokenizer=..., text_len=3)", "Cannot parse Ellipsis: it is a ellipsis"),
    ("resize(" + "(" * 5000, "Cannot parse|never closed|Unclosed"),
])
def test_arguments_of_another_type(text, message):
  with pytest.raises(ValueError, match=message):
    get_preprocess_fn(text)
