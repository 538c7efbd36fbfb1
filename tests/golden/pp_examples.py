"""A tiny example for each data set of big_vision's PaliGemma configs, with that data set's keys.

Images are small but not square, and mostly encoded, as in the data sets.
"""
import io

import numpy as np
from PIL import Image


def pixels(height=40, width=56, seed=0):
  y, x = np.mgrid[:height, :width]
  waves = np.stack([128 + 90 * np.sin(x / (5 + c)) * np.cos(y / 6 + seed) for c in range(3)], -1)
  return waves.astype(np.uint8)


def encoded(array, format="JPEG"):
  buffer = io.BytesIO()
  Image.fromarray(array).save(buffer, format)
  return buffer.getvalue()


def mask(height=40, width=56):
  y, x = np.mgrid[:height, :width]
  disc = ((y - 20) ** 2 + (x - 24) ** 2 < 15 ** 2).astype(np.uint8) * 255
  return np.repeat(disc[..., None], 3, axis=-1)


def texts(*strings):
  return np.array(strings, object)


def example(**features):
  return {"_id": 7, "image": encoded(pixels()), **features}


QUESTION = {"question": "What is this?", "question_id": 12}
VIDEO = {"_id": 7, "example/video_id": "v_1",
         "episodic_images": texts(*(encoded(pixels(seed=s)) for s in range(3)))}
CLIP = {"clip/start/timestamp": np.float32(1.5), "clip/end/timestamp": np.float32(4)}
CAPTIONS = texts("A cat.", "Ein Hund, schwarz")
ONE_OBJECT = {"mask": mask()[None], "bbox": np.array([[0.1, 0.2, 0.9, 0.7]], np.float32),
              "refs": {"sentence": texts(texts("the left one"))}}

EXAMPLES = {
    "activitynet_cap": {**VIDEO, "caption/string": CAPTIONS, "segment_start": np.float32(0.5),
                        "segment_end": np.float32(3)},
    "activitynet_qa": {**VIDEO, "question": texts("why?"), "answer": texts("so"), "id": 3},
    "ai2d": example(id="ai2d/1", question="Which one is a leaf?", answer="b",
                    possible_answers=texts("a", "b", "c")),
    "aokvqa_da": example(**QUESTION, direct_answers=texts("a cat", "cat", "a cat")),
    "aokvqa_mc": example(**QUESTION, multiple_choice_possible_answers=texts("dog", "cat"),
                         multiple_choice_correct_idx=1),
    "chartqa": example(**QUESTION, answer="42%"),
    "coco35l": example(**{"image/id": "17_de"}, captions=CAPTIONS, language="de"),
    "cococap": example(**{"image/id": 17}, captions={"text": CAPTIONS, "id": np.arange(2)},
                       texts=CAPTIONS),
    "docvqa": example(**QUESTION, answers=texts("Paris", "paris")),
    "forkme": example(id="0", prefix="", suffix="the answer"),
    "gqa": example(example_id=5, question="Is it red?", answer="no"),
    "infovqa": example(**QUESTION, answers=texts("ÄB, C", "c, äb")),
    "msrvtt_cap": {**VIDEO, **CLIP, "caption/string": CAPTIONS},
    "msvd_qa": {**VIDEO, **CLIP, "question": texts("who?"), "answer": texts("me"), "id": 3},
    "nlvr2": {"_id": 7, "image_left": pixels(30, 44), "image_right": pixels(52, 31, seed=1),
              "sentence": "Both are blue.", "label": "True", "example_id": "dev-1"},
    "ocrvqa": example(int_id=9, question="Who wrote it?", answer="me"),
    "okvqa": example(**QUESTION, answers=texts("race", "racing")),
    "pope": example(**QUESTION, answer="yes"),
    "refcoco_seg": example(width=56, height=40, objects=ONE_OBJECT),
    "rsvqa_hr": example(**QUESTION, question_type="presence", answers=texts("Yes")),
    "scicap": example(**{"image/id": "f1", "caption/lowercase_and_token_and_remove_figure_index":
                         "results of bracket-tk ."}),
    "science_qa": example(question="Which?", hint="N/A", choices=texts("up", "down", "left"),
                          answer=2, indexed_choices="(A) up, (B) down, (C) left",
                          indexed_answer="C", lecture="Lecture.", solution="Solution."),
    "screen2words": example(**{"image/id": 4}, summary=CAPTIONS),
    "tallyqa": example(question="How many?", question_id=3, answer=11, issimple=1, number=4),
    "textcaps": example(**{"image/id": 4}, texts=CAPTIONS),
    "textvqa": example(**QUESTION, answers=texts("stop", "STOP")),
    "vatex_cap": {**VIDEO, "caption/string": CAPTIONS},
    "vertexai_l4": example(id="0", prefix="", suffix="the answer"),
    "vizwizvqa": example(**{"image/filename": "v.jpg"}, question="What is it?",
                         answers=texts("can", "a can")),
    "vqav2": example(question_text="What?", question_type="what", answer_type="other",
                     question_id=1, answers=texts("a", "b")),
    "widgetcap": example(**{"image/id": 4}, texts=CAPTIONS,
                         bbox=np.array([0.1, 0.25, 0.6, 0.75], np.float32)),
}
