import json
import pathlib

import jax
import pytest
from PIL import Image

from big_vlm.batch import check_batch
from big_vlm.checkpoints import native
from big_vlm.checkpoints.steps import Checkpoints
from big_vlm.data import loader, mixture
from big_vlm.families import paligemma
from big_vlm.training import setup
from configs import common, forkme
from pp import builder
from pp.tokenizer import get_tokenizer
from trainers import train

ROOT = pathlib.Path(__file__).parent.parent
TOKENIZER = f"sp('{ROOT}/tests/golden/tokenizers/gemma/tokenizer.model', tokensets=('loc', 'seg'))"
BOX = "<loc0100><loc0200><loc0800><loc0900>"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
  """A folder with W, a workdir of a tiny model, and train.jsonl, val.jsonl."""
  folder = tmp_path_factory.mktemp("own")
  for i in range(3):
    Image.new("RGB", (50 + 9 * i, 40), (80 * i, 9, 9)).save(folder / f"{i}.png")
  objects = {"bbox": [[0.1, 0.2, 0.8, 0.9]], "label": ["cat"]}
  lines = [{"image": f"{i % 3}.png", "prefix": "detect cat", "suffix": f"{BOX} cat",
            "objects": objects} for i in range(8)]
  for name in ("train", "val"):
    (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
  c = common.train(total_steps=1, tokenizer=TOKENIZER)
  c.model.update(img=dict(variant="tiny", image_size=32),
                 llm=dict(variant="tiny", vocab_size=get_tokenizer(TOKENIZER).vocab_size))
  s = setup.make(c, jax.devices()[:1])
  (folder / "W").mkdir()
  train.describe(folder / "W", c, s, {}, 0)
  with Checkpoints(folder / "W") as checkpoints:
    checkpoints.save(0, train.as_items(setup.start(c, s), s.optimizer))
  return folder


def config(own, text, **fields):
  c = forkme.get_config(f"data={own}/train.jsonl,val={own}/val.jsonl,init={own}/W,{text}")
  c.update(fields)
  return c


@pytest.mark.parametrize("arg, model, size, frozen", [
    ("", "google/paligemma-3b-pt-224", 224, []),
    ("448", "google/paligemma-3b-pt-448", 448, []),
    ("res=896,model=paligemma2_3b,freeze=vit", "google/paligemma2-3b-pt-896", 896, ["img/.*"]),
    ("model=paligemma2_10b,freeze=llm,task=caption", "google/paligemma2-10b-pt-224", 224,
     ["llm/.*"]),
    ("model=paligemma2_28b,lora=16,text_len=64,task=detect", "google/paligemma2-28b-pt-224", 224,
     []),
])
def test_released_models(arg, model, size, frozen):
  """Every argument builds a config whose model has the shapes of the release."""
  c = forkme.get_config(arg)
  assert (c.init.model, c.model.img.image_size) == (model, size)
  assert [regex for regex, schedule in c.optimizer.schedule if schedule is None] == frozen
  shapes = paligemma.param_shapes(paligemma.config(**c.model.to_dict() | {"dtype": "float32"}))
  assert shapes["llm/embedder/input_embedding"].shape[0] == 257_152
  assert not builder.random_ops(c.evals.val.pp)


def test_a_decoder_of_ones_own():
  c = forkme.get_config("decoder=gemma3_270m,tokenizer=T/tokenizer.model")
  shapes = paligemma.param_shapes(paligemma.config(**c.model.to_dict() | {"dtype": "float32"}))
  assert shapes["llm/embedder/input_embedding"].shape == (262_144 + 1152, 640)
  assert shapes["img/head/kernel"].shape == (1152, 640)
  assert (c.init.model, c.init.llm) == ("", "gemma3_270m")
  assert c.tokenizer == "sp('T/tokenizer.model', tokensets=('loc', 'seg'))"


def test_how_long():
  assert (forkme.get_config().total_epochs, forkme.get_config().total_steps) == (10, None)
  assert forkme.get_config("epochs=0.5").total_epochs == 0.5
  c = forkme.get_config("steps=100")
  assert setup.horizon_of(c).total == 100 and c.total_epochs is None


@pytest.mark.parametrize("arg, complaint", [
    ("task=vqa", "Unknown task 'vqa'. Known: answer, caption, classify, detect"),
    ("init=digits,decoder=gemma3_1b", "init=digits and decoder=gemma3_1b: each says which model"),
    ("model=7b", "Unknown model '7b'"), ("size=3b", "'size' is now 'model'"),
    ("model=3b", "'3b' is now 'paligemma2_3b'"),
    ("final_split", "'final_split' is now 'train_on_val'"), ("freze=vit", "Did you mean 'freeze'"),
    ("freeze=img", "Unknown part to freeze 'img'"),
    ("data=a+b,val=c", "has 2 parts, val=c 1, task=answer 2: give each task"),
    ("data=a+b,val=,task=detect+answer+caption", "task=detect.answer.caption 3"),
    ("data=a+b,val=x/v.jsonl+y/v.jsonl", "names must differ"),
    ("lora=x", "lora=x of the config is not an int"), ("text_len=-8", "text_len=-8 is below 0"),
    ("decoder=gemma3_1b", "decoder=gemma3_1b needs tokenizer=PATH"),
    ("init=nowhere", "Unknown model .nowhere."),
])
def test_wrong_arguments(arg, complaint):
  with pytest.raises((ValueError, OSError), match=complaint):
    forkme.get_config(arg)


def test_a_model_of_ones_own_brings_its_size_and_tokenizer(own):
  c = config(own, "text_len=24")
  assert c.model.img.image_size == 32 and c.model.llm.variant == "tiny"
  assert get_tokenizer(c.tokenizer).vocab_size == c.model.llm.vocab_size
  assert config(own, "res=48").model.img.image_size == 48
  assert "W/tokenizer.model" in config(own, f"tokenizer={own}/W/tokenizer.model").tokenizer


@pytest.mark.parametrize("text", ["task=detect", "task=answer", "train_on_val", "val="])
def test_batches(own, text):
  c = config(own, f"text_len=24,{text}")
  stream = mixture.from_config(c)
  assert stream.sizes == ((16,) if text == "train_on_val" else (8,))
  batch, _ = loader.split_batch(next(loader.train_batches(stream, 8)))
  check_batch(batch, train=True, vocab_size=c.model.llm.vocab_size)
  assert batch["image"].shape == (8, 32, 32, 3) and batch["text"].shape == (8, 25)
  assert list(c.evals) == (["val", "val/loss"] if text.startswith("task") else [])


def test_several_tasks_have_evals_of_their_own(own):
  for name in ("boxes", "texts"):
    (own / f"{name}.jsonl").write_text((own / "val.jsonl").read_text())
  c = forkme.get_config(f"init={own}/W,data={own}/train.jsonl+{own}/val.jsonl,"
                        f"val={own}/boxes.jsonl+{own}/texts.jsonl,task=detect+answer,text_len=24")
  assert {n: e.type for n, e in c.evals.items()} == {
      "val/boxes": "detection", "val/boxes/loss": "perplexity",
      "val/texts": "exact_match", "val/texts/loss": "perplexity"}
  stream = mixture.from_config(c)
  assert stream.names == ("train", "val") and stream.counts(8) == {"train": 4, "val": 4}
  both = forkme.get_config(f"init={own}/W,data=a.jsonl+b.jsonl,val=c.jsonl+d.jsonl,train_on_val")
  assert [x["data"]["path"] for x in both.input.mixture] == [
      ("a.jsonl", "c.jsonl"), ("b.jsonl", "d.jsonl")] and not both.evals


def test_data_of_datasets_and_webdataset(own, monkeypatch):
  """Parquet, a folder of save_to_disk, tars: with a prompt, and names of fields."""
  monkeypatch.setenv("BIG_VLM_CACHE", str(own / "cache"))
  golden = ROOT / "big_vlm/data/golden"
  c = forkme.get_config(f"init={own}/W,data={golden}/hub/data/train-*.parquet,"
                        f"val={golden}/saved/test,prompt=answer de {{question}},suffix=answers/1")
  data = c.input.mixture[0]["data"], c.evals.val.data
  assert [x["name"] for x in data] == ["parquet", "huggingface"]
  reason = next(why for name, _, why in c.defaults if name == "text_len")
  assert c.text_len < 64 and "row " in reason and "the most of 7 lines" in reason
  batch, host = loader.split_batch(next(loader.train_batches(mixture.from_config(c), 5)))
  check_batch(batch, train=True, vocab_size=c.model.llm.vocab_size)
  assert set(host["_source"]) == {"train-*"} or set(host["_source"]) == {"train"}
  words = get_tokenizer(c.tokenizer).to_str(batch["text"][0])
  assert "answer de wie viele" in words and "Stück" in words
  tars = forkme.get_config(f"init={own}/W,data={golden}/tars+{own}/train.jsonl,val=,steps=1,"
                           "prompt=ocr,text_len=8")
  assert [x["data"]["name"] for x in tars.input.mixture] == ["webdataset", "jsonl"]
  with pytest.raises(ValueError, match="suffix=txt names a field of Parquet"):
    forkme.get_config(f"init={own}/W,data={golden}/tars+{own}/train.jsonl,val=,suffix=txt")


def test_a_text_only_model_and_one_of_a_small_variant(own, tmp_path):
  """model.json says only what differs from a variant."""
  texts = tmp_path / "texts.jsonl"
  texts.write_text('{"prefix": "ocr", "suffix": "3"}')
  for name, img in (("text", None), ("small", {"variant": "tiny"})):
    (tmp_path / name).mkdir()
    native.write_model(tmp_path / name, {"img": img, "llm": {"variant": "tiny"}}, TOKENIZER)
  c = forkme.get_config(f"init={tmp_path}/text,data={texts},val={texts},text_len=8,task=caption")
  assert not c.model.img and "decode" not in c.evals.val.pp
  row = mixture.from_config(c)[0]
  assert row["text"].shape == (9,) and set(row["mask_ar"]) == {1}
  c.input.mixture[0]["data"]["path"] = (f"{own}/train.jsonl",)
  with pytest.raises(ValueError, match="has an image, and the model is text-only"):
    mixture.from_config(c)[0]
  with pytest.raises(ValueError, match="is a text-only model: leave res out"):
    forkme.get_config(f"init={tmp_path}/text,res=32")
  small = forkme.get_config(f"init={tmp_path}/small,data={own}/train.jsonl,val=,text_len=8")
  assert mixture.from_config(small)[0]["image"].shape == (16, 16, 3)
  assert setup.make(small, jax.devices()[:1]).model.config.img.image_size == 16


def test_adapters_alone_train(own):
  trains = setup.make(config(own, "lora=2"), jax.devices()[:1]).optimizer.trainable
  assert trains and all("/lora_" in name for name in trains)


def test_it_trains(own, tmp_path):
  """Three steps from the workdir's parameters, and an evaluation."""
  c = config(own, "text_len=24,task=detect,freeze=vit,steps=3")
  c.input.batch_size, c.evals.val.batch_size, c.evals.val.max_new_tokens = 8, 8, 4
  row = train.train(c, str(tmp_path / "w"))
  assert 0 < row["loss"] < 20
  assert (tmp_path / "w" / "predictions" / "val-3.jsonl").exists()
