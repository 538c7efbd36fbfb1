"""DocLayNet core, laid out as the official files are: all pages in one folder."""
import numpy as np


def test_release(release, picture):
  files = {}
  for i, split in enumerate(("train", "val", "test")):
    files[f"PNG/{i}ffb847ae.png"] = picture(i, "PNG")
    files[f"COCO/{split}.json"] = {
        "images": [{"id": i, "width": 1025, "height": 1025, "file_name": f"{i}ffb847ae.png",
                    "collection": "ann_reports_00_04_fancy", "doc_name": "a.pdf", "page_no": 9,
                    "precedence": 0, "doc_category": "financial_reports"}],
        "annotations": [{"id": 0, "image_id": i, "category_id": 10, "iscrowd": 0,
                         "bbox": [102.5, 205, 410, 512.5], "area": 210125.0, "precedence": 0,
                         "segmentation": [[102.5, 205, 102.5, 717.5, 512.5, 717.5, 512.5, 205]]}],
        "categories": [{"supercategory": "Text", "id": 10, "name": "Text"},
                       {"supercategory": "Title", "id": 11, "name": "Title"}]}
  for i, (split, examples) in enumerate(release("doclaynet", files).items()):
    [example] = examples
    assert (example["image"], example["image/id"]) == (picture(i, "PNG"), i), split
    assert example["doc_category"] == "financial_reports"
    assert list(example["objects"]["label"]) == ["Text"]
    np.testing.assert_allclose(example["objects"]["bbox"], [[0.2, 0.1, 0.7, 0.5]], rtol=1e-6)
