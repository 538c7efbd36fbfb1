"""MIMIC-CXR, laid out as the files at PhysioNet are; the reports are made up."""
import pytest

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with new cough  // eval for
 infection at 10:30

 COMPARISON:  None.

 FINDINGS:

 The lungs are clear.  Size: normal.

 IMPRESSION:

 No acute process.
"""
BOTH = " FINAL REPORT\n REASON FOR EXAM: Fever.\n\n FINDINGS AND IMPRESSION: Small effusion.\n"
NEITHER = " FINAL REPORT\n CHEST:  As compared to the previous radiograph, no change.\n"


def layout(picture):
  one, both, neither = (("10000032", "50414267"), ("11000001", "53000001"),
                        ("11000001", "53000002"))
  rows = [("a", *one, "train", "PA"), ("b", *one, "train", ""), ("c", *both, "train", "AP"),
          ("d", *neither, "train", "AP"), ("e", *one, "validate", "AP"), ("f", *both, "test", "AP")]
  return {
      "mimic-cxr-2.0.0-split.csv.gz": "dicom_id,study_id,subject_id,split\n" + "".join(
          f"{d},{study},{p},{split}\n" for d, p, study, split, _ in rows),
      "mimic-cxr-2.0.0-metadata.csv.gz": "dicom_id,subject_id,study_id,ViewPosition\n" + "".join(
          f"{d},{p},{study},{view}\n" for d, p, study, _, view in rows),
      "mimic-cxr-reports/files/p10/p10000032/s50414267.txt": REPORT,
      "mimic-cxr-reports/files/p11/p11000001/s53000001.txt": BOTH,
      "mimic-cxr-reports/files/p11/p11000001/s53000002.txt": NEITHER,
      **{f"files/p{p[:2]}/p{p}/s{study}/{d}.jpg": picture(ord(d)) for d, p, study, *_ in rows}}


@pytest.mark.parametrize("config, ids", [("frontal", ["a", "c"]), ("all", ["a", "b", "c"])])
def test_release(config, ids, release, picture):
  got = release(f"mimic_cxr/{config}", layout(picture))
  train = {e["dicom_id"]: e for e in got["train"]}
  assert sorted(train) == ids and [e["dicom_id"] for e in got["validate"]] == ["e"]
  first, other = train["a"], train["c"]
  assert first["indication"] == "___F with new cough // eval for infection at 10:30"
  assert (first["findings"], first["impression"]) == (
      "The lungs are clear. Size: normal.", "No acute process.")
  assert first["report"] == "The lungs are clear. Size: normal. No acute process."
  assert (first["study_id"], first["subject_id"], first["view"]) == (50414267, 10000032, "PA")
  assert first["image"] == picture(ord("a"))
  assert (other["indication"], other["report"], other["impression"]) == (
      "Fever.", "Small effusion.", "")
