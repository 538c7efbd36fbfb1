"""Gemma 3's text models in KerasHub: as Gemma's, with the norms of queries and keys.

KerasHub 0.32 has the RoPE bases 1e4 and 1e6 and the pattern of six layers as constants.
"""
from big_vlm.families.gemma import keras as gemma
from big_vlm.families.gemma3.variants import VARIANTS, Gemma3Config
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import ParamMapping, keras_numbers

CLASSES = ("Gemma3Backbone",)
TEXT_LENGTH = 1024  # tokens that its preprocessor packs
BYTE_LEVEL = False  # SentencePiece
PALIGEMMA = False
WINDOW = 1024  # KerasHub's default
FIELDS = dict(gemma.FIELDS, mlp="intermediate_dim")
FIXED = dict(layer_norm_epsilon=(1e-6,), use_query_key_norm=(True,), vision_encoder=(None,),
             use_post_ffw_norm=(True,), use_post_attention_norm=(True,),
             local_rope_scaling_factor=(1.0,), use_bidirectional_attention=(False, None),
             is_embedding_model=(False, None))
READ = {*gemma.READ, *FIXED, "global_rope_scaling_factor"}
CONSTANTS = dict(rope_base=10_000, global_rope_base=1_000_000, global_every=6)


def import_config(c, where, in_paligemma=False):
  del in_paligemma
  foreign_keys.check(c, foreign_keys.KERAS, where, READ)
  config_json.check_fixed(c, FIXED, where)
  fields = config_json.import_fields(FIELDS, c)
  local = c.get("use_sliding_window_attention")
  # A preset does not say how long a text may be: the release of these sizes does.
  sizes = [name for name in FIELDS if name != "vocab_size"]
  like = next((row for row in VARIANTS.values()
               if all(getattr(row, name) == fields[name] for name in sizes)), Gemma3Config)
  return Gemma3Config(
      **fields, **CONSTANTS, max_positions=like.max_positions,
      query_scale=gemma.query_scale(c, fields),
      attn_softcap=c.get("attention_logit_soft_cap"), final_softcap=c.get("final_logit_soft_cap"),
      global_rope_scale=c.get("global_rope_scaling_factor", 1.0),
      window=c.get("sliding_window_size", WINDOW) if local else None)


def export_config(c, in_paligemma=False):
  del in_paligemma  # there is no PaliGemma of it
  if other := {key for key, value in CONSTANTS.items() if getattr(c, key) != value}:
    raise ValueError(f"a Gemma 3 with another {', '.join(sorted(other))} than the released ones")
  return gemma.export_config(c) | config_json.export_fields(FIELDS, c) | dict(
      image_size=None, use_query_key_norm=True, local_rope_scaling_factor=1.0,
      global_rope_scaling_factor=float(c.global_rope_scale), vision_encoder=None,
      use_bidirectional_attention=False, is_embedding_model=False)


def param_map(c, in_paligemma=False):
  del in_paligemma
  layer = "layers/gemma3_decoder_block{}"
  return gemma.param_map(c, layer=layer) + [
      ParamMapping(f"llm/layers/attn/{ours}/scale", f"{layer}/attention/{name}/vars/0",
                   axes=(keras_numbers(c.depth),))
      for ours, name in (("q_norm", "query_norm"), ("k_norm", "key_norm"))]
