"""Each evaluator type scores a few hand-made predictions."""
import io
import json

import numpy as np
import pytest
from PIL import Image

from evaluators import (
    caption,
    classification,
    common,
    counting,
    detection,
    exact_match,
    label_list,
    mean,
    numbers,
    perplexity,
    segmentation,
    sequence_error,
    submission,
    tables,
    text_spotting,
    vqa,
)
from evaluators import json as json_type
from evaluators.metrics import caption as metrics_of_captions
from evaluators.predictions import to_json
from pp import locations
from pp.tokenizer import get_tokenizer


def row(prediction, suffix=None, prefix="answer en ?", **kw):
  return dict(id="a", prediction=prediction, prefix=prefix, **kw) | (
      {} if suffix is None else {"suffix": suffix})


def test_exact_match():
  rows = [row("3", "3"), row("three", "3"), row("3 ", "3")]
  assert exact_match.score(rows, None) == {"acc": pytest.approx(1 / 3)}
  assert [r["correct"] for r in rows] == [True, False, False]


def test_classes_count_the_same_however_rare_they_are():
  rows = [row(*pair, logprobs=[-.1, -.1], tokens=[5, 1]) for pair in
          (("cat", "cat"), ("cat ", "cat"), ("cat", "cat"), ("cow", "dog"))]
  assert classification.score(rows, None) == {
      "acc": .75, "balanced_acc": .5, "macro_f1": pytest.approx(1 / 3),
      "calibration_error": pytest.approx(np.exp(-.2) - .75)}
  assert [r["correct"] for r in rows] == [True, True, True, False]
  assert rows[3]["classes"] == ["dog", "cow"] and rows[0]["probability"] == np.exp(-.2)
  without = classification.score([row("cat", "cat")], None)
  assert np.isnan(without["calibration_error"]) and without["balanced_acc"] == 1
  assert "log-probabilities" in classification.UNDEFINED["calibration_error"]


def test_json():
  rows = [row('{"a": 1.0, "b": ["x", "y"]}', '{"b": ["x", "y"], "a": 1}'),
          row('{"a": 2, "b": ["y"]}', '{"a": 1, "b": ["x", "y"]}'), row("a: 1", '{"a": 1}')]
  assert json_type.score(rows, None) == {
      "exact": pytest.approx(1 / 3), "field_acc": pytest.approx(4 / 7),
      "field_f1": pytest.approx(8 / 12), "parses": pytest.approx(2 / 3),
      "tree_acc": pytest.approx((1 + 5 / 8 + 0) / 3)}
  assert [r["correct"] for r in rows] == [True, False, False]
  with pytest.raises(ValueError, match="'a' is not JSON"):
    json_type.score([row("{}", "{")], None)


def test_lists_of_labels():
  rows = [row("dog,cat", "cat, dog"), row("cat, cow", "cat"), row("", "")]
  assert label_list.score(rows, None) == {
      "micro_f1": pytest.approx(6 / 7), "macro_f1": pytest.approx(2 / 3), "all_right": 2 / 3}
  assert label_list.score([row("a;b", "b ; a")], None, separator=";")["all_right"] == 1
  assert np.isnan(label_list.score([row("", "")], None)["micro_f1"])
  with pytest.raises(ValueError, match="separator=' ' is not a text"):
    label_list.check(" ")


def test_numbers():
  rows = [row("3", "4"), row("1,000", "1000"), row("many", "2")]
  assert numbers.score(rows, None) == {"mae": .5, "rmse": pytest.approx(.5**.5),
                                       "not_numbers": pytest.approx(1 / 3)}
  assert [(r["score"], r["correct"]) for r in rows] == [(1, False), (0, True), (None, False)]
  assert np.isnan(numbers.score([row("many", "2")], None)["mae"]) and "mae" in numbers.UNDEFINED
  with pytest.raises(ValueError, match="'two' of the prediction 'a', which is not a number"):
    numbers.score([row("3", "two")], None)


TEN = ["2"] * 3 + ["two"] + ["Two."] + ["3"] * 5
OPTIONS = dict(multiple_choice_possible_answers=["cat", "dog"], multiple_choice_correct_idx=1)


@pytest.mark.parametrize("metric, rows, scores, results", [
    ("exact", [row("Yes", answer="yes"), row("no", answer="no")], [0, 1],
     {"accuracy": .5, "accuracy_ignoring_case": 1}),
    ("accuracy", [row("2", answers=TEN), row("x", answers=["x"])], [1, 1 / 3],
     {"accuracy": 2 / 3, "any_match": 1}),
    ("vizwiz", [row("two", answers=TEN)], [1 / 3],
     {"accuracy": 1 / 3, "any_match": 1, "vqav2_accuracy": 1, "vizwiz_accuracy": .9}),
    ("vqav2", [row("3", answers=TEN, answer_type="number"),
               row("no", answers=["yes"] * 9 + ["no"], answer_type="yes/no")], [1, .3],
     {"accuracy": .65, "accuracy/number": 1, "accuracy/yes_no": .3}),
    ("textvqa", [row("1,000", answers=["1000"] * 10)], [0], {"accuracy": 0, "mmf_accuracy": 1}),
    ("anls", [row("ab", answers=["ad", "zz"]), row("abc", answers=["abd"])], [0, 2 / 3],
     {"anls": 1 / 3, "anls_server": (.5 + 2 / 3) / 2, "any_match": 0}),
    ("relaxed", [row("2019", answer="2000"), row("12%", answer="12")], [1, 0],
     {"relaxed_accuracy": .5, "accuracy": 0, "relaxed_accuracy_without_units": 1,
      "relaxed_accuracy_exact_years": 0}),
    ("aokvqa_da", [row("a", answers=["a"] * 3, direct_answer_is_difficult=False),
                   row("b", answers=["a"] * 3, direct_answer_is_difficult=True)], [1, 0],
     {"accuracy": .5, "official_accuracy": 1}),
    ("aokvqa_mc", [row("dog", answer="dog", **OPTIONS), row("dogs", answer="dog", **OPTIONS)],
     [1, 0], {"accuracy": .5, "nearest_accuracy": 1, "valid": .5}),
    ("rsvqa", [row("yes", answers=["yes"], question_type="presence"),
               row("less", answers=["more"], question_type="comp"),
               row("4", answers=["4"], question_type="count")], [1, 0, 1],
     {"accuracy": .5, "accuracy/presence": 1, "accuracy/comp": 0, "accuracy/count": 1,
      "overall_accuracy": 2 / 3, "average_accuracy": 2 / 3}),
    ("science_qa", [row("The answer is B.", answer="The answer is b."),
                    row("b", answer="The answer is b.")], [1, 0],
     {"accuracy": .5, "parse_failures": .5}),
    ("mmvp", [row("(a)", answer="(a)", choices=["Open", "Shut"], pair=0),
              row("Shut", answer="(b)", choices=["Open", "Shut"], pair=0),
              row("Open", answer="(b)", choices=["Open", "Shut"], pair=1)], [1, 1, 0],
     {"pair_accuracy": .5, "accuracy": 2 / 3}),
    ("nlvr2", [row("True", answer="True", example_id="dev-1-0-0"),
               row("true", answer="True", example_id="dev-1-1-0"),
               row("True", answer="False", example_id="dev-1-0-1")], [1, 0, 0],
     {"accuracy": 1 / 3, "accuracy_ignoring_case": 2 / 3, "consistency": .5}),
])
def test_vqa(metric, rows, scores, results):
  assert vqa.score(rows, None, metric=metric) == pytest.approx(results)
  assert [r["score"] for r in rows] == pytest.approx(scores)
  assert [r["correct"] for r in rows] == [score >= .5 for score in scores]
  assert all(r["suffix"] in r["references"] for r in rows)
  assert {name.partition("/")[0] for name in results} <= set(vqa.PERCENT)


@pytest.mark.parametrize("answer", ["2", {"answer": "2", "answer_id": 1}, b"2", np.str_("2"), 2,
                                    np.int64(2), {"answer": b"2"}])
def test_an_answer_is_a_text_a_number_or_a_record(answer):
  assert vqa.score([row("2", answers=[answer])], None, metric="exact")["accuracy"] == 1


def test_what_the_examples_leave_undefined_is_nan():
  """CIDEr of one image, AP of crowds alone: 0 and pycocotools' -1 would be read as results."""
  rows = [row("a cat", captions=["a cat"])]
  assert np.isnan(caption.score(rows, None)["cider"]) and rows[0]["score"] is None
  rows = [row("a dog", captions=["a cat"]), row("a", captions=["a dog"])]
  assert caption.score(rows, None)["cider"] == 0 and rows[0]["score"] == 0
  crowd = row("", image_size=[64, 64], **{
      "objects/bbox": [[0, 0, .5, .5]], "objects/label": ["cat"], "objects/is_crowd": [True]})
  metrics = detection.score([crowd], None)
  assert list(metrics) == ["AP"] and np.isnan(metrics["AP"])
  assert "AP" in detection.UNDEFINED and "cider" in caption.UNDEFINED


def test_a_training_leaves_undefined_metrics_out_and_says_why(tmp_path, monkeypatch, capsys):
  one = common.Evaluator("cap", None, None, None, type="caption", data={}, pp="decode",
                         batch_size=1, max_new_tokens=4)
  monkeypatch.setattr(common.Evaluator, "_tokenizer", None)
  one.predict = lambda params: [row("a cat", captions=["a cat"])]
  assert set(one.run(None, tmp_path, 3)) == {"cap/bleu4", "cap/rouge_l", "cap/exact"}
  assert "cap/cider - (CIDEr weighs words" in capsys.readouterr().out
  assert mean.Mean("avg", [one], "cider").run(None, tmp_path, 3) == {}


def test_pope_by_both_rules():
  rows = [row("Yes", answer="yes"), row("it is", answer="yes"), row("no", answer="no")]
  metrics = vqa.score(rows, None, metric="pope")
  assert metrics["accuracy"] == pytest.approx(2 / 3) and metrics["valid"] == pytest.approx(2 / 3)
  assert metrics["official_accuracy"] == 1
  assert [r["group"] for r in rows] == ["yes", "yes", "no"]


def test_smiles():
  metrics = vqa.score([row("CCO", answer="CCO"), row("OCC", answer="CCO")], None, metric="smiles")
  assert metrics["accuracy"] == .5 and metrics.get("canonical_match", 1) == 1


def test_to_lower_is_of_both_sides():
  rows = [row("YES", answers=["Yes"])]
  assert vqa.score(rows, None, metric="anls", to_lower=True)["any_match"] == 1
  assert rows[0]["prediction"] == "YES" and rows[0]["references"] == ["Yes"]


@pytest.mark.parametrize("metric, bad, complaint", [
    ("anls", row("x"), "scores by 'answer', which the prediction 'a' lacks"),
    ("anls", row("x", answers=[]), "'a' has no answers to score by.*type `submission`"),
    ("anls", row("x", answers="yes"), "no answers to score by, but 'yes'"),
    *(("exact", row("x", answers=[bad]), f"'a' has the answer {bad}, which is neither a text")
      for bad in (True, None, {}, float("nan"))),
    ("vqav2", row("x", answers=["y"]), "leaves one annotator out"),
    ("rsvqa", row("x", answers=["y"]), "scores by 'question_type'"),
    ("rsvqa", row("x", answers=["y"], question_type="colour"), "Unknown type of question"),
    ("pope", row("x", answer="Yes"), "must be 'yes' or 'no'"),
    ("science_qa", row("x", answer="b"), "not of the form 'The answer is b.'"),
    ("exat", row("x", answer="b"), "metric of the evaluator type vqa 'exat'. Did you mean 'exact'"),
])
def test_questions_that_cannot_be_scored(metric, bad, complaint):
  with pytest.raises(ValueError, match=complaint):
    vqa.score([bad], None, metric=metric)


def test_caption_counts_any_of_several_references():
  rows = [row("a cat", "-", captions=["a dog", "a cat"]), row("two dogs", "two cats"),
          row("one red bird", "one red bird")]
  metrics = caption.score(rows, None)
  assert metrics["exact"] == pytest.approx(2 / 3) and metrics["cider"] > 1
  assert rows[1]["score"] < rows[2]["score"]
  want = metrics_of_captions.scores({i: r["prediction"] for i, r in enumerate(rows)},
                                    {i: r["references"] for i, r in enumerate(rows)})
  for ours, theirs in (("cider", "cider"), ("bleu4", "bleu_4"), ("rouge_l", "rouge_l")):
    assert metrics[ours] == want[theirs]
  assert np.mean([r["score"] for r in rows]) == pytest.approx(metrics["cider"])


def test_captions_without_spaces_are_scored_by_character_too():
  rows = [row("猫がいる", captions=["犬がいる"]), row("赤い車", captions=["赤い車"])]
  metrics = caption.score(rows, None, language="ja")
  assert metrics["rouge_l"] == .5 < metrics["rouge_l_characters"]
  assert "cider_characters" not in caption.score(rows, None, language="de")
  with pytest.raises(ValueError, match="empty list of references"):
    caption.score([row("x", captions=[])], None)


def test_lengths_of_captions():
  rows = [row("A cat. It is 3.5 m long!", captions=["x"]), row("no end", captions=["y"])]
  metrics = caption.score(rows, None, lengths=True)
  assert (metrics["chars"], metrics["sentences"]) == (15, 1)


def test_counting():
  rows = [row("two", answer=2, issimple=1), row("3", answer="4", issimple=0),
          row("17", answer="seventeen", issimple=-1)]
  assert counting.score(rows, None) == pytest.approx(
      {"accuracy": 2 / 3, "accuracy/simple": 1, "accuracy/complex": 0})
  assert [r.get("group") for r in rows] == ["simple", "complex", None]
  assert counting.score([row("2", answer="2")], None) == {"accuracy": 1}


def test_sequence_error():
  rows = [row("a b\nc", answer="a b\nd"), row("x", answer="x")]
  metrics = sequence_error.score(rows, None)
  assert metrics == pytest.approx({"cer": 100 / 6, "ser": 100 / 5, "ler": 100 / 3})
  assert [r["score"] for r in rows] == [25, 0] and rows[0]["errors"]["ler"] == [1, 2]


def test_tables():
  html = "<html><body><table><tr><td>a</td><td>b</td></tr></table></body></html>"
  said = (html, html.replace(">b<", ">c<"), "<table")
  rows = [row(text, html=html) for text in said]
  metrics = tables.score(rows, None)
  # Tree edit: one of three elements, whose text of one character is another.
  assert metrics == pytest.approx({"teds": (1 + 2 / 3) / 3, "s_teds": 2 / 3, "grits_top": 2 / 3,
                                   "grits_con": (1 + 1 / 2) / 3})
  assert [r["correct"] for r in rows] == [True, False, False]


def test_perplexity():
  rows = [row("", "x", nlls=[1., 3.]), row("", "y", nlls=[5.])]
  assert perplexity.score(rows, None) == pytest.approx(
      {"nll": 3.5, "nll_per_token": 3, "perplexity": np.exp(3)})
  with pytest.raises(ValueError, match="has no tokens: its prompt fills the text"):
    perplexity.score([row("", "", nlls=[])], None)


@pytest.mark.parametrize("format, key, ids, want", [
    ("vqav2", "question_id", (1, 2), [{"question_id": 1, "answer": "x"},
                                      {"question_id": 2, "answer": "y"}]),
    ("docvqa", "question_id", (1, 2), [{"questionId": 1, "answer": "x"},
                                       {"questionId": 2, "answer": "y"}]),
    ("vizwiz", "image/filename", ("test/1.jpg", "2.jpg"), [{"image": "1.jpg", "answer": "x"},
                                                           {"image": "2.jpg", "answer": "y"}]),
    ("aokvqa_mc", "question_id", ("q1", "q2"), {"q1": {"multiple_choice": "x"},
                                                "q2": {"multiple_choice": "y"}}),
    ("aokvqa_da", "question_id", ("q1", "q2"), {"q1": {"direct_answer": "x"},
                                                "q2": {"direct_answer": "y"}}),
])
def test_submissions(format, key, ids, want):
  rows = [row("x", **{key: ids[0]}), row("y", **{key: ids[1]})]
  assert submission.submission(rows, format) == want
  assert submission.score(rows, None, format) == {"examples": 2} and rows[0]["score"] is None
  with pytest.raises(ValueError, match="1 ids come more than once"):
    submission.score([*rows, rows[0]], None, format)
  with pytest.raises(ValueError, match=f"scores by '{key}', which the prediction 'a' lacks"):
    submission.score([row("x")], None, format)


BOX, FAR = (0.25, 0.25, 0.75, 0.75), (0., 0., 0.2, 0.2)


def boxes(text, references, **kw):
  return row(text, "", image_size=[32, 32],
             **{"objects/bbox": np.array([b for b, _ in references], np.float32).reshape(-1, 4),
                "objects/label": np.array([label for _, label in references])}, **kw)


@pytest.mark.parametrize("said,there,share,ap50", [
    ([(BOX, "3")], [(BOX, 3)], 1, 1),
    ([(BOX, "4")], [(BOX, 3)], 0, 0),  # right box, wrong digit
    ([(FAR, "3")], [(BOX, 3)], 0, 0),
    ([(BOX, "3"), (FAR, "3")], [(BOX, 3)], 1 / 2, 1),  # AP forgives a worse second box
    ([(BOX, "3"), (BOX, "3")], [(BOX, 3)], 1 / 2, 1),  # one box counts once
    ([], [(BOX, 3)], 0, 0),
])
def test_detection(said, there, share, ap50):
  text = locations.format_objects(*zip(*said)) if said else ""
  rows = [boxes(text, there)]
  metrics = detection.score(rows, None)
  assert metrics["AP50"] == pytest.approx(ap50, abs=1e-6)
  assert rows[0]["score"] == pytest.approx(share)


@pytest.mark.parametrize("confidence, tokens", [
    ("all", (6, 8)), ("box", (4, 4)), ("label", (2, 2)), ("box_label", (6, 6))])
def test_an_object_is_ranked_by_its_tokens(tokenizer, confidence, tokens):
  tok = get_tokenizer(tokenizer)
  answer = locations.format_objects([BOX, FAR], ["3", "7"])
  ids = tok.to_int(answer, eos=True)
  logprobs = [-0.1 * (";" not in tok.piece(i)) for i in ids]
  found = list(detection.objects({"tokens": ids, "logprobs": logprobs, "prediction": answer}, tok,
                                 detection.CONFIDENCES[confidence]))
  assert [o["label"] for o in found] == ["3", "7"]
  np.testing.assert_allclose([o["box"] for o in found], [BOX, FAR], atol=1e-3)
  # Of all: 4 locations, space, digit; the second with a space and the eos as well.
  np.testing.assert_allclose([o["score"] for o in found], np.exp(-0.1 * np.array(tokens)))


def test_crowds_count_neither_way_and_areas_are_those_of_the_data():
  said, there = [(BOX, "3"), (FAR, "4")], [(BOX, 3), (FAR, 4)]
  rows = [boxes(locations.format_objects(*zip(*said)), there, height=640, width=640,
                **{"objects/is_crowd": [False, True], "objects/area": [900., 90_000.]})]
  metrics = detection.score(rows, None)
  assert metrics["AP"] == pytest.approx(1, abs=1e-6) and metrics["APs"] == metrics["AP"]
  assert "APl" not in metrics and [b["label"] for b in rows[0]["ref_boxes"]] == ["3"]


WORD = [[.1, .1], [.5, .1], [.5, .3], [.1, .3]]
PLACE = (.1, .1, .3, .5)


def test_text_spotting():
  words = {"objects/label": ["Exit"], "objects/polygon": [json.dumps(WORD)],
           "ignored/polygon": [json.dumps([[x + .4, y + .5] for x, y in WORD])],
           "image_size": [100, 200]}
  rows = [row(locations.format_objects([PLACE, (.6, .5, .8, .9)], ["Exit", "##"]), **words),
          row(locations.format_objects([PLACE], ["exit"]), **words)]
  metrics = text_spotting.score(rows, None)
  assert (metrics["precision"], metrics["recall"], metrics["detection_f1"]) == (.5, .5, 1)
  assert [r["score"] for r in rows] == [1, 0]
  np.testing.assert_allclose(rows[0]["ref_boxes"][0]["box"], PLACE)


def test_segmentation(monkeypatch):
  whole = lambda codes: np.ones((len(codes), 64, 64, 1))
  monkeypatch.setattr(segmentation, "decoder", lambda path: whole)
  true = np.zeros((40, 80), np.uint8)
  true[10:20, 20:60] = 255
  png = io.BytesIO()
  Image.fromarray(true).save(png, "PNG")
  place = (.25, .25, .5, .75)
  answer = locations.box_to_loc(place) + locations.seg_codes([1] * 16)
  there = {"objects/mask": to_json(png.getvalue()), "objects/bbox": list(place),
           "image": np.zeros((8, 8, 3), np.uint8)}
  rows = [row(answer, **there), row("no idea", **there), row("<loc0000>" * 4, **there)]
  metrics = segmentation.score(rows, None)
  assert rows[0]["score"] > .85 and rows[0]["correct"] and not rows[1]["correct"]
  assert metrics["miou"] == pytest.approx(rows[0]["score"] / 3)
  assert metrics["boxacc/0.5"] == pytest.approx(1 / 3) and metrics["invalid"] == 2 / 3
  assert rows[0]["pred_mask"].shape == rows[0]["ref_mask"].shape == (40, 80)
  np.testing.assert_array_equal(rows[0]["ref_mask"], true > 0)
  assert "pred_mask" not in rows[1]


def test_masks_need_the_vqvae(monkeypatch):
  monkeypatch.delenv("BIG_VLM_MASK_VQVAE", raising=False)
  with pytest.raises(ValueError, match="vae-oid.npz decodes the masks of answers"):
    segmentation.score([row("", **{"objects/mask": [[1]], "objects/bbox": [0, 0, 1, 1]})], None)


HERE = {"objects/bbox": [[0, 0, .5, .5]], "objects/label": ["a"], "image_size": [9, 9]}


@pytest.mark.parametrize("evaluator, bad, complaint", [
    (detection, HERE | {"objects/bbox": [[0, 0, 50, 50]]}, "in 0..1 of the image"),
    (detection, HERE | {"objects/bbox": [[.5, 0, 0, 1]]}, "not ymin <= ymax"),
    (detection, HERE | {"objects/label": "a"}, "lists of equal length.*'a'"),
    (detection, HERE | {"objects/is_crowd": []}, r"lists of equal length.*objects/is_crowd=\[\]"),
    (text_spotting, HERE | {"objects/polygon": ["[[0, 0]"], "ignored/polygon": []},
     "polygon of the example 'a' is a list of three"),
    (text_spotting, HERE | {"objects/polygon": [], "ignored/polygon": []}, "0 objects/polygon"),
    (sequence_error, {"answer": ""}, "no text in the 1 given"),
    (exact_match, {"suffix": True}, "neither a text nor a number"),
    (caption, {"captions": []}, "empty list of references"),
])
def test_references_that_make_no_sense(evaluator, bad, complaint):
  with pytest.raises(ValueError, match=complaint):
    evaluator.score([row("", **bad)], None)


def test_references_that_are_read_as_meant():
  assert exact_match.score([row("5", suffix=5)], None) == {"acc": 1}
  assert caption.score([row("a cat", captions="a cat")], None)["exact"] == 1


@pytest.mark.parametrize("evaluator, keys", [
    (exact_match, "suffix"), (caption, "suffix"), (counting, "answer"), (detection, "objects/bbox"),
    (segmentation, "objects/mask"), (text_spotting, "objects/label"), (tables, "html"),
    (sequence_error, "answer"), (perplexity, "nlls")])
def test_a_prediction_without_a_key_that_its_evaluator_needs(evaluator, keys):
  name = evaluator.__name__.rpartition(".")[2]
  with pytest.raises(ValueError, match=f"'{name}' scores by '{keys}', which the prediction 'a'"):
    evaluator.score([row("x")], None)
  with pytest.raises(ValueError, match=f"'{name}' has nothing to score"):
    evaluator.score([], None)


def test_a_tokenizer_without_locations_is_refused(data_dir):
  tok = get_tokenizer(f"sp(model='{data_dir}/digits/tiny/1.0.0/tokenizer.model')")
  kw = dict(tokens=[5], logprobs=[-1.])
  words = {"objects/label": [], "objects/polygon": [], "ignored/polygon": [], "image_size": [8, 8]}
  mask = {"objects/mask": [[1]], "objects/bbox": [0, 0, 1, 1]}
  for evaluator, bad in ((detection, boxes("", [(BOX, 3)], **kw)),
                         (text_spotting, row("", **words)), (segmentation, row("", **mask))):
    with pytest.raises(ValueError, match="tokenizer does not know <loc0000>"):
      evaluator.score([bad], tok)
