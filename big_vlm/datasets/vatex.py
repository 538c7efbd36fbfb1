"""vatex: VATEX, 10-second clips of actions with 10 English captions each.

Wang et al., 2019. From https://eric-xw.github.io/vatex-website/ the annotations (60 MB), from
YouTube the clips (Kinetics-600), in any container; the end of a name gives the first and the last
second. The builder does not read the captions in Chinese.

  vatex_training_v1.0.json   vatex_validation_v1.0.json   vatex_public_test_english_v1.1.json
  videos/Ptf_2VRj-V0_000122_000132.mp4

Some of the 25,991, 3,000 and 6,000 videos are no longer on YouTube: the splits hold those in the
folder. The private test set has no captions.
"""
from big_vlm.datasets import base

FILES = {"train": "vatex_training_v1.0.json", "valid": "vatex_validation_v1.0.json",
         "test": "vatex_public_test_english_v1.1.json"}


class Vatex(base.Builder):
  FEATURES = dict(video=base.VIDEO, video_id=base.TEXT, captions=base.TEXTS)
  SPLITS = tuple(FILES)

  def records(self, raw, split):
    files = raw.stems("videos/*")
    return [(row["videoID"], {"file": files[row["videoID"]], "row": row})
            for row in raw.json(FILES[split]) if row["videoID"] in files]

  def example(self, raw, record):
    row = record["row"]
    return dict(video=raw.bytes(record["file"]), video_id=row["videoID"], captions=row["enCap"])
