"""The released models of Gemma's family."""

# The fields that a model is told by, besides its vocabulary.
SIZES = {"width", "depth", "mlp", "heads", "kv_heads", "head_dim", "post_norms"}
MODELS = {"Gemma 2B": "gemma_2b", "Gemma 7B": "gemma_7b", "Gemma 2 2B": "gemma2_2b",
          "Gemma 2 9B": "gemma2_9b", "Gemma 2 27B": "gemma2_27b", "VaultGemma 1B": "vault_gemma_1b"}
KAGGLE = [
    ("keras/gemma", "Gemma 2B", "gemma_2b_en/3 gemma_instruct_2b_en/3 gemma_1.1_instruct_2b_en/4"),
    ("keras/codegemma", "Gemma 2B", "code_gemma_2b_en/2 code_gemma_1.1_2b_en/2"),
    ("keras/gemma", "Gemma 7B", "gemma_7b_en/4 gemma_instruct_7b_en/4 gemma_1.1_instruct_7b_en/5"),
    ("keras/codegemma", "Gemma 7B",
     "code_gemma_7b_en/3 code_gemma_instruct_7b_en/3 code_gemma_1.1_instruct_7b_en/3"),
    ("keras/gemma2", "Gemma 2 2B", "gemma2_2b_en/2 gemma2_instruct_2b_en/2"),
    ("keras/gemma2", "Gemma 2 9B", "gemma2_9b_en/4 gemma2_instruct_9b_en/4"),
    ("keras/gemma2", "Gemma 2 27B", "gemma2_27b_en/3 gemma2_instruct_27b_en/3"),
    ("google/shieldgemma", "Gemma 2 2B", "shieldgemma_2b_en/2"),
    ("google/shieldgemma", "Gemma 2 9B", "shieldgemma_9b_en/2"),
    ("google/shieldgemma", "Gemma 2 27B", "shieldgemma_27b_en/2"),
    ("keras/cell2sentence", "Gemma 2 2B", "c2s_scale_gemma_2_2b_en/1"),
    ("keras/cell2sentence", "Gemma 2 27B", "c2s_scale_gemma_2_27b_en/1"),
    ("keras/vaultgemma", "VaultGemma 1B", "vault_gemma_1b_en/2"),
]
HUGGING_FACE = [
    ("google", "Gemma 2B", "gemma-2b gemma-2b-it gemma-1.1-2b-it codegemma-2b codegemma-1.1-2b"),
    ("google", "Gemma 7B",
     "gemma-7b gemma-7b-it gemma-1.1-7b-it codegemma-7b codegemma-7b-it codegemma-1.1-7b-it"),
    ("google", "Gemma 2 2B", "gemma-2-2b gemma-2-2b-it shieldgemma-2b"),
    ("google", "Gemma 2 9B", "gemma-2-9b gemma-2-9b-it shieldgemma-9b"),
    ("google", "Gemma 2 27B", "gemma-2-27b gemma-2-27b-it shieldgemma-27b"),
    ("google", "VaultGemma 1B", "vaultgemma-1b"),
]

# CodeGemma's instruction models do not fill in (its report, section 2).
FILL_IN = "<|fim_prefix|>{before}<|fim_suffix|>{after}<|fim_middle|>"


def prompts(name):
  code = name.startswith(("code_gemma", "google/codegemma"))
  return (FILL_IN,) if code and not name.endswith("-it") and "instruct" not in name else ()


def family_name(config):
  return "Gemma 2" if config.post_norms else "Gemma"
