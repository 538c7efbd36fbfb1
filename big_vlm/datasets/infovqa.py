"""infovqa: InfographicVQA, questions on infographics of the web.

Mathew et al., 2022; for research. From https://rrc.cvc.uab.es/?ch=17&com=downloads (account
needed), task 3: infographicsvqa_qas.zip and infographicsvqa_images.tar.gz (5,485 images, about
3 GB), each unpacked in a folder of its name:

  infographicsvqa_qas/infographicsVQA_train_v1.0.json
  infographicsvqa_qas/infographicsVQA_val_v1.0_withQT.json
  infographicsvqa_qas/infographicsVQA_test_v1.0.json
  infographicsvqa_images/30000.jpeg

An answer of several parts, "a, b", is right in any order: val, the split for scores, lists it in
every order. The answers of test are not public: the lists are empty.
"""
import itertools

from big_vlm.datasets import base

FILES = dict(train="train_v1.0", val="val_v1.0_withQT", test="test_v1.0")


class InfoVqa(base.Builder):
  FEATURES = dict(question_id=base.INT, filename=base.TEXT, question=base.TEXT, answers=base.TEXTS,
                  image=base.IMAGE)
  SPLITS = ("train", "val", "test")
  COUNTS = {"train": 23946, "val": 2801, "test": 3288}

  def records(self, raw, split):
    hidden = {"answers": []} if split == "test" else {}
    questions = raw.json(f"infographicsvqa_qas/infographicsVQA_{FILES[split]}.json")["data"]
    return [(q["questionId"], {**hidden, **q, "split": split}) for q in questions]

  def example(self, raw, record):
    answers, name = record["answers"], record["image_local_name"]
    if record["split"] == "val":
      answers = [", ".join(order) for answer in answers
                 for order in itertools.permutations(answer.split(", "))]
    return dict(question_id=record["questionId"], filename=name, question=record["question"],
                answers=answers, image=raw.image(f"infographicsvqa_images/{name}"))
