"""ST-VQA: val is held out of train by image; COCO's photographs come from COCO itself."""
import pytest

from big_vlm.datasets import stvqa

COCO = "coco-text/COCO_train2014_000000000009.jpg"
PATHS = [f"iiit-text/img_{i}.jpg" for i in range(30)] + [COCO]


def files_of(picture):
  rows = [{"question_id": 2 * i + n, "question": f"{i}?", "answers": ["Stop", "STOP"],
           "file_path": path, "file_name": path.split("/")[1], "dataset": path.split("/")[0]}
          for i, path in enumerate(PATHS) for n in (0, 1)]
  hidden = {k: v for k, v in rows[-1].items() if k != "answers"}
  return {"train_task_3.json": {"data": rows}, "test_task_3.json": {"data": [hidden]},
          "train2014/COCO_train2014_000000000009.jpg": picture(9),
          f"train_images/{COCO}": picture(256),
          **{f"train_images/{path}": picture(1) for path in PATHS[:-1]}}


def test_release(release, picture):
  splits = release("stvqa", files_of(picture))
  train, val = ({x["filename"] for x in splits[name]} for name in ("train", "val"))
  assert not train & val and train | val == set(PATHS) and 0 < len(val) < 10
  assert len(splits["train"]) == 2 * len(train) and len(splits["val"]) == 2 * len(val)
  (coco, _) = [x for x in splits["train"] if x["filename"] == COCO]
  assert coco["image"] == picture(9) and list(coco["answers"]) == ["Stop", "STOP"]
  (hidden,) = splits["test"]
  assert len(hidden["answers"]) == 0 and hidden["image"] == picture(9)


def test_a_list_of_images_to_hold_out(release, picture):
  files = files_of(picture) | {"val_images.txt": f"{PATHS[3]}\n{COCO}\n"}
  assert {x["filename"] for x in release("stvqa", files)["val"]} == {PATHS[3], COCO}


@pytest.mark.parametrize("path, held", [("iiit-text/img_13.jpg", True), (COCO, False)])
def test_the_hold_out_never_changes(path, held):
  assert stvqa.held_out(path) == held
