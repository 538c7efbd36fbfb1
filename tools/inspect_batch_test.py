import json
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from big_vlm.training import losses
from configs import common
from pp.tokenizer import get_tokenizer
from tests import commands
from tools import inspect_batch

MODEL = (pathlib.Path(__file__).parent.parent / "tests" / "golden" / "tokenizers" / "gemma"
         / "tokenizer.model")
TOKENIZER = f"sp('{MODEL}', tokensets=('loc', 'seg'))"
BOX = "<loc0256><loc0512><loc0768><loc1023>"
LINES = [
    {"image": "red.png", "prefix": "detect cat", "suffix": f"{BOX} cat"},
    {"image": "red.png", "prefix": "answer <b>en</b>", "suffix": "word " * 40},
    {"image": "red.png", "prefix": "long " * 40, "suffix": "no room"},
    {"image": "red.png", "prefix": "caption ar", "suffix": "قطة"}]
TEXT_LEN = 40


def make_config(folder, lines=LINES, image="decode|resize|", **changes):
  """A config over the lines, in whose batch each stands once."""
  Image.new("RGB", (60, 40), "red").save(folder / "red.png")
  Image.new("RGB", (20, 20), "blue").save(folder / "blue.png")
  path = folder / "train.jsonl"
  path.write_text("\n".join(map(json.dumps, lines)))
  data = dict(name="jsonl", path=str(path))
  c = common.train(total_steps=1, tokenizer=TOKENIZER, text_len=TEXT_LEN, **changes)
  c.model.img = dict(variant="tiny", image_size=28)
  c.input.mixture = [dict(data=data, pp=f"{image}text_layout")]
  c.input.batch_size = len(lines)
  c.evals.val = dict(type="exact_match", data=data, batch_size=3, max_new_tokens=4, prompt_len=16,
                     pp=f"{image}text_layout(keep=('prefix', 'suffix'))")
  return c


def rows(config, name=None):
  """{line number: Row}."""
  batch, _ = inspect_batch.make_batch(config, name=name)
  found = inspect_batch.rows(batch, get_tokenizer(TOKENIZER), 99, config.loss.loss_normalization)
  return {int(re.search(r":(\d+)", row.title)[1]): row for row in found}, batch


def test_parts_masks_and_what_is_cut(tmp_path):
  found, batch = rows(make_config(tmp_path))
  tok = get_tokenizer(TOKENIZER)
  first = found[1]
  assert tok.to_str(first.ids("prefix")) == "detect cat" and first.ids("eos") == [tok.eos_token]
  assert tok.to_str(first.ids("suffix")) == f"{BOX} cat"
  assert tok.to_str(first.ids("separator")) == "\n"
  assert all((part in ("suffix", "eos")) == bool(m) for part, m in zip(first.parts, first.mask))
  assert not first.problem and "pad" in first.parts
  assert "eos is cut off" in found[2].problem and "eos" not in found[2].parts
  assert "nothing is supervised" in found[3].problem and set(found[3].parts) == {"prefix"}
  assert inspect_batch.facts(batch, tok)[0] == ("error", "2 of 4 rows without their eos")


@pytest.mark.parametrize("mean", ["example", "token"])
def test_weights_are_those_of_the_loss(tmp_path, mean):
  c = make_config(tmp_path)
  c.loss.loss_normalization = mean
  found, batch = rows(c)
  want = np.asarray(losses.token_weights(batch["mask_loss"][:, 1:], mean))
  got = {row.title: row.weights for row in found.values()}
  for i, name in enumerate(batch["_id"]):
    row = next(v for k, v in got.items() if k.startswith(name))
    np.testing.assert_allclose(row, [0, *want[i]])
  assert sum(sum(row.weights) for row in found.values()) == pytest.approx(
      0.75 if mean == "example" else 1)  # line 3 teaches nothing


def test_an_evaluation_has_prompts_alone(tmp_path):
  found, _ = rows(make_config(tmp_path), "val")
  assert sorted(found) == [1, 2, 3] and not found[1].weights
  assert set(found[1].parts) == {"prefix", "separator", "pad"}
  assert "prompt is cut off" in found[3].problem
  assert found[1].texts["suffix"] == f"{BOX} cat"


@pytest.mark.parametrize("step, name, complaint", [
    (0, "vall", "Unknown evaluator of this config 'vall'. Did you mean 'val'"),
    (2, "val", "has 2 batches: --step=2 is beyond")])
def test_no_such_batch(tmp_path, step, name, complaint):
  with pytest.raises(ValueError, match=complaint):
    inspect_batch.make_batch(make_config(tmp_path), step, name)


def test_steps_have_their_own_batches(tmp_path):
  c = make_config(tmp_path)
  c.input.batch_size = 2
  ids = [inspect_batch.make_batch(c, step)[0]["_id"] for step in (0, 1)]
  assert sorted(ids[0] + ids[1]) == [f"train.jsonl:{i}" for i in range(1, 5)]


@pytest.mark.parametrize("pp, note", [
    ("", "uint8 0..255"), ("value_range(-1, 1)|", "float32 -1..1"),
    ("value_range(0, 3)|", "float32 0..3, not in -1..1")])
def test_pixels_are_shown_as_they_were(tmp_path, pp, note):
  found, _ = rows(make_config(tmp_path, image=f"decode|resize|{pp}"))
  assert found[1].note == note
  if "not" not in note:
    np.testing.assert_array_equal(found[1].images[0], np.broadcast_to([255, 0, 0], (28, 28, 3)))


def test_the_page_shows_images_boxes_and_escaped_tokens(tmp_path, capsys):
  inspect_batch.inspect(make_config(tmp_path), examples=4, html=str(tmp_path / "b.html"))
  said = capsys.readouterr().out
  page = (tmp_path / "b.html").read_text()
  assert "image      [4, 28, 28, 3]  uint8" in said and "2 of 4 rows without their eos" in said
  assert re.search(r"  mask_loss       0 x\d+, 1 x\d+, 0 x\d+\n  loss weight     0 x", said)
  assert page.count('<article class="card') == 4 and page.count('<article class="card error"') == 2
  assert '<rect x="14.0" y="7.0"' in page and "answer &lt;b&gt;en&lt;/b&gt;" in page
  assert '<span class="tok eos" title="position ' in page and "قطة" in page
  assert "<b>" not in page and page.count("<script>") == 1


def test_several_images_stand_side_by_side(tmp_path):
  lines = [{"images": ["red.png", "blue.png"], "prefix": "answer en same?", "suffix": "no"}] * 2
  found, batch = rows(make_config(tmp_path, lines))
  assert batch["image"].shape == (2, 2, 28, 28, 3)
  card = inspect_batch.card(found[1], get_tokenizer(TOKENIZER))
  assert [p.note for p in card.pictures] == ["1 of 2", "2 of 2"]
  assert [p.image[0, 0].tolist() for p in card.pictures] == [[255, 0, 0], [0, 0, 255]]


def test_packed_examples_are_shown_one_by_one(tmp_path, capsys):
  plain, packed = make_config(tmp_path), make_config(tmp_path)
  packed.input.update(packing="pack", row_examples=2)
  found, batch = rows(packed)
  want, _ = rows(plain)
  assert batch["segment"].shape == batch["text"].shape and len(batch["text"]) == 2
  assert set(found) == set(want) == {1, 2, 3, 4}
  for line, row in found.items():
    n = len(row.tokens)
    assert row.tokens == want[line].tokens[:n] and row.parts == want[line].parts[:n]
    assert set(want[line].parts[n:]) <= {"pad"} and len(row.images) == 1
    np.testing.assert_allclose(row.weights, want[line].weights[:n])
    assert row.texts == want[line].texts and row.problem == want[line].problem
  inspect_batch.inspect(packed)
  said = capsys.readouterr().out
  assert "step 1: 4 examples, made" in said and "2 of 4 examples without their eos" in said
  assert re.search(r"tokens in 2 rows go through the decoder, \d\d\.\d% of them are not pad", said)


def test_text_alone(tmp_path):
  lines = [{"prefix": "2 + 2", "suffix": "4"}] * 2
  found, batch = rows(make_config(tmp_path, lines, image=""))
  assert "image" not in batch and not found[1].images
  assert "4" in inspect_batch.describe(found[1], get_tokenizer(TOKENIZER), True)


def test_the_command_says_what_is_wrong_in_a_line(tmp_path):
  (tmp_path / "c.py").write_text("from configs import common\n\ndef get_config():\n"
                                 f"  return common.train(total_steps=1, tokenizer={TOKENIZER!r})\n")
  done = commands.run("tools.inspect_batch", "--config", tmp_path / "c.py", "--step", "x")
  assert done.returncode == 2 and "argument --step: invalid int value: 'x'" in done.stderr
  assert "Traceback" not in done.stderr
