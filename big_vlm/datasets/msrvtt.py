"""msrvtt: MSR-VTT, short web videos with 20 captions each ("cap") or questions ("qa").

Xu et al., 2016, and MSRVTT-QA, Xu et al., 2017. From Microsoft's MSR-VTT pages the annotations
and the two archives of videos (about 6 GB, 10 to 30 seconds each); for "qa" the three JSON files
that https://github.com/xudejing/video-question-answering links to (25 MB), beside them:

  train_val_videodatainfo.json        test_videodatainfo.json         of "cap"
  train_qa.json   val_qa.json         test_qa.json                    of "qa"
  TrainValVideo/video0.mp4            TestVideo/video7010.mp4

Every example contains its whole video: "qa", with 24 questions on each, takes about 150 GB. A
release without some of the videos is incomplete; --allow_incomplete leaves these videos out.
"""
import collections

from big_vlm.datasets import base


class Msrvtt(base.Builder):
  BUILDER_CONFIGS = base.configs({"cap": "One example for each video.",
                                  "qa": "One example for each question."})
  FEATURES = {
      "cap": dict(video=base.VIDEO, video_id=base.TEXT, captions=base.TEXTS),
      "qa": dict(video=base.VIDEO, video_id=base.TEXT, question_id=base.INT,
                 question=base.TEXT, answer=base.TEXT)}
  SPLITS = ("train", "valid", "test")
  COUNTS = {"cap": {"train": 6513, "valid": 497, "test": 2990},
            "qa": {"train": 158581, "valid": 12278, "test": 72821}}

  def records(self, raw, split):
    rows = self._videos(raw, split) if self.builder_config.name == "cap" else self._qa(raw, split)
    files = raw.stems("*Video/*.mp4")
    return [(key, {"file": files[row["video_id"]], "row": row}) for key, row in rows
            if row["video_id"] in files]

  def _videos(self, raw, split):
    info = raw.json("test_videodatainfo.json" if split == "test" else
                    "train_val_videodatainfo.json")
    captions = collections.defaultdict(list)
    for sentence in info["sentences"]:
      captions[sentence["video_id"]].append(sentence["caption"])
    named = {"valid": "validate"}.get(split, split)
    for video in info["videos"]:
      if video["split"] == named:
        name = video["video_id"]
        yield name, dict(video_id=name, captions=captions[name])

  def _qa(self, raw, split):
    for q in raw.json(f"{'val' if split == 'valid' else split}_qa.json"):
      yield q["id"], dict(video_id=f"video{q['video_id']}", question_id=q["id"],
                          question=q["question"], answer=q["answer"])

  def example(self, raw, record):
    return {"video": raw.bytes(record["file"]), **record["row"]}
