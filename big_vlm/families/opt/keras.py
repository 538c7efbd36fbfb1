"""OPT in KerasHub."""
from big_vlm.families.opt.variants import OPTConfig
from big_vlm.formats import config_json, foreign_keys
from big_vlm.formats.param_map import KERAS, ParamMapping, keras_numbers

CLASSES = ("OPTBackbone",)
TEXT_LENGTH = 1024  # tokens that its preprocessor packs
BYTE_LEVEL = True  # BPE
PALIGEMMA = False
FIELDS = dict(width="hidden_dim", depth="num_layers", mlp="intermediate_dim", heads="num_heads",
              vocab_size="vocabulary_size", max_positions="max_sequence_length")


def import_config(c, where):
  foreign_keys.check(c, foreign_keys.KERAS, where, FIELDS.values())
  return OPTConfig(**config_json.import_fields(FIELDS, {"max_sequence_length": 2048, **c}))


def export_config(c):
  if c.post_norm or c.embed_width:
    raise ValueError("an OPT that is post-norm or projects its embeddings, as OPT-350m")
  return config_json.export_fields(FIELDS, c) | dict(dropout=0)


def param_map(c):
  layers, layer = "llm/layers", "layers/transformer_decoder{}"
  embedding, kw = "layers/token_and_position_embedding", dict(
      axes=(keras_numbers(c.depth),))
  attn = {"query": "query", "key": "key", "value": "value", "out": "output"}
  return [
      ParamMapping("llm/embedder/input_embedding", f"{embedding}/token_embedding/vars/0"),
      ParamMapping("llm/embedder/pos_embedding", f"{embedding}/position_embedding/vars/0"),
      *KERAS.norm(f"{layers}/attn_norm", f"{layer}/_self_attention_layer_norm", **kw),
      *KERAS.norm(f"{layers}/mlp_norm", f"{layer}/_feedforward_layer_norm", **kw),
      *(mapping for name, external in attn.items() for mapping in KERAS.dense(
          f"{layers}/attn/{name}", f"{layer}/_self_attention_layer/{external}_dense", **kw)),
      *KERAS.dense(f"{layers}/mlp/Dense_0", f"{layer}/_feedforward_intermediate_dense", **kw),
      *KERAS.dense(f"{layers}/mlp/Dense_1", f"{layer}/_feedforward_output_dense", **kw),
      *KERAS.norm("llm/final_norm", "layers/layer_normalization")]
