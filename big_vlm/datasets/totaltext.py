"""totaltext: Total-Text, words in photographs, many of them curved.

Ch'ng and Chan, 2017. From https://github.com/cs-chan/Total-Text-Dataset the images (totaltext.zip,
441 MB, page of the folder Dataset) and the ground truth as text files (txt_format.zip, page of the
folder Groundtruth/Text: the legacy version, for which scores are published). For non-commercial
research.

  Images/Train/img11.jpg                Images/Test/img1.jpg
  txt_format/Train/poly_gt_img11.txt    txt_format/Test/poly_gt_img1.txt

A word is "x: [[..]], y: [[..]], ornt: [u'c'], transcriptions: [u'WORD']", on one or more lines. The
features are those of icdar15; illegible words ("#") are in "ignored".
"""
import ast
import re

from big_vlm.datasets import base, icdar15

WORD = re.compile(r"x: \[\[(.*?)\]\],\s*y: \[\[(.*?)\]\],\s*ornt: \[.*?\],\s*"
                  r"transcriptions: (\[.*?\])\s*(?=x: \[\[|\Z)", re.DOTALL)


class Totaltext(base.Builder):
  FEATURES = icdar15.WORDS
  SPLITS = ("train", "test")
  COUNTS = {"train": 1255, "test": 300}

  def records(self, raw, split):
    folder = split.capitalize()
    images = raw.stems(f"Images/{folder}/*.[jJ][pP][gG]")
    files = raw.stems(f"txt_format/{folder}/poly_gt_*.txt")
    return [(name, {"id": name, "image": images[name], "file": files[f"poly_gt_{name}"]})
            for name in images]

  def example(self, raw, record):
    return icdar15.example(raw, record, _words(raw.text(record["file"]), record["file"]))


def _words(text, file):
  found = WORD.findall(text)
  if len(found) != text.count("x: [["):
    raise ValueError(f"{file} has {text.count('x: [[')} words, of which {len(found)} are written "
                     "as x: [[..]], y: [[..]], ornt: [..], transcriptions: [..].")
  for xs, ys, word in found:
    points = zip(*([int(n) for n in re.findall(r"-?\d+", c)] for c in (xs, ys)), strict=True)
    try:
      word = "".join(ast.literal_eval(word))
    except (ValueError, SyntaxError) as e:
      raise ValueError(f"{file}: the transcription {word} cannot be read, {e}.") from e
    yield list(points), None if word in ("", "#") else word
