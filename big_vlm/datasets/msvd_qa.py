"""msvd_qa: MSVD-QA, questions on short YouTube clips.

Chen and Dolan, 2011 (the clips), Xu et al., 2017 (the questions). YouTubeClips.tar (1.7 GB) from
https://www.cs.utexas.edu/~ml/clamp/videoDescription/, the questions (7 MB) and
youtube_mapping.txt as linked from https://github.com/xudejing/video-question-answering:

  train_qa.json   val_qa.json   test_qa.json
  youtube_mapping.txt                          lines "-4wsuPCjDBc_5_15 vid1"
  YouTubeClips/-4wsuPCjDBc_5_15.avi

Every example contains its whole clip: the 50,505 questions take about 45 GB. A release without some
of the clips is incomplete; --allow_incomplete leaves their questions out.
"""
from big_vlm.datasets import base


class MsvdQa(base.Builder):
  FEATURES = dict(video=base.VIDEO, video_id=base.TEXT, question_id=base.INT,
                  question=base.TEXT, answer=base.TEXT)
  SPLITS = ("train", "valid", "test")
  COUNTS = {"train": 30933, "valid": 6415, "test": 13157}

  def records(self, raw, split):
    files = raw.stems("YouTubeClips/*.avi")
    names = {row["number"]: row["clip"] for row in
             raw.table("youtube_mapping.txt", delimiter=" ", columns=("clip", "number"))}
    rows = [{**q, "video_id": names[f"vid{q['video_id']}"]}
            for q in raw.json(f"{'val' if split == 'valid' else split}_qa.json")]
    return [(row["id"], {**row, "file": files[row["video_id"]]}) for row in rows
            if row["video_id"] in files]

  def example(self, raw, record):
    return dict(video=raw.bytes(record["file"]), video_id=record["video_id"],
                question_id=record["id"], question=record["question"], answer=record["answer"])
