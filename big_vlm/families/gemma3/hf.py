"""Gemma 3's text models in transformers: as Gemma 2's, with other keys for positions and layers.

A config.json lists only what differs from the defaults of Gemma3TextConfig. Transformers 4 keeps
the RoPE of global layers in rope_theta and rope_scaling, that of local ones in
rope_local_base_freq, and the pattern of layers in sliding_window_pattern; version 5 has
rope_parameters by type of layer, and layer_types.
"""
from big_vlm.families.gemma import hf as gemma
from big_vlm.families.gemma3.variants import Gemma3Config
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import ParamMapping

ARCHITECTURES = {"gemma3_text": "Gemma3ForCausalLM"}
PALIGEMMA = ()  # transformers' PaliGemma takes none
SPELLINGS = gemma.SPELLINGS
IGNORED = gemma.IGNORED
DEFAULTS = dict(
    hidden_size=2304, num_hidden_layers=26, intermediate_size=9216, num_attention_heads=8,
    num_key_value_heads=4, head_dim=256, vocab_size=262_208, query_pre_attn_scalar=256,
    sliding_window=4096, max_position_embeddings=131_072, attn_logit_softcapping=None,
    final_logit_softcapping=None)
FIELDS = dict(gemma.FIELDS, max_positions="max_position_embeddings",
              attn_softcap="attn_logit_softcapping", final_softcap="final_logit_softcapping")
READ = {*DEFAULTS, *gemma.FIXED, *gemma.READ, "layer_types", "rope_local_base_freq",
        "sliding_window_pattern", "_sliding_window_pattern"}
LOCAL_BASE, GLOBAL_BASE = 10_000.0, 1_000_000.0
PATTERN = 6


def import_config(config, where, in_paligemma=False):
  del in_paligemma
  foreign_keys.check(config, foreign_keys.CONFIG, where, READ)
  config_json.check_fixed(config, gemma.FIXED | dict(use_bidirectional_attention=(False, None)),
                          where)
  rope, config = _import_rope(config, where), {**DEFAULTS, **config}
  scalar = config["query_pre_attn_scalar"]
  every = _global_every(config, where)
  return Gemma3Config(
      **config_json.import_fields(FIELDS, config), **rope, global_every=every,
      query_scale=None if scalar == config["head_dim"] else scalar**-0.5,
      window=None if every == 1 else config["sliding_window"])


def _import_rope(config, where):
  """{field: value} of both types of layers."""
  by_type = config.get("rope_parameters") or {}
  local = {"rope_theta": config.get("rope_local_base_freq", LOCAL_BASE),
           **(by_type.get(gemma.LOCAL) or {})}
  wide = {"rope_theta": config.get("rope_theta", GLOBAL_BASE), **(config.get("rope_scaling") or {}),
          **(by_type.get(gemma.GLOBAL) or {})}
  if odd := set(by_type) - {gemma.LOCAL, gemma.GLOBAL}:
    raise ValueError(f"{where}: rope_parameters has {sorted(odd)}; it must have {gemma.LOCAL} and "
                     f"{gemma.GLOBAL}, each with its own.")
  for rope in (local, wide):
    foreign_keys.check(rope, {}, f"{where}, rope_parameters", gemma.ROPE)
  kinds = [rope.get("rope_type", rope.get("type", "default")) for rope in (local, wide)]
  if kinds[0] != "default" or kinds[1] not in ("default", "linear"):
    raise ValueError(f"{where}: rotary positions of {local} in local and {wide} in global layers; "
                     "only linear scaling of global ones is supported.")
  scale = wide["factor"] if kinds[1] == "linear" else 1
  return dict(rope_base=local["rope_theta"], global_rope_base=wide["rope_theta"],
              global_rope_scale=scale)


def _global_every(config, where):
  """Each how many layers one is global, from layer_types, or else the pattern."""
  depth, types = config["num_hidden_layers"], config.get("layer_types")
  pattern = config.get("sliding_window_pattern", config.get("_sliding_window_pattern", PATTERN))
  if types is None:
    return pattern
  fits = [n for n in (pattern, *range(1, depth + 2)) if types == _layer_types(depth, n)]
  if not fits:
    raise ValueError(f"{where}: layer_types must have one {gemma.GLOBAL} after each n - 1 "
                     f"{gemma.LOCAL}, {depth} in all; it is {types}.")
  return fits[0]


def _layer_types(depth, every):
  return [gemma.LOCAL if (i + 1) % every else gemma.GLOBAL for i in range(depth)]


def export_config(c):
  """config.json's dict, in the spellings of transformers 4.51 to 5.23."""
  if c.window is None and c.global_every > 1:
    raise ValueError("a Gemma 3 whose local layers have no window")
  scaling = ({} if c.global_rope_scale == 1
             else {"rope_type": "linear", "factor": float(c.global_rope_scale)})
  wide = c.global_rope_base or c.rope_base
  return config_json.export_fields(FIELDS, c) | dict(
      model_type="gemma3_text", rms_norm_eps=1e-6, hidden_activation=gemma.TANH_GELU,
      attention_bias=False, use_bidirectional_attention=False,
      query_pre_attn_scalar=gemma.query_pre_attn_scalar(c), sliding_window=c.window or 4096,
      layer_types=_layer_types(c.depth, c.global_every), sliding_window_pattern=c.global_every,
      rope_theta=wide, rope_local_base_freq=c.rope_base, rope_scaling=scaling or None,
      rope_parameters={gemma.GLOBAL: {"rope_type": "default", "rope_theta": wide, **scaling},
                       gemma.LOCAL: {"rope_type": "default", "rope_theta": c.rope_base}},
      **gemma.IDS)


def param_map(c, root="", padding=0):
  return gemma.param_map(c, root, padding) + [
      ParamMapping(f"llm/layers/attn/{name}/scale",
                   f"{root}model.layers.{{}}.self_attn.{name}.weight", axes=(range(c.depth),))
      for name in ("q_norm", "k_norm")]
