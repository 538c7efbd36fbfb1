"""Gemma, Gemma 2 and VaultGemma in transformers.

A config.json lists only what differs from the defaults of its class, and keys moved between
versions: DEFAULTS has the defaults, import_config knows both spellings. Whatever would change the
numbers and has no counterpart here is refused.
"""
from big_vlm.families.gemma.variants import GemmaConfig
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import ParamMapping

ARCHITECTURES = {"gemma": "GemmaForCausalLM", "gemma2": "Gemma2ForCausalLM",
                 "vaultgemma": "VaultGemmaForCausalLM"}
PALIGEMMA = ("gemma", "gemma2")  # of these transformers makes a PaliGemma
SPELLINGS = [(r"^(?!model\.)", "model.")]
IGNORED = r"(.*\.)?lm_head\.weight|.*\.rotary_emb\.inv_freq"  # tied, and computed
IDS = dict(pad_token_id=0, eos_token_id=1, bos_token_id=2)
MAX_POSITIONS = 8192
FIELDS = dict(width="hidden_size", depth="num_hidden_layers", mlp="intermediate_size",
              heads="num_attention_heads", kv_heads="num_key_value_heads", head_dim="head_dim",
              vocab_size="vocab_size")
_GEMMA2 = dict(hidden_size=2304, num_hidden_layers=26, intermediate_size=9216,
               num_attention_heads=8, num_key_value_heads=4, head_dim=256, vocab_size=256_000,
               query_pre_attn_scalar=256, sliding_window=4096, attn_logit_softcapping=50.0,
               final_logit_softcapping=30.0)
DEFAULTS = {
    "gemma": dict(hidden_size=3072, num_hidden_layers=28, intermediate_size=24_576,
                  num_attention_heads=16, num_key_value_heads=16, head_dim=256,
                  vocab_size=256_000),
    "gemma2": _GEMMA2, "vaultgemma": _GEMMA2}
TANH_GELU = "gelu_pytorch_tanh"
_GELU = (None, "gelu", TANH_GELU, "gelu_new", "gelu_fast")  # "gelu" was always run as tanh-GELU
FIXED = dict(rms_norm_eps=(1e-6,), attention_bias=(False,), tie_word_embeddings=(True,),
             hidden_activation=_GELU, hidden_act=_GELU)
READ = {"max_position_embeddings", "use_bidirectional_attention", "rope_theta",
        "rope_scaling", "rope_parameters"}
ROPE = {"rope_theta", "rope_type", "type", "factor"}  # factor: of linear scaling alone
LOCAL, GLOBAL = "sliding_attention", "full_attention"


def import_config(config, where, in_paligemma=False):
  kind = config["model_type"]
  more = () if kind == "gemma" else ("layer_types",)
  foreign_keys.check(config, foreign_keys.CONFIG, where, {*DEFAULTS[kind], *FIXED, *READ, *more})
  config_json.check_fixed(config, FIXED, where)
  _check_rope(config, where)
  # In a PaliGemma it says that image and prefix see each other; a text decoder is causal.
  bidirectional = (True, None) if in_paligemma else (False, None)
  config_json.check_fixed(config, dict(use_bidirectional_attention=bidirectional), where)
  config, changes = {**DEFAULTS[kind], **config}, {}
  if kind != "gemma":
    scalar = config["query_pre_attn_scalar"]
    changes = dict(
        query_scale=None if scalar == config["head_dim"] else scalar**-0.5,
        post_norms=kind == "gemma2", attn_softcap=config["attn_logit_softcapping"],
        final_softcap=config["final_logit_softcapping"],
        # PaliGemma 2 was trained without a window.
        window=None if in_paligemma else _window(config, where))
  return GemmaConfig(**config_json.import_fields(FIELDS, config), **changes)


def _check_rope(config, where):
  """Raises unless every layer rotates with base 10000 and no scaling."""
  parameters = config.get("rope_parameters") or {}
  groups = [p for p in parameters.values() if isinstance(p, dict)] or [parameters]
  for rope in [*groups, {"rope_theta": config.get("rope_theta", 10_000),
                         **(config.get("rope_scaling") or {})}]:
    foreign_keys.check(rope, {}, f"{where}, rope_parameters", ROPE)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if rope.get("rope_theta", 10_000) != 10_000 or kind != "default":
      raise ValueError(f"{where}: rotary positions of {rope}; only rope_theta 10000 without "
                       "scaling is supported, with which all Gemma 1 and 2 models were released.")


def _window(config, where):
  kinds, depth = config.get("layer_types"), config["num_hidden_layers"]
  if kinds == [GLOBAL] * depth:
    return None
  if kinds is not None and kinds != [GLOBAL if i % 2 else LOCAL for i in range(depth)]:
    raise ValueError(f"{where}: layer_types must be {LOCAL} and {GLOBAL} in turn, {depth} in all, "
                     f"or all {GLOBAL}; it is {kinds}.")
  return config["sliding_window"]


def _is_gemma1(c):
  return not c.post_norms and {c.query_scale, c.attn_softcap, c.final_softcap, c.window} == {None}


def query_pre_attn_scalar(c):
  """What transformers divides queries by the root of. Raises ValueError if it is not whole."""
  scalar = c.head_dim if c.query_scale is None else c.query_scale**-2
  if abs(scalar - round(scalar)) > 1e-6:
    raise ValueError(f"a decoder of query scale {c.query_scale}, which is not n**-0.5 of a whole n")
  return round(scalar)


def export_config(c):
  """config.json's dict, in the spellings of transformers 4.51 to 5.23."""
  body = config_json.export_fields(FIELDS, c) | dict(
      max_position_embeddings=MAX_POSITIONS, rms_norm_eps=1e-6, hidden_act=TANH_GELU,
      hidden_activation=TANH_GELU, attention_bias=False, rope_theta=10_000.0,
      rope_parameters=dict(rope_theta=10_000.0, rope_type="default"), **IDS)
  if _is_gemma1(c):
    return dict(model_type="gemma", **body)
  # Transformers 4 takes every second layer as local whatever layer_types says: a window that no
  # text fills makes it global there too.
  local = GLOBAL if c.window is None else LOCAL
  return dict(
      model_type="gemma2" if c.post_norms else "vaultgemma", **body,
      query_pre_attn_scalar=query_pre_attn_scalar(c), sliding_window=c.window or MAX_POSITIONS,
      layer_types=[GLOBAL if i % 2 else local for i in range(c.depth)],
      attn_logit_softcapping=c.attn_softcap, final_logit_softcapping=c.final_softcap)


def param_map(c, root="", padding=0):
  """n query heads and k kv heads of size e, d width, m MLP width. padding: rows of the embedding
  table beyond ours."""
  norms = {"pre_attention_norm": "input_layernorm", "pre_ffw_norm": "pre_feedforward_layernorm"}
  if c.post_norms:
    norms |= {"post_attention_norm": "post_attention_layernorm",
              "post_ffw_norm": "post_feedforward_layernorm"}
  elif _is_gemma1(c):  # there this name is the norm before the MLP
    norms["pre_ffw_norm"] = "post_attention_layernorm"

  def block(name, external, pattern="", *axes):
    return ParamMapping(f"llm/layers/{name}", f"{root}model.layers.{{}}.{external}.weight", pattern,
                        (range(c.depth), *axes))

  if c.kv_heads == c.heads:
    qkv = [block("attn/qkv_einsum/w", "self_attn.{}_proj", "n d e -> (n e) d", "qkv")]
  else:
    qkv = [block("attn/q_einsum/w", "self_attn.q_proj", "n d e -> (n e) d"),
           block("attn/kv_einsum/w", "self_attn.{}_proj", "k d e -> (k e) d", "kv")]
  return [
      ParamMapping("llm/embedder/input_embedding", f"{root}model.embed_tokens.weight",
                   padding_after=padding),
      *qkv,
      block("attn/attn_vec_einsum/w", "self_attn.o_proj", "n e d -> d (n e)"),
      block("mlp/gating_einsum", "mlp.{}_proj", "d m -> m d", ("gate", "up")),
      block("mlp/linear", "mlp.down_proj", "m d -> d m"),
      *(block(f"{name}/scale", external) for name, external in norms.items()),
      ParamMapping("llm/final_norm/scale", f"{root}model.norm.weight")]
