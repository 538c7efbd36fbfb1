"""COCO-35L: one file holds all languages; English is what the German captions translate."""
import pytest

from big_vlm.datasets import coco35l


@pytest.fixture
def two_languages(monkeypatch):
  splits = tuple(s for s in coco35l.Coco35l.SPLITS if s.split("_")[1] in ("de", "en"))
  assert len(splits) == 4 and len(coco35l.Coco35l.SPLITS) == 70
  monkeypatch.setattr(coco35l.Coco35l, "SPLITS", splits)  # 70 splits take seconds


def row(image, n, language):
  return {"image_id": f"{image}_{n}", "caption_tokenized": f"a \"fr\" cat {n} .", "src_lang": "en",
          "trg_lang": language, "translation_tokenized": f"{language} {n}",
          "backtranslation_tokenized": "a cat"}


def test_release(release, picture, two_languages):
  rows = [row(image, n, language) for image in (9, 42) for n in (0, 1) for language in ("fr", "de")]
  splits = release("coco35l", {
      "coco_mt_train.jsonl": rows, "coco_mt_dev.jsonl": rows[:4],
      "train2014/COCO_train2014_000000000009.jpg": picture(9),
      "val2014/COCO_val2014_000000000042.jpg": picture(42)})
  german = {x["image/id"]: x for x in splits["train_de"]}
  assert set(german) == {"9_de", "42_de"}
  assert german["9_de"]["image"] == picture(9) and german["42_de"]["image"] == picture(42)
  assert list(german["42_de"]["captions"]) == ["de 0", "de 1"]
  (english,) = splits["dev_en"]
  assert english["image/id"] == "9_en" and english["language"] == "en"
  assert list(english["captions"]) == ['a "fr" cat 0 .', 'a "fr" cat 1 .']
