import pytest

from configs.transfers import common


@pytest.mark.parametrize("arg, want", [
    (None, dict(res=224, size="pg1", final_split=False, data_dir=None, text_len=32)),
    ("448", dict(res=448)),
    ("res=896,size=10b", dict(res=896, size="10b")),
    ("final_split,data_dir=/data", dict(final_split=True, data_dir="/data")),
    ("final_split=False,text_len=64", dict(final_split=False, text_len=64)),
    ("sampler=beam(n=2)", dict(sampler="beam(n=2)")),
    ("rate=1", dict(rate=1)),
])
def test_arguments(arg, want):
  a = common.parse(arg, text_len=32, sampler="greedy", rate=0.5)
  assert want.items() <= vars(a).items()


@pytest.mark.parametrize("arg, complaint", [
    ("rse=448", "has no 'rse'. Did you mean 'res'"),
    ("res=big", "res=big of the config is no int, as its default 224 is"),
    ("res=448.5", "no int"),
    ("res=True", "no int"),
    ("final_split=1", "no bool"),
    ("final_splt", "res=final_splt of the config is no int"),
])
def test_wrong_arguments(arg, complaint):
  with pytest.raises(ValueError, match=complaint):
    common.parse(arg)


SETTINGS = {224: dict(epochs=3, lr=3e-5, dropout=0.1, wd=0.1), 448: dict(steps=9, lr=1e-6)}


@pytest.mark.parametrize("arg, lr, dropout, model", [
    ("", 3e-5, 0.1, "google/paligemma-3b-pt-224"),
    ("448", 1e-6, 0., "google/paligemma-3b-pt-448"),
    # PaliGemma 2 has the recipe of 224 at every resolution, and rates of its own.
    ("res=448,size=3b", 3e-6, 0.1, "google/paligemma2-3b-pt-448"),
    ("size=28b", 1e-6, 0.1, "google/paligemma2-28b-pt-224"),
])
def test_settings_by_resolution_and_size(arg, lr, dropout, model):
  c = common.transfer(common.parse(arg), SETTINGS, {})
  assert (c.optimizer.lr, c.model.llm.dropout, c.init.model) == (lr, dropout, model)
  assert (c.total_epochs, c.total_steps) == ((None, 9) if arg == "448" else (3, None))


def test_what_is_not_published_is_refused():
  with pytest.raises(ValueError, match="Unknown resolution with published settings 896.*224, 448"):
    common.transfer(common.parse("896"), SETTINGS, {})
  with pytest.raises(ValueError, match="Unknown size '3B'. Known: 10b, 28b, 3b, pg1"):
    common.transfer(common.parse("size=3B"), SETTINGS, {})
  with pytest.raises(ValueError, match="SETTINGS has no 'batchsize'"):
    common.transfer(common.parse(""), {224: dict(lr=1., batchsize=3)}, {})


def test_published_scores():
  scores = common.table("""
             pg1-224 3b-224 3b-448
    a/b/acc     63.5      -   64.1
    a/c/cider  141.9  141.3      -
  """)
  assert scores["a/b/acc"] == {"pg1": {224: 63.5}, "3b": {448: 64.1}}
  assert common.at(scores, "3b", 224) == {"a/c/cider": 141.3}
  assert common.at(scores, "28b", 224) == {}
  with pytest.raises(ValueError):
    common.table("pg1-224 3b-224\na/b/acc 63.5")
