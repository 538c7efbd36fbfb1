"""The small files beside the weights: as released they pass; what differs is refused by name."""
import json
import pathlib
import re
import shutil

import pytest

from big_vlm.checkpoints import hf_settings, keras, load
from big_vlm.families import gemma, paligemma, paligemma_hf
from big_vlm.formats import config_json
from pp import tokenizer_files
from pp.tokenizer import get_tokenizer, train_sentencepiece

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden"
IDS = dict(bos_token_id=2, eos_token_id=1, pad_token_id=0)
AS_DICT = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
IMAGES = dict(
    do_convert_rgb=None, do_normalize=True, do_rescale=True, do_resize=True, image_mean=[0.5] * 3,
    image_processor_type="SiglipImageProcessor", image_std=[0.5] * 3, resample=3,
    rescale_factor=0.00392156862745098, size={"height": 28, "width": 28})
DUMPED = dict(  # what transformers 4 writes of each part when all of it is written
    return_dict=True, output_hidden_states=False, output_attentions=False, torchscript=False,
    torch_dtype=None, use_bfloat16=False, tf_legacy_loss=False, pruned_heads={},
    tie_word_embeddings=True, chunk_size_feed_forward=0, is_encoder_decoder=False, is_decoder=False,
    cross_attention_hidden_size=None, add_cross_attention=False, tie_encoder_decoder=False,
    max_length=20, min_length=0, do_sample=False, early_stopping=False, num_beams=1,
    num_beam_groups=1, diversity_penalty=0.0, temperature=1.0, top_k=50, top_p=1.0, typical_p=1.0,
    repetition_penalty=1.0, length_penalty=1.0, no_repeat_ngram_size=0,
    encoder_no_repeat_ngram_size=0, bad_words_ids=None, num_return_sequences=1, output_scores=False,
    return_dict_in_generate=False, forced_bos_token_id=None, remove_invalid_values=False,
    suppress_tokens=None, architectures=None, id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0},
    tokenizer_class=None, prefix=None, sep_token_id=None, decoder_start_token_id=None,
    task_specific_params=None, problem_type=None, _name_or_path="", transformers_version="4.47.0",
    _attn_implementation_autoset=False)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
  """A tokenizer string with the control pieces of Gemma's, <loc> and <seg>."""
  file = tmp_path_factory.mktemp("sp") / "tokenizer.model"
  train_sentencepiece(["detect cat"] * 20, file, 300)
  return f"sp(model='{file}', tokensets=('loc', 'seg'))"


@pytest.fixture
def check(tokenizer, tmp_path):
  """A function (images, file=dict, ...) that writes the files and checks them."""
  size = get_tokenizer(tokenizer).vocab_size

  def check(images=True, **files):
    img = {"variant": "tiny", "patch": 14, "image_size": 28, "out_width": 32} if images else None
    config = paligemma.config(img, {"variant": "tiny", "vocab_size": size})
    described = files.pop("config", {})
    for name, content in files.items():
      (tmp_path / f"{name}.json").write_text(json.dumps(content))
    tokenizer_files.check(tmp_path, tokenizer, size)
    hf_settings.check(tmp_path, described, config, tokenizer)
  return check


def names(pad="<pad>"):
  return {key: {"content": name, **AS_DICT} for key, name in [
      ("bos_token", "<bos>"), ("eos_token", "<eos>"), ("pad_token", pad), ("unk_token", "<unk>")]}


@pytest.mark.parametrize("images,files", [
    (True, dict(  # google/paligemma-3b-pt-224
        config=IDS, generation_config=dict(
            _from_model_config=True, **IDS, transformers_version="4.41.0.dev0"),
        preprocessor_config={
            **IMAGES, "image_seq_length": 4, "processor_class": "PaliGemmaProcessor",
            "_valid_processor_keys": ["images", "do_resize"]},
        special_tokens_map=names() | {
            "additional_special_tokens": [{"content": "<image>", **AS_DICT}]},
        added_tokens={"<image>": 1500},
        tokenizer_config=dict(
            add_bos_token=True, add_eos_token=False, additional_special_tokens=["<image>"],
            added_tokens_decoder={"0": {"content": "<pad>", **AS_DICT},
                                  "1500": {"content": "<image>", **AS_DICT}},
            bos_token="<bos>", clean_up_tokenization_spaces=False, eos_token="<eos>",
            model_max_length=10**30, pad_token="<pad>", processor_class="PaliGemmaProcessor",
            sp_model_kwargs={}, spaces_between_special_tokens=False,
            tokenizer_class="GemmaTokenizer", unk_token="<unk>", use_default_system_prompt=False))),
    (True, dict(  # google/paligemma2-3b-pt-224, and a processor as transformers 5 writes it
        config=IDS | {"text_config": {"eos_token_id": [1, 107]}},
        generation_config=dict(IDS, cache_implementation="hybrid"),
        processor_config=dict(
            image_processor=IMAGES | dict(
                image_processor_type="SiglipImageProcessorFast", resample=2, crop_size=None,
                data_format="channels_first", device=None, default_to_square=True,
                disable_grouping=None, image_seq_length=4),
            processor_class="PaliGemmaProcessor"),
        tokenizer_config=dict(
            add_bos_token=False, backend="tokenizers", bos_token="<bos>", eos_token="<eos>",
            extra_special_tokens={"image_token": "<image>"}, image_token="<image>", is_local=True,
            mask_token="<mask>", pad_token="<pad>", tokenizer_class="GemmaTokenizer"))),
    (False, dict(  # google/gemma-2-2b-it
        config=IDS | {"eos_token_id": [1, 107]}, generation_config=dict(
            IDS, _from_model_config=True, cache_implementation="hybrid", eos_token_id=[1, 107]),
        special_tokens_map=names() | {"additional_special_tokens": ["<seg000>", "<bos>"]})),
    (False, dict(  # google/gemma-3-1b-it
        config=IDS | {"eos_token_id": [1, 106]}, generation_config=dict(
            IDS, cache_implementation="hybrid", do_sample=True, eos_token_id=[1, 106], top_k=64,
            top_p=0.95, transformers_version="4.50.0.dev0"),
        special_tokens_map=names() | {
            "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>"})),
    (False, dict(special_tokens_map=names(pad="<eos>"), config=IDS | {"pad_token_id": 1})),
])
def test_files_as_released_pass(images, files, check):
  check(images, **files)


def test_a_second_eos_is_said(check, capsys):
  check(False, generation_config={"eos_token_id": [1, 107]})
  assert "any of [1, 107]: name" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["attention_bias", "vision_use_head", "post_norms"])
def test_a_switch_is_true_or_false(name):
  with pytest.raises(ValueError, match=f"F: {name} is '{{}}', neither true nor false"):
    config_json.check_sizes({"text_config": {name: {}}}, "F")


@pytest.mark.parametrize("images,files,message", [
    (False, dict(config={"eos_token_id": 107}), "config.json: eos_token_id is 107, but .* is 1"),
    (False, dict(config={"bos_token_id": "2"}), "bos_token_id is 2, not a token id"),
    (True, dict(config={"text_config": {"bos_token_id": 5}}), "text_config: bos_token_id is 5"),
    (False, dict(generation_config={"eos_token_id": [7, 8]}), r"generation_config.*\[7, 8\]"),
    (False, dict(generation_config={"pad_token_id": 9}), "pad_token_id is 9"),
    (False, dict(generation_config={"suppress_tokens": [3]}), "suppress_tokens"),
    (False, dict(generation_config={"repetition_penalty": 1.3}), "repetition_penalty is 1.3"),
    (False, dict(tokenizer_config={"bos_token": "<s>"}), "_config.json: bos_token is '<s>'"),
    (False, dict(tokenizer_config={"add_bos_token": False}), "add_bos_token is False; only True"),
    (False, dict(tokenizer_config={"add_eos_token": True}), "add_eos_token is True"),
    (False, dict(tokenizer_config={"do_lower_case": True}), "do_lower_case"),
    (False, dict(tokenizer_config={"sp_model_kwargs": {"alpha": 0.1}}), "sp_model_kwargs"),
    (False, dict(tokenizer_config={"added_tokens_decoder": {"9": {"content": "<call>"}}}),
     "the piece '<call>' as id 9"),
    (False, dict(special_tokens_map=names() | {"eos_token": "<end>"}), "special_tokens_map.json"),
    (False, dict(special_tokens_map={"additional_special_tokens": ["<call>"]}), "'<call>' is no"),
    (True, dict(preprocessor_config=IMAGES | {"size": {"height": 56, "width": 56}}), "28 x 28"),
    (True, dict(preprocessor_config=IMAGES | {"size": {"shortest_edge": 28}}), "size is"),
    (True, dict(preprocessor_config=IMAGES | {"image_mean": [0.485, 0.456, 0.406]}), "image_mean"),
    (True, dict(preprocessor_config=IMAGES | {"do_rescale": False}), "do_rescale is False"),
    (True, dict(preprocessor_config=IMAGES | {"resample": 0}), "resample is 0; only 2 or 3"),
    (True, dict(preprocessor_config=IMAGES | {"do_center_crop": True}), "do_center_crop"),
    (True, dict(preprocessor_config=IMAGES | {"image_seq_length": 256}), "has 4 tokens"),
    (True, dict(preprocessor_config=IMAGES | {"gamma": 2.2}), "'gamma' is not known"),
    (True, dict(processor_config={"image_processor": IMAGES | {"rescale_factor": 1}}),
     "processor_config.json: rescale_factor"),
])
def test_files_that_disagree_are_refused(images, files, message, check):
  with pytest.raises(ValueError, match=message):
    check(images, **files)


def test_a_config_with_every_key_of_transformers_4(check):
  config = paligemma_hf.export_config(
      paligemma.config({"variant": "tiny"}, {"variant": "tiny", "vocab_size": 128}), "float32")
  del config["architectures"]
  parts = {part: DUMPED | config[part] for part in ("text_config", "vision_config")}
  full = DUMPED | config | parts
  assert paligemma_hf.import_config(full, "F") == paligemma_hf.import_config(config, "F")
  check(config=full | IDS)


@pytest.mark.parametrize("part", ["", "text_config", "vision_config"])
def test_a_key_that_nobody_knows_is_named(part):
  config = paligemma_hf.export_config(
      paligemma.config({"variant": "tiny"}, {"variant": "tiny", "vocab_size": 128}), "float32")
  (config[part] if part else config)["head_dims"] = 7
  near = "Did you mean 'head_dim'" if part == "text_config" else "it may change"
  with pytest.raises(ValueError, match=f"F{', ' * bool(part)}{part}: the key 'head_dims'.*{near}"):
    paligemma_hf.import_config(config, "F")


def test_the_mask_of_another_paligemma_is_refused():
  config = paligemma_hf.export_config(
      paligemma.config({"variant": "tiny"}, {"variant": "tiny", "vocab_size": 128}), "float32")
  config["text_config"]["use_bidirectional_attention"] = False
  with pytest.raises(ValueError, match="text_config: use_bidirectional_attention is False"):
    paligemma_hf.import_config(config, "F")


@pytest.mark.parametrize("key,value", [
    ("final_logit_softcapping", 30.0), ("partial_rotary_factor", 1), ("no_repeat_ngram_size", 3),
    ("rope_parameters", {"rope_theta": 1e4, "mscale": 2})])
def test_a_key_of_other_models_is_no_key_of_gemma_1(key, value):
  config = paligemma_hf.export_config(
      paligemma.PaliGemmaConfig(None, gemma.config("tiny")), "float32") | {key: value}
  with pytest.raises(ValueError, match=f"{key}.*(not known|only False)"):
    paligemma_hf.import_config(config, "F")


# --- KerasHub

@pytest.mark.parametrize("file,change,message", [
    ("image_converter.json", {"image_size": [32, 32]}, "image_size is .*16 x 16"),
    ("image_converter.json", {"scale": 1 / 255}, "scale is 0.0039"),
    ("image_converter.json", {"offset": 0}, "offset is 0"),
    ("image_converter.json", {"pad_to_aspect_ratio": True}, "pad_to_aspect_ratio"),
    ("preprocessor.json", {"add_start_token": False}, "add_start_token is False"),
    ("tokenizer.json", {"add_eos": True}, "add_eos is True"),
    ("tokenizer.json", {"lowercase": True}, "'lowercase' is not known"),
    ("config.json", {"use_rope": False}, "'use_rope' is not known"),
])
def test_a_preset_whose_files_disagree_is_refused(file, change, message, tmp_path):
  folder = pathlib.Path(shutil.copytree(GOLDEN / "keras_paligemma", tmp_path / "p"))
  content = json.loads((folder / file).read_text())
  content["config"] |= change
  (folder / file).write_text(json.dumps(content))
  with pytest.raises(ValueError, match=f"p/{file}.*{message}"):
    keras.open_source(folder)


def test_what_stands_inside_a_task_is_compared_too(tmp_path):
  folder = pathlib.Path(shutil.copytree(GOLDEN / "keras_paligemma", tmp_path / "p"))
  text = (folder / "task.json").read_text()
  for old, new, message in [('"num_layers": 2', '"num_layers": 3', "backbone is another model"),
                            ('"scale": 0.00', '"scale": 0.01', "preprocessor, image_converter")]:
    (folder / "task.json").write_text(re.sub(re.escape(old), new, text, count=1))
    with pytest.raises(ValueError, match=f"task.json, .*{message}"):
      load.open_source(folder)
