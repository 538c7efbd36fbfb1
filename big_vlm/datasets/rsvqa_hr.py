"""rsvqa_hr: RSVQA-HR, questions on aerial photographs of 15 cm per pixel, with answers from a map.

Lobry et al., 2020. From https://zenodo.org/records/6344367 (14 GB) the questions and answers of
the splits train, val, test and test_phili, and Images.tar, unpacked:

  USGS_split_train_questions.json   USGS_split_train_answers.json   ... test_phili_answers.json
  Data/0.png

test_2 is test_phili, photographs of another city with another camera. Config "nonum" leaves out the
questions for a number (area and count), as the published transfer does; "all" keeps them. Areas in
`answers` are binned, as in the paper; `raw_answers` has them unchanged.
"""
from big_vlm.datasets import base

FILES = {"train": "train", "val": "val", "test": "test", "test_2": "test_phili"}


class RsvqaHr(base.Builder):
  BUILDER_CONFIGS = base.configs({"nonum": "Without questions for a number.",
                                  "all": "All questions."})
  FEATURES = dict(
      image=base.IMAGE, filename=base.TEXT, question_id=base.INT, question=base.TEXT,
      question_type=base.TEXT, answers=base.TEXTS, raw_answers=base.TEXTS)
  SPLITS = tuple(FILES)
  COUNTS = {"all": {"train": 625_340, "val": 102_843, "test": 222_684, "test_2": 105_647},
            "nonum": {"train": 371_834, "val": 60_405, "test": 131_468, "test_2": 62_554}}
  PREFIX = "USGS_split"
  FILENAME = "Data/{}.png"
  NUMERIC = ("area", "count")
  BINNED, UNIT = "area", " m2"

  def records(self, raw, split):
    name = f"{self.PREFIX}_{FILES[split]}"
    answers = {a["id"]: a for a in raw.json(f"{name}_answers.json")["answers"]}
    return [(q["id"], {**q, "answer": answers[q["answers_ids"][0]]["answer"]})
            for q in raw.json(f"{name}_questions.json")["questions"]
            if q["active"] and not (self.builder_config.name == "nonum"
                                    and q["type"] in self.NUMERIC)]

  def image(self, raw, name):
    """The bytes of an image, in a format that pp decodes."""
    return raw.image(name)

  def example(self, raw, record):
    name, answer = self.FILENAME.format(record["img_id"]), record["answer"]
    binned = record["type"] == self.BINNED
    return dict(
        image=self.image(raw, name), filename=name.rpartition("/")[2], question_id=record["id"],
        question=record["question"], question_type=record["type"], raw_answers=[answer],
        answers=[_binned(int(answer.removesuffix("m2")), self.UNIT) if binned else answer])


def _binned(number, unit):
  low = 1
  for high in (10, 100, 1000):
    if 0 < number <= high:
      return f"between {low}{unit} and {high}{unit}"
    low = high + 1
  return f"more than 1000{unit}" if number else f"0{unit}"
