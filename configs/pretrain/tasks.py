"""The tasks of pretraining: prompt, answer, data, and open data to make up for private sets.

A task's examples are the lines of {data_dir}/{task}/*.jsonl, with the keys of Task.example. Paths
of images are relative to the file, boxes are (ymin, xmin, ymax, xmax) in 0..1 of the image, masks
COCO's run lengths. The files are not compressed, so that they are mapped and not held in memory.

The reports give tasks, prompts and sources (2407.07726, section 3.2.5), no weights: those here are
a choice. Stage 2 takes more of OCR, detection and segmentation and asks for all that there is to
read or find, as the report says. Images of transfer tasks and near-duplicates of them are not in
the reports' data: leave out COCO and Flickr30k at least.
"""
from typing import NamedTuple

# Images go through a random resize, JPEG coding and a very slight crop, against brittleness; its
# probability and area are a choice. With boxes there is no crop.
JPEG, AREA = 0.1, 95

RELAION = "Re-LAION-2B-multi-research-safe or DataComp-1B"
CC3M = "CC3M, translated into 34 languages with MADLAD-400"


class Task(NamedTuple):
  source: str  # of the reports
  substitute: str  # open data for it
  example: dict  # a line of its JSONL files
  pp: str  # from that to image, prefix and suffix
  weights: tuple  # in stages 1 and 2


def table(everything):
  """{name: Task}; everything: ask for all objects of an image, else for some of its labels'."""
  boxed = f"decode|random_jpeg({JPEG})|resize_r"
  image = f"decode|random_jpeg({JPEG})|inception_crop(area_min={AREA})|resize_r"
  caption = f"{image}|strfmt('caption {{lang}}', outkey='prefix')|copy('text', 'suffix')"
  answer = f"{image}|strfmt('answer en {{question}}', outkey='prefix')|copy('answer', 'suffix')"
  captioned = dict(image="1.jpg", lang="de", text="ein Hund im Schnee")
  asked = dict(image="1.jpg", lang="de", question="wie viele Hunde sind zu sehen?", answer="two")
  boxes = dict(image="1.jpg", boxes=[[0.1, 0.2, 0.6, 0.9]], labels=["dog"])
  find = "boxes='boxes', labels='labels', order='random'" + ", subset=True" * (not everything)
  return {
      "caption_webli": Task("WebLI, over 100 languages", RELAION, captioned, caption, (4., 2.)),
      "caption_cc3m35l": Task("CC3M-35L", CC3M, captioned, caption, (1., 0.5)),
      "caption_wit": Task("WIT", "WIT is open", captioned, caption, (0.5, 0.25)),
      # Snippets in raster order; where there are too many, some anywhere are left out.
      "ocr": Task(
          "WebLI, read by a public OCR system", f"{RELAION} and PDFA, read by PaddleOCR",
          dict(image="1.jpg", snippets=["EXIT", "Gate 4"]),
          f"{image}|choice(tokens_each=6, key='snippets', allow_fewer=True)|"
          "strjoin(' ', inkey='snippets', outkey='suffix')|strfmt('ocr', outkey='prefix')",
          (2., 6.)),
      "answer_cc3m35l": Task(
          "VQ2A-CC3M-35L: questions in 35 languages, English answers",
          f"{CC3M}; questions by an open language model, as in arXiv 2205.01883", asked, answer,
          (1., 0.5)),
      "question_cc3m35l": Task(
          "VQG-CC3M-35L", "the data of answer_cc3m35l", asked,
          f"{image}|strfmt('question {{lang}} {{answer}}', outkey='prefix')|"
          "copy('question', 'suffix')", (1., 0.5)),
      # "What objects are in the image?", "Is {thing} in the image?", "Which of {thing}, {thing}...
      # are in the image?", "How many {thing}?"
      "answer_openimages": Task(
          "OpenImages, questions by rules", "OpenImages V7 is open",
          dict(image="1.jpg", questions=["Is dog in the image?", "How many dog?"],
               answers=["yes", "2"]),
          f"{image}|choice(inkey=('questions', 'answers'), outkey=('question', 'answer'))|"
          + answer.removeprefix(f"{image}|"), (0.5, 0.25)),
      "detect": Task(
          "pseudo-labels in the manner of OWL-ViT v2", f"OpenImages V7; OWLv2 on {RELAION}", boxes,
          f"{boxed}|detect({find}, tokens_each=12)", (1.5, 5.)),
      "segment": Task(
          "pseudo-labels of OWL-ViT v2 and SAM", f"OpenImages V7; OWLv2 and SAM on {RELAION}",
          dict(boxes, masks=[dict(size=[6, 8], counts="=3300000;")]),
          boxed.replace("decode|", "decode|polygon_mask(key='masks')|")
          + f"|segment({find}, masks='masks', tokens_each=28)", (1.5, 5.)),
      "caption_box": Task(
          "LocCa (arXiv 2403.19596)", "GRIT-20M (arXiv 2306.14824)",
          dict(image="1.jpg", boxes=[[0.1, 0.2, 0.6, 0.9]], captions=["a dog in the snow"]),
          f"{boxed}|choice(key=('boxes', 'captions'))|"
          "caption_box(box='boxes', caption='captions')", (1., 1.)),
  }
