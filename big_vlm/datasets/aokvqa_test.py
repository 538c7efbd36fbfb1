"""A-OKVQA: answers are hidden in test, and must be there elsewhere."""
import pytest

QUESTION = {"question_id": "22MexNkBPpdZGX6sxbxVBH", "image_id": 42, "question": "why?",
            "choices": ["a", "b", "c", "d"], "difficult_direct_answer": False}
ANSWERS = {"direct_answers": ["ride"] * 10, "correct_choice_idx": 2, "rationales": ["as"] * 3}


def files_of(picture):
  files = {"aokvqa_v1p0_test.json": [QUESTION]}
  for value, split in enumerate(("train", "val", "test")):
    files[f"{split}2017/000000000042.jpg"] = picture(value)
    files.setdefault(f"aokvqa_v1p0_{split}.json", [QUESTION | ANSWERS])
  return files


def test_release(release, picture):
  splits = release("aokvqa", files_of(picture))
  (known,), (hidden,) = splits["val"], splits["test"]
  assert known["image"] == picture(1) and hidden["image"] == picture(2)
  assert list(known["direct_answers"]) == ["ride"] * 10 and len(known["answer_rationales"]) == 3
  assert known["multiple_choice_correct_idx"] == 2 and not known["direct_answer_is_difficult"]
  assert len(hidden["direct_answers"]) == len(hidden["answer_rationales"]) == 0
  assert hidden["multiple_choice_correct_idx"] == -1
  assert list(hidden["multiple_choice_possible_answers"]) == ["a", "b", "c", "d"]


def test_a_question_of_val_without_its_answer_is_an_error(release, picture):
  with pytest.raises(ValueError, match="aokvqa, val, .*direct_answers"):
    release("aokvqa", files_of(picture) | {"aokvqa_v1p0_val.json": [QUESTION]})
