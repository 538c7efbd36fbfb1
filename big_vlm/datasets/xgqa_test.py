"""xGQA: zero-shot by default; few-shot splits of each language in a config of their own."""
import pytest

from big_vlm.datasets import xgqa


def questions(what):
  return {"201640614": {"question": f"{what}?", "imageId": "n235859", "isBalanced": True,
                        "answer": "women", "fullAnswer": "The women.", "semantic": []}}


def test_zero_shot_is_the_default(release, picture):
  files = {f"annotations/zero_shot/testdev_balanced_questions_{language}.json": questions(language)
           for language in xgqa.LANGUAGES}
  splits = release("xgqa", files | {"images/n235859.jpg": picture(1)})
  assert set(splits) == {f"test_zs_{language}" for language in xgqa.LANGUAGES}
  (example,) = splits["test_zs_de"]
  assert example["example_id"] == "201640614_de" and example["image/id"] == "n235859"
  assert (example["question"], example["answer"]) == ("de?", "women")
  assert example["image"] == picture(1)


@pytest.fixture
def german(monkeypatch):
  splits = tuple(s for s in xgqa.XGqa.SPLITS["few_shot"] if s.endswith("_de"))
  monkeypatch.setattr(xgqa.XGqa, "SPLITS", {"few_shot": splits})  # 64 splits take seconds


def test_few_shot(release, picture, german):
  files = {f"annotations/few_shot/de/{name}.json": questions(name)
           for name in ("test", "dev", *(f"train_{n}" for n in (1, 5, 10, 20, 25, 48)))}
  splits = release("xgqa/few_shot", files | {"images/n235859.jpg": picture(1)})
  asked = {split: example["question"] for split, (example,) in splits.items()}
  assert len(asked) == 8 and asked["dev_fs_de"] == "dev?" and asked["test_fs_de"] == "test?"
  assert asked["train_fs1_de"] == "train_1?" and asked["train_fs48_de"] == "train_48?"
