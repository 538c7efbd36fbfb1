"""ICDAR 2015, laid out as the official files are."""
import json

import numpy as np
import pytest


def test_release(release, picture):
  train = ("\ufeff377,117,463,117,465,130,378,130,Genaxis Theatre\r\n"
           "-5,150,409,155,409,170,374,1000,###\r\n0,0,80,0,80,6,0,6,1,000\r\n\r\n")
  images = {f"ch4_{split}_images/img_{i}.jpg": picture(i, size=(800, 600))
            for split, i in (("training", 1), ("training", 10), ("test", 7))}
  splits = release("icdar15", images | {
      "ch4_training_localization_transcription_gt/gt_img_1.txt": train,
      "ch4_training_localization_transcription_gt/gt_img_10.txt": "",
      "Challenge4_Test_Task4_GT/gt_img_7.txt": "0,0,8,0,8,6,0,6,Würth"})
  example, empty = sorted(splits["train"], key=lambda e: e["image/id"])
  assert (example["image/id"], example["image"]) == ("img_1", picture(1, size=(800, 600)))
  assert list(example["objects"]["label"]) == ["Genaxis Theatre", "1,000"]
  np.testing.assert_allclose(example["objects"]["bbox"][0],
                             np.array([117, 377, 130, 465]) / [600, 800, 600, 800], rtol=1e-6)
  assert json.loads(example["objects"]["polygon"][1]) == [[0, 0], [0.1, 0], [0.1, 0.01], [0, 0.01]]
  # What cannot be read stands apart; its box ends at the border, its polygon does not.
  np.testing.assert_allclose(example["ignored"]["bbox"], [[0.25, 0, 1, 409 / 800]], rtol=1e-6)
  assert json.loads(example["ignored"]["polygon"][0])[0] == [-0.00625, 0.25]
  assert empty["objects"]["bbox"].shape == (0, 4) and not len(empty["ignored"]["polygon"])
  assert splits["test"][0]["objects"]["label"][0] == "Würth"


def test_a_line_of_another_task(release, picture):
  folders = "ch4_training_localization_transcription_gt", "Challenge4_Test_Task4_GT"
  files = {f"{folder}/gt_img_1.txt": "38,43,920,215,Tiredness" for folder in folders}
  with pytest.raises(ValueError, match="gt_img_1.txt, line 1 is not x1,y1,.*Tiredness"):
    release("icdar15", files | {"ch4_training_images/img_1.jpg": picture()})
