"""The released text models of Gemma 3."""
from big_vlm.families.gemma import presets

SIZES = presets.SIZES - {"post_norms"}
MODELS = {"Gemma 3 270M": "gemma3_270m", "Gemma 3 1B": "gemma3_1b", "Gemma 3 4B": "gemma3_4b",
          "Gemma 3 12B": "gemma3_12b", "Gemma 3 27B": "gemma3_27b"}
# The variations on Kaggle without "_text" have the image tower too.
KAGGLE = [
    ("keras/gemma3", "Gemma 3 270M", "gemma3_270m/3 gemma3_instruct_270m/4"),
    ("keras/gemma3", "Gemma 3 1B", "gemma3_1b/3 gemma3_instruct_1b/3"),
    ("keras/gemma3", "Gemma 3 4B", "gemma3_4b_text/2 gemma3_instruct_4b_text/3"),
    ("keras/gemma3", "Gemma 3 12B", "gemma3_12b_text/3 gemma3_instruct_12b_text/3"),
    ("keras/gemma3", "Gemma 3 27B", "gemma3_27b_text/4 gemma3_instruct_27b_text/3"),
    ("keras/medgemma", "Gemma 3 27B", "medgemma_instruct_27b_text/1"),
    ("keras/function-gemma", "Gemma 3 270M", "function_gemma_instruct_270m/1"),
]
HUGGING_FACE = [
    ("google", "Gemma 3 270M", "gemma-3-270m gemma-3-270m-it"),
    ("google", "Gemma 3 1B", "gemma-3-1b-pt gemma-3-1b-it"),
    ("google", "Gemma 3 27B", "medgemma-27b-text-it"),
]


def family_name(config):
  del config
  return "Gemma 3"
