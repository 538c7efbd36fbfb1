import dataclasses
import pathlib

import pytest

from big_vlm import presets
from big_vlm.checkpoints import uris
from big_vlm.families import paligemma, paligemma_presets

PALIGEMMA = {224: 2_923_335_408, 448: 2_924_220_144, 896: 2_927_759_088}
PALIGEMMA2_3B = {224: 3_032_094_960, 448: 3_032_979_696, 896: 3_036_518_640}
PALIGEMMA2_10B = {224: 9_662_409_456, 448: 9_663_294_192, 896: 9_666_833_136}
PALIGEMMA2_28B = {224: 27_650_192_112, 448: 27_651_076_848, 896: 27_654_615_792}
KERASHUB = {  # as KerasHub publishes them, but for its slips: 28B at 448 and 896, OPT 2.7b and 6.7b
    "pali_gemma_3b_mix_224": PALIGEMMA[224],
    "pali_gemma_3b_mix_448": PALIGEMMA[448],
    "pali_gemma_3b_224": PALIGEMMA[224],
    "pali_gemma_3b_448": PALIGEMMA[448],
    "pali_gemma_3b_896": PALIGEMMA[896],
    "pali_gemma_2_ft_docci_3b_448": PALIGEMMA2_3B[448],
    "pali_gemma2_ft_docci_10b_448": PALIGEMMA2_10B[448],
    "pali_gemma2_mix_3b_224": PALIGEMMA2_3B[224],
    "pali_gemma2_mix_3b_448": PALIGEMMA2_3B[448],
    "pali_gemma2_mix_10b_224": PALIGEMMA2_10B[224],
    "pali_gemma2_mix_10b_448": PALIGEMMA2_10B[448],
    "pali_gemma2_mix_28b_224": PALIGEMMA2_28B[224],
    "pali_gemma2_mix_28b_448": PALIGEMMA2_28B[448],
    "pali_gemma2_pt_3b_224": PALIGEMMA2_3B[224],
    "pali_gemma2_pt_3b_448": PALIGEMMA2_3B[448],
    "pali_gemma2_pt_3b_896": PALIGEMMA2_3B[896],
    "pali_gemma2_pt_10b_224": PALIGEMMA2_10B[224],
    "pali_gemma2_pt_10b_448": PALIGEMMA2_10B[448],
    "pali_gemma2_pt_10b_896": PALIGEMMA2_10B[896],
    "pali_gemma2_pt_28b_224": PALIGEMMA2_28B[224],
    "pali_gemma2_pt_28b_448": PALIGEMMA2_28B[448],
    "pali_gemma2_pt_28b_896": PALIGEMMA2_28B[896],
    "gemma_2b_en": 2_506_172_416,
    "gemma_instruct_2b_en": 2_506_172_416,
    "gemma_1.1_instruct_2b_en": 2_506_172_416,
    "code_gemma_1.1_2b_en": 2_506_172_416,
    "code_gemma_2b_en": 2_506_172_416,
    "gemma_7b_en": 8_537_680_896,
    "gemma_instruct_7b_en": 8_537_680_896,
    "gemma_1.1_instruct_7b_en": 8_537_680_896,
    "code_gemma_7b_en": 8_537_680_896,
    "code_gemma_instruct_7b_en": 8_537_680_896,
    "code_gemma_1.1_instruct_7b_en": 8_537_680_896,
    "gemma2_2b_en": 2_614_341_888,
    "gemma2_instruct_2b_en": 2_614_341_888,
    "gemma2_9b_en": 9_241_705_984,
    "gemma2_instruct_9b_en": 9_241_705_984,
    "gemma2_27b_en": 27_227_128_320,
    "gemma2_instruct_27b_en": 27_227_128_320,
    "shieldgemma_2b_en": 2_614_341_888,
    "shieldgemma_9b_en": 9_241_705_984,
    "shieldgemma_27b_en": 27_227_128_320,
    **dict.fromkeys(("gemma3_270m", "gemma3_instruct_270m", "function_gemma_instruct_270m"),
                    268_098_176),
    **dict.fromkeys(("gemma3_1b", "gemma3_instruct_1b"), 999_885_952),
    **dict.fromkeys(("gemma3_4b_text", "gemma3_instruct_4b_text"), 3_880_099_328),
    **dict.fromkeys(("gemma3_12b_text", "gemma3_instruct_12b_text"), 11_765_788_416),
    **dict.fromkeys(("gemma3_27b_text", "gemma3_instruct_27b_text", "medgemma_instruct_27b_text"),
                    27_009_002_240),
    "vault_gemma_1b_en": 1_038_741_120,
    "c2s_scale_gemma_2_2b_en": 2_614_341_888,
    "c2s_scale_gemma_2_27b_en": 27_227_128_320,
    "opt_125m_en": 125_237_760,
    "opt_1.3b_en": 1_315_753_984,
    "opt_2.7b_en": 2_651_591_680,
    "opt_6.7b_en": 6_658_465_792,
}
_B16 = {224: 203_155_970, 256: 203_202_050, 384: 203_447_810, 512: 203_791_874}
_SIGLIP2_B16 = {224: 375_187_970, 256: 375_234_050, 384: 375_479_810, 512: 375_823_874}
_SIGLIP2_L16 = {256: 881_526_786, 384: 881_854_466, 512: 882_313_218}
SIGLIP = {  # {the end of Hugging Face's name: parameters}
    **{f"siglip-base-patch16-{side}": count for side, count in _B16.items()},
    "siglip-large-patch16-256": 652_150_786, "siglip-large-patch16-384": 652_478_466,
    "siglip-so400m-patch14-224": 877_360_306, "siglip-so400m-patch14-384": 877_960_498,
    "siglip-base-patch16-256-multilingual": 370_626_050,
    "siglip-so400m-patch16-256-i18n": 1_128_758_962,
    "siglip2-base-patch32-256": 376_856_066,
    **{f"siglip2-base-patch16-{side}": count for side, count in _SIGLIP2_B16.items()},
    **{f"siglip2-large-patch16-{side}": count for side, count in _SIGLIP2_L16.items()},
    "siglip2-so400m-patch14-224": 1_135_463_602, "siglip2-so400m-patch14-384": 1_136_008_498,
    "siglip2-so400m-patch16-256": 1_135_670_962, "siglip2-so400m-patch16-384": 1_136_039_602,
    "siglip2-so400m-patch16-512": 1_136_555_698,
    "siglip2-giant-opt-patch16-256": 1_871_393_906, "siglip2-giant-opt-patch16-384": 1_871_885_426,
    "siglip2-base-patch16-naflex": 375_234_050, "siglip2-so400m-patch16-naflex": 1_135_670_962,
}
MEDSIGLIP = 878_300_338
KERASHUB |= {name.replace("-", "_"): count for name, count in SIGLIP.items()
             if not name.endswith(("naflex", "siglip2-base-patch16-512"))} | {
    "medsiglip_900m_448": MEDSIGLIP}
OTHERS = {  # one or more of each row of Hugging Face's and big_vision's names
    "google/paligemma-3b-mix-448": PALIGEMMA[448],
    "google/paligemma-3b-pt-896": PALIGEMMA[896],
    "google/paligemma-3b-ft-ai2d-224": PALIGEMMA[224],
    "google/paligemma-3b-ft-science-qa-448": PALIGEMMA[448],
    "google/paligemma-3b-ft-rsvqa-hr-896": PALIGEMMA[896],
    "google/paligemma2-3b-ft-docci-448": PALIGEMMA2_3B[448],
    "google/paligemma2-10b-pt-224": PALIGEMMA2_10B[224],
    "google/paligemma2-28b-pt-896": PALIGEMMA2_28B[896],
    "google/gemma-1.1-2b-it": 2_506_172_416,
    "google/codegemma-1.1-7b-it": 8_537_680_896,
    "google/gemma-2-2b": 2_614_341_888,
    "google/gemma-2-9b-it": 9_241_705_984,
    "google/shieldgemma-27b": 27_227_128_320,
    "google/vaultgemma-1b": 1_038_741_120,
    "facebook/opt-125m": 125_237_760,
    "facebook/opt-6.7b": 6_658_465_792,
    **{f"google/{name}": count for name, count in SIGLIP.items()},
    "google/medsiglip-448": MEDSIGLIP,
    "webli_en_b16_224_63724782": _B16[224], "webli_en_so400m_384_58765454": 877_960_498,
    "webli_i18n_so400m_16_256_78061115": 1_127_430_706,  # without a text head
    "siglip2_g-opt16_384": 1_871_885_426, "siglip2_so400m16_naflex": 1_135_670_962,
    "pt_224": PALIGEMMA[224],
    "mix_448": PALIGEMMA[448],
    "pt_896.f16": PALIGEMMA[896],
    "pt_3b_448": PALIGEMMA2_3B[448],
    "pt_28b_224.bf16": PALIGEMMA2_28B[224],
}


@pytest.mark.parametrize("name", KERASHUB | OTHERS)
def test_parameter_counts(name):
  preset = presets.resolve(name)
  assert preset.name == name
  assert presets.parameters(preset.config) == (KERASHUB | OTHERS)[name]


def test_every_name_of_kerashub_is_in_the_test():
  assert set(KERASHUB) == {p.name for p in presets.PRESETS.values() if "kaggle://" in p.uri}


def test_a_row_in_full():
  assert presets.resolve("pali_gemma2_mix_28b_224") == presets.Preset(
      "pali_gemma2_mix_28b_224",
      {"img": {"variant": "So400m/14", "image_size": 224},
       "llm": {"variant": "gemma2_27b", "vocab_size": 257_152, "window": None}},
      256, "kaggle://keras/paligemma2/keras/pali_gemma2_28b_mix_224/3", paligemma_presets.MIX)


@pytest.mark.parametrize("name,first", [
    ("pali_gemma_3b_224", "caption {lang}"), ("mix_448", "caption {lang}"),
    ("google/paligemma-3b-ft-nlvr2-448", "answer en {sentence}"),
    ("google/paligemma-3b-ft-docvqa-896-jax", "{question}"),
    ("google/paligemma2-3b-ft-docci-448", "caption en"), ("gemma_2b_en", None),
    ("google/codegemma-2b", "<|fim_prefix|>{before}<|fim_suffix|>{after}<|fim_middle|>"),
    ("code_gemma_instruct_7b_en", None), ("google/paligemma-3b-ft-of-yours-224", None)])
def test_prompts_that_a_model_knows(name, first):
  assert next(iter(presets.resolve(name).prompts), None) == first


def test_transfers_are_listed_with_the_prompts_of_their_configs():
  for task, prompt in paligemma_presets._TASKS:
    config = pathlib.Path("configs/transfers") / f"{task.rstrip('*').replace('-', '_')}.py"
    text = config.read_text().replace("{prefix}", "{sentence}").replace("question_text", "question")
    assert repr(prompt)[1:-1] in text, task
    assert len(presets.names(f"-ft-{task.rstrip('*')}-")) == 2 + task.endswith("*")


@pytest.mark.parametrize("name,vocabulary,window", [
    ("pali_gemma_3b_224", 257_152, None), ("pali_gemma2_pt_3b_224", 257_152, None),
    ("gemma_7b_en", 256_000, None), ("gemma2_9b_en", 256_000, 4096)])
def test_vocabulary_and_window(name, vocabulary, window):
  config = paligemma.config(**presets.resolve(name).config)
  assert (config.llm.vocab_size, config.llm.window) == (vocabulary, window)


@pytest.mark.parametrize("name,tokens", [
    ("pali_gemma_3b_224", 128), ("pali_gemma_3b_mix_224", 256), ("pali_gemma_3b_mix_448", 512),
    ("google/paligemma-3b-pt-896", 512), ("mix_3b_224", 256), ("gemma2_9b_en", 1024),
    ("google/siglip-so400m-patch14-224", 16), ("siglip2_b16_256", 64)])
def test_text_length(name, tokens):
  assert presets.resolve(name).text_len == tokens


@pytest.mark.parametrize("source,uri", [
    ("pali_gemma2_pt_28b_224", "kaggle://keras/paligemma2/keras/pali_gemma2_pt_28b_224/4"),
    ("code_gemma_1.1_2b_en", "kaggle://keras/codegemma/keras/code_gemma_1.1_2b_en/2"),
    ("shieldgemma_9b_en", "kaggle://google/shieldgemma/keras/shieldgemma_9b_en/2"),
    ("kaggle://keras/opt/keras/opt_125m_en", "kaggle://keras/opt/keras/opt_125m_en"),
    ("google/gemma-2-9b", "hf://google/gemma-2-9b"),
    ("hf://google/gemma-2-9b", "hf://google/gemma-2-9b"),
    ("hf://google/paligemma-3b-pt-224@bfloat16", "hf://google/paligemma-3b-pt-224@bfloat16"),
    ("google/paligemma-3b-ft-refcoco-seg-896@float16",
     "hf://google/paligemma-3b-ft-refcoco-seg-896@float16"),
    ("google/paligemma2-3b-pt-224-jax", "hf://google/paligemma2-3b-pt-224-jax"),
    ("hf://google/paligemma-3b-pt-224-jax@bfloat16/paligemma-3b-pt-224.bf16.npz",
     "hf://google/paligemma-3b-pt-224-jax@bfloat16/paligemma-3b-pt-224.bf16.npz"),
    ("pt_3b_224", "npz://pt_3b_224"),
    ("siglip2_base_patch16_256", "kaggle://keras/siglip/keras/siglip2_base_patch16_256/1"),
    ("siglip2_giant_opt_patch16_256", "kaggle://keras/siglip/keras/siglip2_giant_opt_patch16_256/2"),
    ("medsiglip_900m_448", "kaggle://keras/medsiglip/keras/medsiglip_900m_448/1"),
    ("siglip2_l16_512", "gs://big_vision/siglip2/siglip2_l16_512.npz"),
    ("webli_en_l16_384_63634585", "gs://big_vision/siglip/webli_en_l16_384_63634585.npz"),
    ("google/siglip2-base-patch16-naflex", "hf://google/siglip2-base-patch16-naflex"),
    ("pt_224.f16", "npz://pt_224.f16")])
def test_uris(source, uri):
  assert presets.resolve(source).uri == uri


def test_other_sources_are_no_presets(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / "a.npz").touch()
  for source in (tmp_path, "a.npz", "a.npz:img", "./a.npz", "hf://someone/some-model",
                 "gs://bucket/a.npz", "kaggle://someone/paligemma/keras/x/1"):
    assert presets.resolve(source) is None
  assert presets.resolve("pt_224")
  (tmp_path / "pt_224").mkdir()
  assert presets.resolve("pt_224") is None  # what is there comes first


def test_the_best_checkpoint_of_a_work_folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert presets.located("gs://bucket/W@best") == "gs://bucket/W/best"
  assert presets.located("hf://org/name@best") == "hf://org/name@best"  # a revision
  (tmp_path / "W").mkdir()
  with pytest.raises(FileNotFoundError, match="W has no best checkpoint"):
    presets.resolve("W@best")
  (tmp_path / "W" / "best").mkdir()
  assert presets.resolve("W@best") is None and presets.uri("W@best") == "W/best"
  assert uris.fetch("W@best") == "W/best"
  (tmp_path / "W@best").mkdir()
  assert presets.uri("W@best") == "W@best"  # what is there comes first
  with pytest.raises(ValueError, match="Unknown model 'nowhere/best'"):
    presets.resolve("nowhere@best")


@pytest.mark.parametrize("source,hint", [
    ("pali_gemma2_10b_mix", "Did you mean 'pali_gemma2_mix_10b_224'?"),
    ("pali_gema_3b_224", "Did you mean 'pali_gemma_3b_224'?"),
    ("google/paligemma-3b-pt-244", "Did you mean 'google/paligemma-3b-pt-224'?"),
    ("paligemma2-10b-mix", "Did you mean 'google/paligemma2-10b-mix-224'?"),
    ("pt_3b_225", "Did you mean 'pt_3b_224'?"),
    ("paligemma-3b-ft-okvqa-448", "Did you mean 'google/paligemma-3b-ft-okvqa-448'?"),
    ("someone/their-vit", "write 'hf://someone/their-vit'"),
    ("/no/such/folder", "no file or folder")])
def test_unknown_names(source, hint):
  with pytest.raises(ValueError) as error:
    presets.resolve(source)
  assert repr(source) in str(error.value) and hint in str(error.value)
  assert "`python -m big_vlm.presets` lists all names" in str(error.value)


def test_npz_files():
  npz_files = paligemma_presets.npz_files
  assert npz_files("pt_448.f16") == ["pt_448.f16.npz", "paligemma-3b-pt-448.f16.npz"]
  assert npz_files("mix_10b_448.bf16") == [
      "mix_10b_448.bf16.npz", "paligemma2-10b-mix-448.bf16.npz",
      "mix_10b_448.b16.npz", "paligemma2-10b-mix-448.b16.npz"]
  assert npz_files("pt_224")[0] == "pt_224.npz"  # float32, the reference
  assert set(npz_files("pt_224.bf16")) < set(npz_files("pt_224"))


TINY = {"img": {"variant": "tiny"}, "llm": {"variant": "tiny"}}
DESCRIBED = [
    (presets.resolve("pali_gemma2_pt_3b_448").config, "PaliGemma 2 3B at 448"),
    (presets.resolve("pali_gemma_3b_224").config, "PaliGemma 3B at 224"),
    ({"img": {"variant": "So400m/14", "image_size": 364}, "llm": {"variant": "gemma2_27b"}},
     "PaliGemma 2 28B at 364"),
    ({"llm": {"variant": "gemma2_9b", "window": None, "vocab_size": 7}}, "Gemma 2 9B"),
    ({"llm": {"variant": "vault_gemma_1b"}}, "VaultGemma 1B"),
    ({"llm": {"variant": "opt_1.3b"}}, "OPT 1.3b"),
    ({"llm": {"variant": "opt_1.3b", "width": 64, "heads": 4}}, "OPT of width 64, depth 24"),
    (presets.resolve("google/siglip-so400m-patch14-384").config, "SigLIP So400m/14 at 384"),
    (presets.resolve("siglip2_b16_naflex").config, "SigLIP 2 B/16 NaFlex"),
    (presets.resolve("webli_i18n_b16_256_66117334").config, "SigLIP B/16 i18n at 256"),
    ({"img": {"variant": "L/16", "pool": "map"}}, "image tower of SigLIP L/16 at 224"),
    ({"txt": {"variant": "text_tiny"}}, "SigLIP text tower of width 32, depth 2"),
    ({"img": {"variant": "tiny"}}, "SigLIP of width 32, depth 2, at 16"),
    ({"img": {"variant": "tiny"}, "llm": {"variant": "tiny2", "depth": 2}},
     "PaliGemma with Gemma 2 decoder of width 32, depth 2, at 16"),
    (TINY, "PaliGemma with Gemma decoder of width 32, depth 2, at 16"),
    ({"llm": {"variant": "tiny"}}, "Gemma of width 32, depth 2"),
    ({"img": {"variant": "So400m/14"}, "llm": {"variant": "gemma_7b"}},
     "PaliGemma with Gemma 7B, at 224"),
    ({"img": {"variant": "tiny"}, "llm": {"variant": "gemma_2b"}},
     "PaliGemma with Gemma 2B and a tower of width 32, depth 2, at 16"),
]


@pytest.mark.parametrize("config,words", DESCRIBED)
def test_describe(config, words):
  config = paligemma.config(**config)
  assert presets.describe(config) == words
  if config.llm:  # what does not change the architecture does not change the name
    other = dataclasses.replace(config.llm, dtype="bfloat16", remat="none")
    assert presets.describe(dataclasses.replace(config, llm=other)) == words


def test_the_printed_table(capsys):
  presets.main([])
  head, *lines = capsys.readouterr().out.splitlines()
  assert head.split() == ["NAME", "PARAMETERS", "IMAGE", "TEXT", "MODEL", "WEIGHTS"]
  rows = {line.split()[0]: line for line in lines if line}
  assert set(presets.PRESETS) <= set(rows)
  column = head.index("WEIGHTS")
  assert all(rows[name][column:] == p.uri for name, p in presets.PRESETS.items())
  assert rows["gemma2_9b_en"].split()[1:4] == ["9,241,705,984", "-", "1024"]
  presets.main(["ft-okvqa"])
  assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3]] == presets.names(
      "ft-okvqa")
  with pytest.raises(ValueError, match="No model has 'okvga' in its name"):
    presets.main(["okvga"])
