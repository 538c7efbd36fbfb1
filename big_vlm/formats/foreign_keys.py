"""What others' small JSON files may say: one table of keys for each kind of file.

  CONFIG       config.json of transformers, besides what families/*/hf.py read of it
  GENERATION   generation_config.json, and the same keys in a config.json
  TOKENIZER    tokenizer_config.json, special_tokens_map.json; TEXT_TOKENIZER: of text models,
               TOWER_TOKENIZER: of SigLIP
  IMAGES       preprocessor_config.json
  KERAS        every object of KerasHub; KERAS_TEXT, KERAS_TOWER_TEXT (of SigLIP), KERAS_IMAGES its
               preprocessors

A table is {regex of keys: the values that are understood, or ANY}. A key in no row is refused by
name, as it may change the numbers; null, {} and [] say nothing. Keys of ANY say nothing of what a
model computes, or are compared elsewhere.
"""
import re

from pp.names import near_miss

ANY = None
OFF = (False, 0)
GENERATION = {
    r"(bos|eos|pad)_token_id": ANY,  # compared with the tokenizer's
    # The call says how to search or sample: generate(sampler=, max_new_tokens=, num_samples=).
    r"do_sample|temperature|top_[kphn]|min_p|typical_p|(epsilon|eta)_cutoff|penalty_alpha|num_beams|"
    r"num_beam_groups|diversity_penalty|length_penalty|early_stopping|num_return_sequences|"
    r"max_(new_tokens|length|time)|renormalize_logits|remove_invalid_values": ANY,
    # What forces and bans tokens changes every answer.
    r"min_(new_tokens|length)|(encoder_)?no_repeat_ngram_size|token_healing": OFF,
    r"(encoder_)?repetition_penalty|guidance_scale": (1,),
    r"_from_model_config|transformers_version|_commit_hash|use_cache|cache_\w+|low_memory|output_\w+|"
    r"return_(dict_in_generate|legacy_cache)|(num_)?assistant_\w+|is_assistant|\w+_lookbehind|"
    r"prompt_lookup_\w+|max_matching_ngram_size|prefill_chunk_size|compile_config|disable_compile|"
    r"trust_remote_code": ANY,
}
CONFIG = {
    **GENERATION,
    r"architectures|model_type|(torch_)?dtype|_?name_or_path|_?(attn|experts)_implementation\w*|"
    r"_flash_attn_2_enabled|_output_attentions|is_(encoder_)?decoder|add_cross_attention|"
    r"cross_attention_hidden_size|tie_encoder_decoder|chunk_size_feed_forward|pruned_heads|"
    r"torchscript|use_bfloat16|tf_legacy_loss|return_dict|xla_device|pretraining_tp|gradient_\w+|"
    r"id2label|label2id|num_labels|problem_type|finetuning_task|task_specific_params|prefix|"
    r"tokenizer_class|(sep|unk|decoder_start)_token_id|\w*dropout|layerdrop|init_std|"
    r"initializer_(range|factor)|ignore_index|unsloth_\w+": ANY,
    r"use_adarms": (False,),  # of openpi's PaliGemma
    # Of PaliGemma, of which transformers itself computes or ignores these.
    r"_?vocab_size|num_image_tokens|projector_hidden_act|projection_dim": ANY,
}
_NAMES = r"\w+_tokens?(_type|_id|_type_id)?|extra_special_tokens"
TOKENIZER = {
    r"add_(bos|eos)_token|_?tokenizer_class|processor_class|backend|model_max_length|max_length|"
    r"(padding|truncation)(_side|_strategy)?|stride|pad_to_multiple_of|model_input_names|legacy|"
    r"clean_up_tokenization_spaces|spaces_between_special_tokens|split_special_tokens|errors|"
    r"added_tokens_decoder|chat_template|response_schema|use_default_system_prompt|init_inputs|"
    r"special_tokens_map_file|tokenizer_file|slow_tokenizer_class|files_loaded|device_map|_?name_or_"
    r"path|_commit_hash|is_local|local_files_only|trust_remote_code|use_fast|from_slow|vocab_size|"
    r"return_\w+|unsloth_\w+": ANY,
    r"do_lower_case|add_prefix_space|keep_accents": (False,), _NAMES: ANY}
# A PaliGemma's processor sets both itself, whatever the file says.
TEXT_TOKENIZER = {r"add_bos_token": (True,), r"add_eos_token": (False,), **TOKENIZER}
# SigLIP's rows are made here as big_vision makes them; embed(spelling=) has transformers' too.
TOWER_TOKENIZER = {r"do_lower_case|add_(bos|eos)_token|sp_model_kwargs": ANY, **TOKENIZER}
IMAGES = {
    r"do_(resize|rescale|normalize)": (True,), r"do_(center_crop|pad)": (False,),
    r"image_(mean|std)": ([0.5] * 3, 0.5), r"rescale_factor": (1 / 255,),
    r"resample": (2, 3),  # bilinear, as here; bicubic, as the released files say
    r"size|image_seq_length": ANY,  # compared with the model's
    r"patch_size|max_num_patches": ANY,  # of NaFlex; embed(max_num_patches=) asks for more
    r"do_convert_rgb|crop_size|pad_size|default_to_square|(input_)?data_format|device|return_tensors|"
    r"disable_grouping|image_processor_type|feature_extractor_type|processor_class|"
    r"_valid_processor_keys|_commit_hash|unsloth_\w+": ANY}
KERAS = {r"name|trainable|dtype|\w*dropout|(vit_)?include_rescaling|vit_name|config_file": ANY}
KERAS_TEXT = {
    **KERAS, r"tokenizer|image_converter|sequence_length|unsplittable_tokens|add_end_token": ANY,
    r"add_start_token": (True,), r"add_(bos|eos|prefix_space)": (False,)}
KERAS_TOWER_TEXT = {r"add_start_token": (False,), r"canonicalize_text": ANY, **KERAS_TEXT}
KERAS_IMAGES = {
    **KERAS, r"image_size|height|width|scale|offset|mean|variance": ANY,  # compared
    r"crop_to_aspect_ratio|antialias|bounding_box_format|data_format": ANY,
    r"interpolation": ("bilinear", "bicubic"), r"pad_to_aspect_ratio": (False,)}


def check(content, table, where, read=()):
  """Raises ValueError, naming file and key, unless every key of the dict `content` is in `read` or
  in a row of the table, with a value of that row. The first row that matches counts."""
  if not isinstance(content, dict):
    raise ValueError(f"{where} is not an object of settings.")
  for key, value in content.items():
    if value is None or value in ([], {}) or key in read:
      continue
    rows = [allowed for regex, allowed in table.items() if re.fullmatch(regex, key)]
    if not rows:
      raise ValueError(f"{where}: the key {key[:80]!r} is not known, and it may change what the "
                       f"model computes.{near_miss(key, read)} Remove it if it changes nothing.")
    if rows[0] is not ANY and value not in rows[0]:
      raise ValueError(f"{where}: {key} is {repr(value)[:80]}; only "
                       f"{' or '.join(map(repr, rows[0]))} is supported.")
