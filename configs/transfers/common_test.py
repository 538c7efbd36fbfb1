import pytest

from configs.transfers import coco_detection, common


@pytest.mark.parametrize("arg, want", [
    (None, dict(res=224, model="paligemma_3b", train_on_val=False, data_dir=None, text_len=32)),
    ("448", dict(res=448)),
    ("res=896,model=paligemma2_10b", dict(res=896, model="paligemma2_10b")),
    ("train_on_val,data_dir=/data", dict(train_on_val=True, data_dir="/data")),
    ("train_on_val=False,text_len=64", dict(train_on_val=False, text_len=64)),
    ("sampler=beam(n=2)", dict(sampler="beam(n=2)")),
    ("rate=1", dict(rate=1)),
])
def test_arguments(arg, want):
  a = common.parse(arg, text_len=32, sampler="greedy", rate=0.5)
  assert want.items() <= vars(a).items()


@pytest.mark.parametrize("arg, complaint", [
    ("rse=448", "has no 'rse'. Did you mean 'res'"),
    ("res=big", "res=big of the config is not an int as its default, 224"),
    ("res=448.5", "not an int"),
    ("res=True", "not an int"),
    ("train_on_val=1", "not a bool"),
    ("final_splt", "res=final_splt of the config is not an int"),
    ("final_split", "The config has no 'final_split'. 'final_split' is now 'train_on_val'"),
    ("size=3b", "The config has no 'size'. 'size' is now 'model'"),
])
def test_wrong_arguments(arg, complaint):
  with pytest.raises(ValueError, match=complaint):
    common.parse(arg)


SETTINGS = {224: dict(epochs=3, lr=3e-5, dropout=0.1, wd=0.1), 448: dict(steps=9, lr=1e-6)}


@pytest.mark.parametrize("arg, lr, dropout, model", [
    ("", 3e-5, 0.1, "google/paligemma-3b-pt-224"),
    ("448", 1e-6, 0., "google/paligemma-3b-pt-448"),
    # PaliGemma 2 has the recipe of 224 at every resolution, and rates of its own.
    ("res=448,model=paligemma2_3b", 3e-6, 0.1, "google/paligemma2-3b-pt-448"),
    ("model=paligemma2_28b", 1e-6, 0.1, "google/paligemma2-28b-pt-224"),
])
def test_settings_by_resolution_and_model(arg, lr, dropout, model):
  c = common.transfer(common.parse(arg), SETTINGS, {})
  assert (c.optimizer.lr, c.model.llm.dropout, c.init.model) == (lr, dropout, model)
  assert (c.total_epochs, c.total_steps) == ((None, 9) if arg == "448" else (3, None))


def test_what_is_not_published_is_refused():
  with pytest.raises(ValueError, match="Unknown resolution with published settings 896.*224, 448"):
    common.transfer(common.parse("896"), SETTINGS, {})
  with pytest.raises(ValueError, match="Unknown model '3B'.*Known: paligemma2_10b, paligemma2_"):
    common.transfer(common.parse("model=3B"), SETTINGS, {})
  with pytest.raises(ValueError, match="SETTINGS has no 'batchsize'"):
    common.transfer(common.parse(""), {224: dict(lr=1., batchsize=3)}, {})


def test_published_scores():
  scores = common.table("""
               paligemma_3b  paligemma2_3b
                        224      224   448
    a/b/acc            63.5        -  64.1
    a/c/cider         141.9    141.3     -
  """)
  assert scores["a/b/acc"] == {"paligemma_3b": {224: 63.5}, "paligemma2_3b": {448: 64.1}}
  assert common.at(scores, "paligemma2_3b", 224) == {"a/c/cider": 141.3}
  assert common.at(scores, "paligemma2_28b", 224) == {}
  with pytest.raises(ValueError):
    common.table("a b\n224 224\na/b/acc 63.5")


def test_noise_boxes_of_a_detection():
  plain, noisy = map(coco_detection.get_config, ("", "noise=noise"))
  assert noisy.input.mixture[0]["pp"] == (
      "flatten|decode|resize(antialias=True)|detect(order='random', prompt='detect all classes', "
      "tokens_each=7, noise='noise')|text_layout(noise='noise')")
  val, changed = (c.evals["coco_detection/val"].to_dict() for c in (plain, noisy))
  forbidden = dict.fromkeys((" noise", "<eos>"), float("-inf"))
  assert changed.pop("logit_bias") == forbidden and val == changed  # confidence="label" in both
  assert "noise" not in plain.input.mixture[0]["pp"]
