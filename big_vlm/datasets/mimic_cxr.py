"""mimic_cxr: MIMIC-CXR, chest radiographs with the reports of radiologists.

Johnson et al., 2019. For credentialed users of PhysioNet, who have signed its agreement: from
https://physionet.org/content/mimic-cxr-jpg/ the images (570 GB) and two tables, from
https://physionet.org/content/mimic-cxr/ the reports (mimic-cxr-reports.zip, 135 MB), unzipped into
a folder mimic-cxr-reports:

  mimic-cxr-2.0.0-split.csv.gz   mimic-cxr-2.0.0-metadata.csv.gz
  files/p10/p10000032/s50414267/02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.jpg
  mimic-cxr-reports/files/p10/p10000032/s50414267.txt

There is one example per image. Config "frontal" has the images of the views AP and PA, "all" has
every image. The builder finds the sections by their headings, and joins sections of one meaning.
`report` joins findings and impression; images of studies without both are left out. For published
results, an LLM removed mentions of earlier studies from the references; these references have them.
"""
import re

from big_vlm.datasets import base

HEADING = re.compile(r"^[ \t]*([A-Z][A-Z ()/,&-]*):", re.MULTILINE)
SECTIONS = {"findings": ("FINDING",), "impression": ("IMPRESSION",),
            "indication": ("INDICATION", "HISTORY", "REASON FOR")}


class MimicCxr(base.Builder):
  BUILDER_CONFIGS = base.configs({"frontal": "Images of the views AP and PA.",
                                  "all": "All images."})
  FEATURES = dict(image=base.IMAGE, dicom_id=base.TEXT, study_id=base.INT, subject_id=base.INT,
                  view=base.TEXT, report=base.TEXT, **dict.fromkeys(SECTIONS, base.TEXT))
  SPLITS = ("train", "validate", "test")

  def records(self, raw, split):
    views = {row["dicom_id"]: row["ViewPosition"]
             for row in raw.table("mimic-cxr-2.0.0-metadata.csv.gz")}
    found, studies = [], {}
    for row in raw.table("mimic-cxr-2.0.0-split.csv.gz"):
      view, subject = views[row["dicom_id"]], row["subject_id"]
      if row["split"] != split or (self.builder_config.name == "frontal"
                                   and view not in ("AP", "PA")):
        continue
      study = f"files/p{subject[:2]}/p{subject}/s{row['study_id']}"
      if study not in studies:
        studies[study] = sections(raw.text(f"mimic-cxr-reports/{study}.txt"))
      if studies[study]["findings"] or studies[study]["impression"]:
        found.append((row["dicom_id"], {**row, "study": study, "view": view, **studies[study]}))
    return found

  def example(self, raw, record):
    return dict(
        {key: record[key] for key in ("dicom_id", "view", *SECTIONS)},
        image=raw.image(f"{record['study']}/{record['dicom_id']}.jpg"),
        study_id=int(record["study_id"]), subject_id=int(record["subject_id"]),
        report=" ".join(filter(None, (record["findings"], record["impression"]))))


def sections(report):
  """{"findings", "impression", "indication"} of a report's text, each on one line or ""."""
  found = {name: [] for name in SECTIONS}
  _, *parts = HEADING.split(report)
  for heading, text in zip(parts[::2], parts[1::2]):
    for name, words in SECTIONS.items():
      if any(word in heading for word in words):
        found[name] += text.split()
        break
  return {name: " ".join(words) for name, words in found.items()}
