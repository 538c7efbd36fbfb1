"""Gemma, Gemma 2 and VaultGemma in KerasHub.

Absent keys have the defaults of KerasHub 0.32: what a file from before Gemma 2 lacks is off.
"""
import math

from big_vlm.families.gemma.variants import GemmaConfig
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import ParamMapping, keras_numbers

CLASSES = ("GemmaBackbone",)
TEXT_LENGTH = 1024  # tokens that its preprocessor packs
BYTE_LEVEL = False  # SentencePiece
PALIGEMMA = True  # PaliGemmaBackbone has this decoder
WINDOW = 4096  # KerasHub's default, also written where no layer is local
FIELDS = dict(width="hidden_dim", depth="num_layers", heads="num_query_heads",
              kv_heads="num_key_value_heads", head_dim="head_dim", vocab_size="vocabulary_size")
READ = {*FIELDS.values(), "intermediate_dim", "layer_norm_epsilon", "query_head_dim_normalize",
        "use_post_ffw_norm", "use_post_attention_norm", "attention_logit_soft_cap",
        "final_logit_soft_cap", "use_sliding_window_attention", "sliding_window_size"}


def import_config(c, where, in_paligemma=False):
  if not in_paligemma:
    foreign_keys.check(c, foreign_keys.KERAS, where, READ)
  config_json.check_fixed(c, dict(layer_norm_epsilon=(1e-6,)), where)
  post_norms = bool(c.get("use_post_ffw_norm"))
  if post_norms != bool(c.get("use_post_attention_norm")):
    raise ValueError(f"{where}: use_post_ffw_norm and use_post_attention_norm differ; a Gemma has "
                     "both norms or neither.")
  fields = config_json.import_fields(FIELDS, c)
  # PaliGemma 2 was trained without a window, whatever its preset says.
  local = not in_paligemma and c.get("use_sliding_window_attention")
  return GemmaConfig(
      **fields, mlp=c["intermediate_dim"] // 2, post_norms=post_norms,
      query_scale=query_scale(c, fields),
      attn_softcap=c.get("attention_logit_soft_cap"), final_softcap=c.get("final_logit_soft_cap"),
      window=c.get("sliding_window_size", WINDOW) if local else None)


def query_scale(c, fields):
  """KerasHub keeps this flag and scales by head_dim all the same, which is wrong for 27B."""
  by_head_dim = c.get("query_head_dim_normalize", True)
  return None if by_head_dim else (fields["width"] / fields["heads"])**-0.5


def export_config(c, in_paligemma=False):
  if in_paligemma and c.window is not None and c.sliding_window_mode != "symmetric":
    raise ValueError(f"a PaliGemma with the sliding window mode {c.sliding_window_mode!r}")
  by_head_dim = c.query_scale is None or math.isclose(c.query_scale, c.head_dim**-0.5)
  if not by_head_dim and not math.isclose(c.query_scale, (c.width / c.heads)**-0.5):
    raise ValueError(f"a decoder of query scale {c.query_scale}, which is neither head_dim**-0.5 "
                     "nor (width / heads)**-0.5")
  return config_json.export_fields(FIELDS, c) | dict(
      intermediate_dim=2 * c.mlp, layer_norm_epsilon=1e-6, dropout=0,
      query_head_dim_normalize=by_head_dim, use_post_ffw_norm=c.post_norms,
      use_post_attention_norm=c.post_norms, final_logit_soft_cap=c.final_softcap,
      attention_logit_soft_cap=c.attn_softcap, sliding_window_size=c.window or WINDOW,
      use_sliding_window_attention=c.window is not None)


def param_map(c, in_paligemma=False, layer="layers/gemma_decoder_block{}"):
  layer = "layers/pali_gemma_decoder_block{}" if in_paligemma else layer
  norms = ["pre_attention_norm", "pre_ffw_norm"]
  norms += ["post_attention_norm", "post_ffw_norm"] if c.post_norms else []

  def block(name, external, *axes):
    return ParamMapping(f"llm/layers/{name}", f"{layer}/{external}/vars/0",
                        axes=(keras_numbers(c.depth), *axes))

  if c.kv_heads == c.heads:
    qkv = [block("attn/qkv_einsum/w", "attention/{}_dense", ("query", "key", "value"))]
  else:
    qkv = [block("attn/q_einsum/w", "attention/query_dense"),
           block("attn/kv_einsum/w", "attention/{}_dense", ("key", "value"))]
  return [
      ParamMapping("llm/embedder/input_embedding", "layers/reversible_embedding/vars/0"),
      *qkv,
      block("attn/attn_vec_einsum/w", "attention/output_dense"),
      block("mlp/gating_einsum", "{}", ("gating_ffw", "gating_ffw_2")),
      block("mlp/linear", "ffw_linear"),
      *(block(f"{name}/scale", name) for name in norms),
      ParamMapping("llm/final_norm/scale", "layers/rms_normalization/vars/0")]
