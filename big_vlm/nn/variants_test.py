import pytest

from big_vlm.families import gemma, opt
from big_vlm.families import siglip as vit
from big_vlm.nn import variants


def test_a_row_with_changes_there_and_back():
  rows = {**gemma.VARIANTS, **opt.VARIANTS}
  config = variants.config(rows, "decoder variant", "gemma2_2b", window=None, vocab_size=257_152)
  assert variants.to_dict(rows, config) == dict(
      variant="gemma2_2b", window=None, vocab_size=257_152)
  assert variants.to_dict(rows, opt.config("opt_1.3b")) == dict(variant="opt_1.3b")


@pytest.mark.parametrize("call,message", [
    (lambda: gemma.config("gema_2b"), "Gemma variant 'gema_2b'. Did you mean 'gemma_2b'"),
    (lambda: opt.config("opt_1.3"), "OPT variant 'opt_1.3'. Did you mean 'opt_1.3b'"),
    (lambda: vit.config("S/14", widht=1), "'S/14' has no field 'widht'. Did you mean 'width'"),
    (lambda: vit.config("S/14", pool="mpa"), "'mpa'. Did you mean 'map'"),
    (lambda: gemma.config("tiny", sliding_window_mode="symetric"), "Did you mean 'symmetric'"),
    (lambda: gemma.config("tiny", remat="dots"), "'dots' is now 'save_attn'"),
    (lambda: opt.config("opt_tiny", remat="wide_dots"), "'wide_dots' is now 'save_mlp'"),
])
def test_errors_offer_the_nearest_name(call, message):
  with pytest.raises(ValueError) as error:
    call()
  assert message in str(error.value)
