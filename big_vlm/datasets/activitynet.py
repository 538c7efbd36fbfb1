"""activitynet: long videos of activities, with captions of segments ("cap") or questions ("qa").

ActivityNet Captions, Krishna et al., 2017: captions.zip (30 MB) from
https://cs.stanford.edu/people/ranjaykrishna/densevid/. ActivityNet-QA, Yu et al., 2019: the
folder dataset (5 MB) of https://github.com/MILVLG/activitynet-qa. The videos are those of
ActivityNet 1.3, http://activity-net.org/download.html: downloaded from YouTube, or all by
request, several hundred GB. One folder holds all of them, in their own containers:

  train.json      val_1.json     val_2.json                       of "cap"
  train_q.json    train_a.json   and the same of val and test     of "qa"
  videos/v_QOlSCBRmfWY.mp4   videos/v_ehGHCYKzyZ8.mkv

Some videos are no longer on YouTube: the splits hold the examples whose videos are in the folder.
Of the captions, "valid" is val_1 and "test" is val_2, which describes the same videos again.

Every example contains its whole video, and a video has about 4 captions and 10 questions: scale
the videos down first, to 320 pixels for example, at their own frame rate.
"""
from big_vlm.datasets import base

CAPTIONS = {"train": "train.json", "valid": "val_1.json", "test": "val_2.json"}


class Activitynet(base.Builder):
  BUILDER_CONFIGS = base.configs({"cap": "One example for each segment, in seconds.",
                                  "qa": "One example for each question."})
  FEATURES = {
      "cap": dict(video=base.VIDEO, video_id=base.TEXT, segment_id=base.TEXT,
                  segment_start=base.FLOAT, segment_end=base.FLOAT, captions=base.TEXTS),
      "qa": dict(video=base.VIDEO, video_id=base.TEXT, question_id=base.TEXT, question=base.TEXT,
                 question_type=base.INT, answer=base.TEXT)}
  SPLITS = ("train", "valid", "test")

  def records(self, raw, split):
    rows = self._segments if self.builder_config.name == "cap" else self._questions
    files = raw.stems("videos/*")
    return [(key, {"file": files[row["video_id"]], "row": row}) for key, row in rows(raw, split)
            if row["video_id"] in files]

  def _segments(self, raw, split):
    for name, video in raw.json(CAPTIONS[split]).items():
      pairs = zip(video["timestamps"], video["sentences"], strict=True)
      for i, ((start, end), sentence) in enumerate(pairs):
        key = f"{name}_{i}"
        yield key, dict(video_id=name, segment_id=key, segment_start=start, segment_end=end,
                        captions=[sentence.strip()])

  def _questions(self, raw, split):
    file = "val" if split == "valid" else split
    answers = {a["question_id"]: a for a in raw.json(f"{file}_a.json")}
    for q in raw.json(f"{file}_q.json"):
      key = q["question_id"]
      yield key, dict(video_id=f"v_{q['video_name']}", question_id=key, question=q["question"],
                      question_type=answers[key]["type"], answer=answers[key]["answer"])

  def example(self, raw, record):
    return {"video": raw.bytes(record["file"]), **record["row"]}
