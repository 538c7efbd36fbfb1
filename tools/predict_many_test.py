"""Many requests through the model `digits`: as in an evaluation, whatever is killed on the way."""
import functools
import io
import json
import pathlib
import random
import re
import tarfile

import av
import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet as pq
from pycocotools import coco
from pycocotools import mask as masks

import big_vlm
from big_vlm import files
from big_vlm.datasets import digits
from big_vlm.decode.session import GenerationConfig
from big_vlm.families import vqvae
from evaluators import common
from pp.context import Context
from tools import answers_file, predict, predict_input, predict_many

SAVED = pathlib.Path(big_vlm.__file__).parent / "data/golden/saved/test"
COUNT = 11
CONFIG = GenerationConfig(24, grammar="auto")
ask = functools.partial(predict_many.write, batch_size=4)


@pytest.fixture(scope="module")
def vlm(mesh1):
  return big_vlm.from_preset("digits", mesh=mesh1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  """11 pictures of 64 x 48 pixels, half of them in a folder below."""
  folder = tmp_path_factory.mktemp("photos")
  (folder / "below").mkdir()
  config = next(c for c in digits.Digits.BUILDER_CONFIGS if c.name == "tiny")
  for i, scene in enumerate(digits.scenes(config, "test", COUNT)):
    name = folder / ("below" if i % 2 else ".") / f"{i:02}.png"
    Image.fromarray(scene["image"]).resize((64, 48)).save(name)
  return folder


def write_lines(path, photos, *more):
  """A JSONL about the photos, with prompts of two lengths and an answer to be found."""
  names = sorted(str(p.relative_to(photos)) for p in photos.rglob("*.png"))
  prompts = ("ocr", "detect 3 ; 7", "answer en " + "how many digits are there? " * 9)
  lines = [{"id": 100 + i, "image": name, "prefix": prompts[i % 3], "suffix": "3"}
           for i, name in enumerate(names)]
  path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *more]))
  return lines


@pytest.fixture
def lines(tmp_path, photos):
  write_lines(tmp_path / "ask.jsonl", photos)
  return functools.partial(predict_input.open_input, tmp_path / "ask.jsonl", root=photos)


def read(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def answers(vlm, lines, tmp_path):
  ask(vlm, lines(), CONFIG, tmp_path / "straight.jsonl")
  return read(tmp_path / "straight.jsonl")


def test_the_answers_are_in_the_order_of_the_input_and_those_of_generate(vlm, photos, answers):
  assert [a["id"] for a in answers] == list(range(100, 100 + COUNT))
  assert len({a["prompt"] for a in answers}) == 3
  generations = vlm.generate([a["prompt"] for a in answers], [photos / a["image"] for a in answers],
                             max_new_tokens=24, grammar="auto")
  for a, want in zip(answers, generations):
    assert (a["text"], a["tokens"], a["finish_reason"]) == (
        want.text, want.tokens, want.finish_reason)
    np.testing.assert_allclose(a["logprobs"], want.logprobs, atol=1e-4)
    found = vlm.detections(want, photos / a["image"])
    assert a["image_size"] == [48, 64] and [o["label"] for o in a["detections"]] == [
        o.label for o in found]
    np.testing.assert_allclose([o["box"] for o in a["detections"]], [o.box for o in found],
                               atol=1e-3)
  assert any(a["detections"] for a in answers)


def test_they_are_those_of_an_evaluation_to_the_last_digit(vlm, photos, tmp_path):
  """A sampler that draws included: the seed is a function of the number of the example."""
  lines = write_lines(tmp_path / "ask.jsonl", photos)
  ask(vlm, predict_input.open_input(tmp_path / "ask.jsonl", "ocr", root=photos),
      GenerationConfig(9, sampler="temperature(1.5)", grammar="auto"), tmp_path / "a.jsonl")
  evaluator = common.Evaluator(
      "e", vlm.model, vlm.tokenizer_name, vlm.mesh, type="exact_match", batch_size=4,
      data=dict(name="jsonl", path=str(tmp_path / "ask.jsonl"), root=str(photos)),
      pp="decode(exif=True)|resize(antialias=True)|strfmt('ocr', outkey='prefix')|"
         "text_layout(keep=('id', 'prefix', 'suffix'))",
      max_new_tokens=9, sampler="temperature(1.5)", grammar="auto",
      context=Context(vlm.tokenizer_name, vlm.text_len, vlm.image_size))
  keys = ("id", "tokens", "logprobs", "finish_reason")
  got, want = read(tmp_path / "a.jsonl"), evaluator.predict(vlm.params)
  assert [[a[k] for k in keys] for a in got] == [[p[k] for k in keys] for p in want]
  assert len(got) == len(lines) and len({a["text"] for a in got}) > 3


def test_killed_at_any_byte_it_writes_the_same_file(vlm, lines, answers, tmp_path, monkeypatch):
  out, add, draw = tmp_path / "killed.jsonl", files.Appender.write, random.Random(0)

  def killed(self, data):
    part = data.encode()[:draw.randrange(1, len(data.encode()))]
    add(self, data if draw.random() < 0.5 else part)
    raise KeyboardInterrupt
  for _ in range(10):
    with monkeypatch.context() as patch:
      patch.setattr(files.Appender, "write", killed)
      try:
        ask(vlm, lines(), CONFIG, out)
        break  # nothing was left to decode
      except KeyboardInterrupt:
        assert not out.exists() and answers_file.partial(out).exists()
  ask(vlm, lines(), CONFIG, out) if not out.exists() else None
  assert out.read_bytes() == (tmp_path / "straight.jsonl").read_bytes()
  assert sorted(p.name for p in tmp_path.iterdir()) == ["ask.jsonl", "killed.jsonl",
                                                        "straight.jsonl"]
  with pytest.raises(ValueError, match="killed.jsonl is there already. Give another --out"):
    ask(vlm, lines(), CONFIG, out)


@pytest.fixture
def stopped(vlm, lines, tmp_path, monkeypatch):
  """A run that was stopped when it had its first batch."""
  add = answers_file.Partial.add

  def stop(self, rows):
    add(self, rows)
    raise KeyboardInterrupt
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(answers_file.Partial, "add", stop)
    ask(vlm, lines(), CONFIG, tmp_path / "a.jsonl")
  return tmp_path / "a.jsonl"


@pytest.mark.parametrize("change, said", [
    (dict(config=GenerationConfig(24, grammar=None)), "grammar was 'auto' and is None"),
    (dict(config=GenerationConfig(9, grammar="auto")), "max_new_tokens was 24 and is 9"),
    (dict(batch_size=2), "batch_size was 4 and is 2"),
])
def test_a_run_with_other_settings_does_not_resume(vlm, lines, stopped, change, said):
  before = answers_file.partial(stopped).read_bytes()
  with pytest.raises(ValueError, match=f"a.jsonl.partial has answers of another run: {said}"):
    ask(vlm, lines(), **{"config": CONFIG, "out": stopped, **change})
  assert answers_file.partial(stopped).read_bytes() == before


def test_another_prompt_model_input_or_picture_does_not_resume(vlm, lines, photos, stopped,
                                                               tmp_path):
  with pytest.raises(ValueError, match="prompt was 'checksum .* and is 'ocr'"):
    ask(vlm, lines("ocr"), CONFIG, stopped)
  with pytest.raises(ValueError, match="another run: model was 'PaliGemma.*, checksum .* and is"):
    ask(vlm.quantize("int8"), lines(), CONFIG, stopped)
  other = predict_input.open_input(photos, "ocr")
  with pytest.raises(ValueError, match="input was '11 requests, checksum of their names .* and is"):
    ask(vlm, other, CONFIG, stopped)
  first = read(answers_file.partial(stopped))[1]["at"]
  path = photos / lines().names[first]
  kept = path.read_bytes()
  Image.new("RGB", (9, 9)).save(path)
  try:
    with pytest.raises(ValueError, match=rf"line {first + 1} \(.*\.png\) has changed since .*a.js"):
      ask(vlm, lines(), CONFIG, stopped)
  finally:
    path.write_bytes(kept)
  (tmp_path / "b.jsonl.partial").write_text("notes\nof mine\n")
  with pytest.raises(ValueError, match="b.jsonl.partial was not written by tools.predict"):
    ask(vlm, lines(), CONFIG, tmp_path / "b.jsonl")


def test_a_broken_image_is_named_or_left_out_and_counted(vlm, photos, tmp_path, capsys):
  (tmp_path / "cut.png").write_bytes((photos / "00.png").read_bytes()[:99])
  more = ({"image": "cut.png", "prefix": "ocr"}, {"image": "gone.png", "prefix": "ocr"})
  path = tmp_path / "ask.jsonl"
  lines = write_lines(path, photos, *more)
  open_ = functools.partial(predict_input.open_input, path, allow=("outside",))
  path.write_text(path.read_text().replace('"image": "', f'"image": "{photos}/').replace(
      f"{photos}/cut.png", "cut.png"))
  with pytest.raises(FileNotFoundError, match="line 13: there is no image file .*gone.png"):
    open_()
  with pytest.raises(ValueError, match=r"ask.jsonl, line 12 \(cut.png\): cannot decode image"):
    ask(vlm, open_(check=False), CONFIG, tmp_path / "a.jsonl")
  ask(vlm, open_(check=False), CONFIG, tmp_path / "a.jsonl", on_error="skip")  # resumes
  assert [a["id"] for a in read(tmp_path / "a.jsonl")] == [line["id"] for line in lines]
  said = capsys.readouterr().out
  assert re.search(r"skipped: .*line 12 \(cut.png\): cannot decode", said)
  assert re.search(r"skipped: .*line 13 .*gone.png\): .*there is no image", said)
  assert "2 of 13 requests are skipped\n" in said


def test_coco_is_read_by_pycocotools(vlm, photos, tmp_path, lines):
  ask(vlm, predict_input.open_input(photos, "detect 3 ; 7"), CONFIG, tmp_path / "a.jsonl")
  ask(vlm, predict_input.open_input(photos, "detect 3 ; 7"), CONFIG, tmp_path / "a.json",
      format="coco")
  read_by_coco, answers = coco.COCO(str(tmp_path / "a.json")), read(tmp_path / "a.jsonl")
  assert [read_by_coco.imgs[i]["file_name"] for i in sorted(read_by_coco.imgs)] == [
      a["image"] for a in answers]
  want = [(o["label"], o["box"]) for a in answers for o in a["detections"]]
  got = [(read_by_coco.cats[a["category_id"]]["name"],
          [a["bbox"][1], a["bbox"][0], a["bbox"][1] + a["bbox"][3], a["bbox"][0] + a["bbox"][2]])
         for a in read_by_coco.anns.values()]
  assert want and [label for label, _ in got] == [label for label, _ in want]
  np.testing.assert_allclose([box for _, box in got], [box for _, box in want], atol=1e-3)
  loaded = read_by_coco.loadRes(list(read_by_coco.anns.values()))  # as results of a detector too
  assert len(loaded.anns) == len(want)
  ask(vlm, lines(), CONFIG, tmp_path / "b.json", format="coco")
  assert sorted(coco.COCO(str(tmp_path / "b.json")).imgs) == list(range(100, 100 + COUNT))


def test_masks_are_rle_of_the_whole_picture(vlm, lines, tmp_path):
  with np.load(predict.__file__.replace("tools/predict.py", "tests/golden/vqvae.npz")) as golden:
    np.savez(tmp_path / "vae.npz", **{k.removeprefix("params/"): v for k, v in golden.items()
                                      if k.startswith("params/")})
  text = "<loc0256><loc0256><loc0767><loc0767>" + "<seg001>" * 16 + " 3"
  tokens = vlm.tokenizer.to_int(text)
  row = predict_many._row(
      vlm, lines(), dict(index=1, id=5, digest="d", size=[48, 64], prediction=text, tokens=tokens,
                         logprobs=[-0.1] * len(tokens), finish_reason="eos"),
      vqvae.load(tmp_path / "vae.npz"))
  answer = json.loads(json.dumps(row["answer"]))
  found, = answer["detections"]
  mask = masks.decode(found["mask"])
  assert mask.shape == (48, 64) and not mask[:12].any() and not mask[:, 48:].any()
  written = json.loads("".join(answers_file.as_coco([answer])))["annotations"][0]
  assert written["area"] == mask.sum() and written["segmentation"] == found["mask"]


def test_a_page_shows_the_pictures_with_their_objects(vlm, photos, tmp_path):
  ask(vlm, predict_input.open_input(photos, "detect 3 ; 7"), CONFIG, tmp_path / "a.jsonl",
      html=tmp_path / "a.html")
  page = (tmp_path / "a.html").read_text()
  assert page.count('"image":["data:image/') == COUNT and '"pred":[[' in page
  assert "below/01.png" in page


def test_videos_and_several_images_beside_single_ones(vlm, photos, tmp_path):
  with av.open(str(tmp_path / "v.mp4"), "w") as video:
    stream = video.add_stream("libx264", rate=4)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for name in sorted(photos.rglob("*.png"))[:3]:
      video.mux(stream.encode(av.VideoFrame.from_image(Image.open(name).convert("RGB"))))
    video.mux(stream.encode())
  names = [str(p) for p in sorted(photos.rglob("*.png"))]
  asked = [{"video": "v.mp4", "prompt": "ocr"}, {"image": names[0], "prompt": "ocr"},
           {"images": names[:2], "prompt": "ocr"}, {"image": names[1], "prompt": "ocr"}]
  (tmp_path / "ask.jsonl").write_text("".join(json.dumps(line) + "\n" for line in asked))
  ask(vlm, predict_input.open_input(tmp_path / "ask.jsonl", allow=("outside",)), CONFIG,
      tmp_path / "a.jsonl", num_frames=2)
  got = read(tmp_path / "a.jsonl")
  assert [a["id"] for a in got] == [f"ask.jsonl:{i}" for i in range(1, 5)]
  want = vlm.generate(["ocr"] * 3, [names[0], names[:2], names[1]], max_new_tokens=24)
  assert [a["tokens"] for a in got[1:]] == [w.tokens for w in want]
  assert got[0]["image_size"] == [48, 64] and got[0]["logprobs"]


@pytest.mark.parametrize("line, said", [
    ({"image": "00.png"}, "line 1 has no prompt: give one of .* Its keys: 'image'"),
    ({"image": "00.png", "prompt": "a", "prefix": "b"}, "has 'prefix' and 'prompt'"),
    ({"prompt": "a"}, "line 1 has no image: a request has an \"image\""),
    ({"image": "00.png", "prompt": 3}, "the prompt is 3, not a text"),
    ({"image": "00.png", "prompt": "a", "id": [1]}, r"the id is \[1\]"),
])
def test_lines_that_are_no_requests(tmp_path, photos, line, said):
  (tmp_path / "ask.jsonl").write_text(json.dumps(line))
  with pytest.raises(ValueError, match=said):
    predict_input.open_input(tmp_path / "ask.jsonl", root=photos)


def test_a_prompt_beyond_the_model_is_refused_before_the_first_batch(vlm, photos, tmp_path):
  with pytest.raises(ValueError, match="00.png: a prompt of 27002 tokens, 16 of .* the 8192"):
    ask(vlm, predict_input.open_input(photos, "so " * 9000), CONFIG, tmp_path / "a.jsonl")
  assert not list(tmp_path.iterdir())


def test_parquet_and_tars_ask_what_files_ask(photos, tmp_path, monkeypatch):
  monkeypatch.setenv("BIG_VLM_CACHE", str(tmp_path / "cache"))
  whole = predict_input.open_input(photos, "ocr")
  images = [whole[i]["image"] for i in range(len(whole))]
  pq.write_table(pyarrow.table({"image": images, "id": whole.ids}), tmp_path / "x.parquet")
  with tarfile.open(tmp_path / "x.tar", "w") as tar:
    for i, image in enumerate(images):
      info = tarfile.TarInfo(f"{i:02}.png")
      info.size = len(image)
      tar.addfile(info, io.BytesIO(image))
  rows, samples = (predict_input.open_input(tmp_path / n, "ocr") for n in ("x.parquet", "x.tar"))
  assert rows.ids == whole.ids and samples.ids[3] == samples.names[3] == "x.tar:03"
  for some in (rows, samples):
    assert some.kinds == whole.kinds and some.prompts == whole.prompts
    assert [predict_input.digest(some[i]) for i in range(COUNT)] == [
        predict_input.digest(whole[i]) for i in range(COUNT)]
  assert rows.where(2).endswith("x.parquet, row 2")
  saved = predict_input.open_input(SAVED, "ocr")
  assert saved.ids == ["data-00000-of-00001.arrow:0", "data-00000-of-00001.arrow:1"]
  with pytest.raises(ValueError, match="row 0: the prompt is None, not a text: give a field"):
    predict_input.open_input(tmp_path / "x.parquet")
  with pytest.raises(ValueError, match="--root and --allow are of a .jsonl"):
    predict_input.open_input(tmp_path / "x.parquet", "ocr", root="x")
  pq.write_table(pyarrow.table({"images": [images[:2]], "n": [1]}), tmp_path / "y.parquet")
  with pytest.raises(ValueError, match="y.parquet, row 0 has .*: a request has a field .image."):
    predict_input.open_input(tmp_path / "y.parquet", "ocr")


def test_folders_and_patterns(photos, tmp_path, capsys):
  for name in ("a.JPG", ".hidden.png", "notes.txt", "clip.mp4"):
    (tmp_path / name).write_bytes(b"x")
  folder = predict_input.open_input(tmp_path, "ocr")
  assert folder.ids == ["a.JPG", "clip.mp4"]
  assert folder.kinds == [("image", 1), ("video", 1)] and folder[1]["video"] == b"x"
  assert "1 files of" in (said := capsys.readouterr().out) and "notes.txt" in said
  assert predict_input.open_input(f"{photos}/**/*.png", "ocr").ids == [
      str(p.relative_to(photos)) for p in sorted(photos.rglob("*.png"))]
  assert predict_input.open_input(photos / "00.png", "ocr").ids == ["00.png"]
  for path, said in ((f"{tmp_path}/*.bmp", "no file matches this pattern"),
                     (tmp_path / "nowhere", "no such folder, file or pattern")):
    with pytest.raises(FileNotFoundError, match=said):
      predict_input.open_input(path, "ocr")
  with pytest.raises(ValueError, match="has no prompts of its own: give --prompt"):
    predict_input.open_input(tmp_path)


@pytest.mark.parametrize("flags, said", [
    (["--input", "a", "--image", "b"], "give --image, or --input for many"),
    (["--input", "a"], "--input needs --out"),
    (["--image", "a", "--format", "coco"], "--format does not go with --image"),
    (["--input", "a", "--out", "b", "--attention"], "--attention does not go with --input"),
    (["--input", "a", "--out", "b", "--batch_size", "-1"], "--batch_size is 1 or more"),
    (["--input", "a", "--out", "b", "--batch_size", "0"], "--batch_size is 1 or more"),
    (["--input", "a", "--out", "b", "--html", "b"], "give it a name of its own"),
])
def test_flags_that_do_not_go_together(flags, said, capsys):
  with pytest.raises(SystemExit):
    predict.main(["digits", "--prompt", "ocr", *flags])
  assert said in capsys.readouterr().err
