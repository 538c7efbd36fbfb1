"""DOCCI, laid out as its files are."""
import json


def test_release(release, picture):
  names = ("train_00000", "test_00000", "qual_dev_00000", "qual_test_00001")
  rows = [{"example_id": name, "split": name[:-6], "image_file": f"{name}.jpg",
           "description": f"A long\nview of {name}."} for name in names]
  got = release("docci", {"docci_descriptions.jsonlines": "\n".join(map(json.dumps, rows)),
                          **{f"images/{name}.jpg": picture(i) for i, name in enumerate(names)}})
  assert {s: [e["example_id"] for e in split] for s, split in got.items()} == {
      name[:-6]: [name] for name in names}
  assert got["qual_test"][0]["image"] == picture(3)
  assert got["test"][0]["description"] == "A long\nview of test_00000."
