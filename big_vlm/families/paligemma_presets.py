"""The released models of PaliGemma; the image size is the number at the end of a name.

Besides the tables there are big_vision's names of .npz files.
"""
import re

MODELS = {  # (variant of the tower, variant of the decoder)
    "PaliGemma 3B": ("So400m/14", "gemma_2b"),
    "PaliGemma 2 3B": ("So400m/14", "gemma2_2b"),
    "PaliGemma 2 10B": ("So400m/14", "gemma2_9b"),
    "PaliGemma 2 28B": ("So400m/14", "gemma2_27b"),
}
# The model that lies in the package, in the folder digits: configs/digits.py trains it.
DIGITS = dict(
    img=dict(variant="tiny", image_size=32, patch=8, width=128, depth=4, heads=4, mlp=512,
             remat="none", unroll=4),
    llm=dict(variant="tiny", vocab_size=480 + 1024 + 128, width=128, depth=2, heads=4, kv_heads=1,
             head_dim=32, mlp=256, remat="none", unroll=2))
DIGITS_TEXT_LEN = 36
DIGITS_PROMPTS = ("ocr", "caption {lang}", "detect {digit} ; {digit}", "answer en {question}")
VOCAB_SIZE = 257_152  # Gemma's 256,000, then 1024 <loc> and 128 <seg>
_SIZES = [("pt", 224), ("pt", 448), ("pt", 896), ("mix", 224), ("mix", 448)]
KAGGLE = [
    ("keras/paligemma", "PaliGemma 3B",
     "pali_gemma_3b_mix_224/4 pali_gemma_3b_mix_448/4 "
     "pali_gemma_3b_224/4 pali_gemma_3b_448/4 pali_gemma_3b_896/4"),
    ("keras/paligemma2", "PaliGemma 2 3B",
     "pali_gemma2_mix_3b_224/2 pali_gemma2_mix_3b_448/2 pali_gemma_2_ft_docci_3b_448/2 "
     "pali_gemma2_pt_3b_224/2 pali_gemma2_pt_3b_448/2 pali_gemma2_pt_3b_896/2"),
    ("keras/paligemma2", "PaliGemma 2 10B",
     "pali_gemma2_mix_10b_224/3 pali_gemma2_mix_10b_448/3 pali_gemma2_ft_docci_10b_448/3 "
     "pali_gemma2_pt_10b_224/3 pali_gemma2_pt_10b_448/3 pali_gemma2_pt_10b_896/3"),
    ("keras/paligemma2", "PaliGemma 2 28B",
     "pali_gemma2_mix_28b_224=pali_gemma2_28b_mix_224/3 "
     "pali_gemma2_mix_28b_448=pali_gemma2_28b_mix_448/3 "
     "pali_gemma2_pt_28b_224/4 pali_gemma2_pt_28b_448/3 pali_gemma2_pt_28b_896/3"),
]
HUGGING_FACE = [
    ("google", "PaliGemma 3B", " ".join(f"paligemma-3b-{kind}-{side}" for kind, side in _SIZES)),
    *(("google", f"PaliGemma 2 {size.upper()}", " ".join(
        [f"paligemma2-{size}-{kind}-{side}" for kind, side in _SIZES]
        + [f"paligemma2-{size}-ft-docci-448"] * (size != "28b"))) for size in ("3b", "10b", "28b")),
]
# The single-task transfers of PaliGemma, {prompt: tasks}: google/paligemma-3b-ft-TASK-SIZE at 224
# and 448, those with a * at 896 too, as the report has scores.
TRANSFERS = {
    "answer en {question}": ("aokvqa-da gqa infovqa* ocrvqa* okvqa rsvqa-hr rsvqa-lr stvqa* "
                             "tallyqa textvqa* vizwizvqa vqav2"),
    "answer en  {question} choose from: {options}": "ai2d aokvqa-mc",
    "answer en {sentence}": "nlvr2",
    "caption en": "cococap scicap screen2words textcaps widgetcap",
    "caption {lang}": "coco35l",
    "{question}": "chartqa docvqa*",
    "{sentence}": "refcoco-seg*",
    "Question: {question}\nContext: {hint}\nOptions: {indexed_choices}\nAnswer:": "science-qa",
}
_TASKS = sorted((task, prompt) for prompt, tasks in TRANSFERS.items() for task in tasks.split())
HUGGING_FACE += [("google", "PaliGemma 3B", " ".join(
    f"paligemma-3b-ft-{task.rstrip('*')}-{side}" for task, _ in _TASKS
    for side in (224, 448, 896)[:3 if task.endswith("*") else 2]))]
# What the models were pretrained on (arXiv 2407.07726, section 3.2.5), and what the mix ones answer
# by their cards.
PRETRAINED = ("caption {lang}", "ocr", "answer en {question}", "question {lang} {answer}",
              "detect {thing} ; {thing}", "segment {thing} ; {thing}", "caption {box}")
MIX = (*PRETRAINED[:2], "answer {lang} {question}", *PRETRAINED[3:6])
# big_vision's names of .npz files: "pt_224", "pt_3b_224".
NPZ = [("PaliGemma 3B", [f"{kind}_{side}" for kind, side in _SIZES]),
       *((f"PaliGemma 2 {size.upper()}", [f"{kind}_{size}_{side}" for kind, side in _SIZES])
         for size in ("3b", "10b", "28b"))]
FINE_TUNED = re.compile(r"google/paligemma-3b-ft-([a-z0-9-]+)-(224|448|896)")  # any of them
NPZ_NAME = re.compile(r"(pt|mix)_(?:(3b|10b|28b)_)?(224|448|896)(?:\.(f32|f16|bf16))?")
NPZ_ENDS = {"f32": (".npz", ".f32.npz"), "bf16": (".bf16.npz", ".b16.npz"), "f16": (".f16.npz",)}


def prompts(name):
  """The prompts that a model was trained on, with {fields}; () of a task that is not known."""
  if found := FINE_TUNED.fullmatch(name):
    return tuple(prompt for task, prompt in _TASKS if task.rstrip("*") == found[1])
  if "docci" in name:
    return ("caption en",)
  return MIX if "mix" in name else PRETRAINED


def npz_files(name):
  """File names under which a model of big_vision's may lie, the likeliest first.

  "pt_3b_224" and "pt_3b_224.bf16" -> big_vision's own pt_3b_224.bf16.npz, and
  paligemma2-3b-pt-224.b16.npz as on Kaggle; without a dtype float32 comes first.
  """
  kind, size, side, dtype = NPZ_NAME.fullmatch(name).groups()
  stems = [name.partition(".")[0],
           f"paligemma2-{size}-{kind}-{side}" if size else f"paligemma-3b-{kind}-{side}"]
  return [stem + end for key, ends in NPZ_ENDS.items() if dtype in (None, key)
          for end in ends for stem in stems]
