"""scicap: SciCap, captions of figures in computer science papers.

Hsu et al., 2021. From https://github.com/tingyaohsu/SciCap the archive scicap_data.zip (18 GB),
unzipped; for research without commercial use (CC BY-NC-SA 4.0):

  List-of-Files-for-Each-Experiments/First-Sentence/No-Subfig/train/file_idx.json
  SciCap-Caption-All/train/1001.0025v1-Figure2-1.json
  SciCap-No-Subfig-Img/train/1001.0025v1-Figure2-1.png   SciCap-Yes-Subfig-Img/train/...

A config is a choice of captions, single_sentence, first_sentence or leq_100_tokens, and a choice of
figures, with subfigures (_subfig_yes) or without (_subfig_no). The published transfer is
first_sentence_subfig_no.
"""
from big_vlm.datasets import base

CHOICES = {"single_sentence": "Single-Sentence-Caption", "first_sentence": "First-Sentence",
           "leq_100_tokens": "Caption-No-More-Than-100-Tokens"}
FOLDERS = {f"{name}_subfig_{part.lower()}": (folder, part)
           for name, folder in CHOICES.items() for part in ("Yes", "No")}


class SciCap(base.Builder):
  BUILDER_CONFIGS = base.configs({name: "/".join(folders) for name, folders in FOLDERS.items()})
  FEATURES = {
      "image": base.IMAGE, "image/id": base.TEXT, "image/filename": base.TEXT,
      "caption/originally_extracted": base.TEXT,
      "caption/lowercase_and_token_and_remove_figure_index": base.TEXT,
      "caption/normalized/basic_num": base.TEXT,
      "caption/normalized/advanced_equation_bracket": base.TEXT}
  SPLITS = ("train", "val", "test")
  COUNTS = {config: dict(zip(("train", "val", "test"), counts)) for config, counts in {
      "first_sentence_subfig_yes": (226_608, 28_326, 28_327),
      "first_sentence_subfig_no": (106_834, 13_354, 13_355),
      "single_sentence_subfig_yes": (123_698, 15_469, 15_531),
      "single_sentence_subfig_no": (75_494, 9_242, 9_459),
      "leq_100_tokens_subfig_yes": (216_392, 27_072, 27_036),
      "leq_100_tokens_subfig_no": (105_687, 13_215, 13_226)}.items()}

  def records(self, raw, split):
    choice, part = FOLDERS[self.builder_config.name]
    files = raw.json(f"List-of-Files-for-Each-Experiments/{choice}/{part}-Subfig/{split}/"
                     "file_idx.json")
    return [(name, {"filename": name, "split": split, "part": part}) for name in files]

  def example(self, raw, record):
    name, split = record["filename"], record["split"]
    image_id = name.removesuffix(".png")
    captions = raw.json(f"SciCap-Caption-All/{split}/{image_id}.json")
    normalized = captions["2-normalized"]
    return {
        "image": raw.image(f"SciCap-{record['part']}-Subfig-Img/{split}/{name}"),
        "image/id": image_id, "image/filename": name,
        "caption/originally_extracted": captions["0-originally-extracted"],
        "caption/lowercase_and_token_and_remove_figure_index":
            captions["1-lowercase-and-token-and-remove-figure-index"]["caption"],
        "caption/normalized/basic_num": normalized["2-1-basic-num"]["caption"],
        "caption/normalized/advanced_equation_bracket":  # the release misspells it
            normalized["2-2-advanced-euqation-bracket"]["caption"]}
