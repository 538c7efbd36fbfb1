"""KerasHub preset folders: config.json and .h5 weights, with the tokenizer in assets/.

PaliGemma 1 and 2, Gemma, Gemma 2, VaultGemma, OPT, and the vision tower of SigLIP, alone or out of
a preset that has the text tower too. Datasets are named after the classes of Keras layers in snake
case, with _1, _2, ... from the second one of a class on; vars/0 is a kernel or scale, vars/1 its
bias.
"""
import math
import pathlib
import re

import numpy as np

from big_vlm.checkpoints import keras_config, keras_preset
from big_vlm.checkpoints.checkpoint import Checkpoint, from_array
from big_vlm.families import opt, paligemma
from big_vlm.formats import h5, param_map
from big_vlm.formats.param_map import ParamMapping
from pp import tokenizer_files

SIGLIP = "layers/sig_lip_vision_encoder/"  # where a SigLIPBackbone keeps its vision tower
POSITIONS = "layers/sig_lip_vision_embedding/vars/0"  # int32 0..N-1, a constant
# SigLIP's text half, constants, and states of random generators in files of older Keras.
IGNORED = re.compile(rf"layers/sig_lip_(text_encoder|head)/.*|{POSITIONS}|.*/seed_generator/.*")


def claims(path):
  """Whether path is a preset folder: its config.json has a registered_name, that of transformers
  a model_type."""
  path = pathlib.Path(path)
  if not (path / "config.json").is_file():
    return path.is_dir() and any((path / f).is_file() for f in (h5.WEIGHTS, h5.INDEX))
  return '"registered_name"' in (path / "config.json").read_text(errors="replace")


def open_source(path):
  """The Checkpoint of a preset. Raises ValueError or FileNotFoundError, which name the file."""
  folder = pathlib.Path(path)
  if not (folder / "config.json").is_file():
    raise FileNotFoundError(f"{folder} holds weights but no config.json, which says what model "
                            "they are: fetch it from where they came from.")
  config = keras_config.to_ours(keras_config.read(folder), folder / "config.json")
  theirs = h5.read_folder(folder)
  if any(name.startswith(SIGLIP) for name in theirs):
    theirs = {name.removeprefix(SIGLIP): leaf for name, leaf in theirs.items()}
  theirs = {name: leaf for name, leaf in theirs.items() if not IGNORED.fullmatch(name)}
  shapes = {name: x.shape for name, x in paligemma.param_shapes(config).items()}
  leaves = param_map.import_(rows(config), theirs, shapes, path)
  tokenizer = config.llm and tokenizer_files.find(folder, multimodal=config.img is not None)
  return Checkpoint(str(path), config, leaves, tokenizer)


def write(path, source, note, max_shard=h5.MAX_SHARD):
  """Writes a Checkpoint as a preset into the folder `path`; without a tokenizer, the backbone alone.

  note(done, total): bytes of weights written. Raises ValueError, before anything is written, for a
  model or a tokenizer that KerasHub has no class of.
  """
  backbone = keras_config.to_theirs(source.config, source.dtype)
  shapes = {name: x.shape for name, x in paligemma.param_shapes(source.config).items()}
  param_map.compare(source.leaves, shapes, source.path)
  theirs = param_map.export_(rows(source.config), source.leaves)
  if source.config.llm is None:
    theirs[POSITIONS] = from_array(np.arange(source.config.img.patches, dtype=np.int32)[None])
  parameters = sum(math.prod(leaf.shape) for leaf in theirs.values())
  keras_preset.write(path, backbone, parameters, source.tokenizer)
  h5.write_folder(path, theirs, note, max_shard)


def rows(config):
  """The table of a PaliGemmaConfig's parameters in KerasHub's names."""
  if config.llm is None:
    return _siglip(config.img.depth)
  if isinstance(config.llm, opt.OPTConfig):
    return _opt(config.llm.depth)
  if config.img is None:
    return _gemma(config.llm, "gemma_decoder_block")
  return _tower(config.img.depth) + _gemma(config.llm, "pali_gemma_decoder_block")


def _layers(depth):
  """What follows the class name of each of `depth` layers."""
  return ["", *(f"_{i}" for i in range(1, depth))]


def _pair(ours, theirs, kernel="", bias="", **kw):
  """Rows of a dense layer: d width, h heads of size e, m MLP width."""
  return [ParamMapping(f"{ours}/kernel", f"{theirs}/vars/0", kernel, **kw),
          ParamMapping(f"{ours}/bias", f"{theirs}/vars/1", bias, **kw)]


def _norm(ours, theirs, **kw):
  return [ParamMapping(f"{ours}/scale", f"{theirs}/vars/0", **kw),
          ParamMapping(f"{ours}/bias", f"{theirs}/vars/1", **kw)]


def _tower(depth):
  """SigLIP's tower inside a PaliGemma, which has attention of its own: matrices without heads."""
  root = "layers/pali_gemma_vit/layers/pali_gemma_vit_encoder"
  ours, layer = "img/Transformer/encoderblock", f"{root}/resblocks/pali_gemma_vit_encoder_block{{}}"
  attn, kw = f"{ours}/MultiHeadDotProductAttention_0", dict(axes=(_layers(depth),))
  table = [
      *_pair("img/embedding", f"{root}/vision_embeddings/patch_embedding"),
      ParamMapping("img/pos_embedding", f"{root}/vision_embeddings/position_embedding/vars/0",
          "1 n d -> n d"),
      *_norm(f"{ours}/LayerNorm_0", f"{layer}/layer_norm_1", **kw),
      *_norm(f"{ours}/LayerNorm_1", f"{layer}/layer_norm_2", **kw),
      *_pair(f"{attn}/out", f"{layer}/attn/out_proj", "h e d -> (h e) d", **kw),
      *_pair(f"{ours}/MlpBlock_0/Dense_0", f"{layer}/mlp_dense_1", **kw),
      *_pair(f"{ours}/MlpBlock_0/Dense_1", f"{layer}/mlp_dense_2", **kw),
      *_norm("img/Transformer/encoder_norm", f"{root}/encoder_layer_norm"),
      *_pair("img/head", "layers/pali_gemma_vit/layers/dense")]
  for name in ("query", "key", "value"):
    table += _pair(f"{attn}/{name}", f"{layer}/attn/{name}_proj", "d h e -> d (h e)",
                   "h e -> (h e)", **kw)
  return table


def _attention(ours, theirs, **kw):
  """Rows of Keras' MultiHeadAttention, which keeps the heads apart as we do."""
  names = {"query": "query_dense", "key": "key_dense", "value": "value_dense",
           "out": "output_dense"}
  return [row for our, their in names.items()
          for row in _pair(f"{ours}/{our}", f"{theirs}/{their}", **kw)]


def _siglip(depth):
  ours, layer = "img/Transformer/encoderblock", "layers/sig_lip_encoder_layer{}"
  head, pool = "img/MAPHead_0", "layers/sig_lip_multi_head_attention_pooling"
  embedding, kw = "layers/sig_lip_vision_embedding", dict(axes=(_layers(depth),))
  return [
      *_pair("img/embedding", f"{embedding}/patch_embedding"),
      ParamMapping("img/pos_embedding", f"{embedding}/position_embedding/vars/0", "1 n d -> n d"),
      *_norm(f"{ours}/LayerNorm_0", f"{layer}/layer_norm1", **kw),
      *_norm(f"{ours}/LayerNorm_1", f"{layer}/layer_norm2", **kw),
      *_attention(f"{ours}/MultiHeadDotProductAttention_0", f"{layer}/self_attn", **kw),
      *_pair(f"{ours}/MlpBlock_0/Dense_0", f"{layer}/mlp/fc1", **kw),
      *_pair(f"{ours}/MlpBlock_0/Dense_1", f"{layer}/mlp/fc2", **kw),
      *_norm("img/Transformer/encoder_norm", "layers/layer_normalization"),
      ParamMapping(f"{head}/probe", f"{pool}/vars/0"),
      *_attention(f"{head}/MultiHeadDotProductAttention_0", f"{pool}/attention"),
      *_norm(f"{head}/LayerNorm_0", f"{pool}/layer_norm"),
      *_pair(f"{head}/MlpBlock_0/Dense_0", f"{pool}/mlp/fc1"),
      *_pair(f"{head}/MlpBlock_0/Dense_1", f"{pool}/mlp/fc2")]


def _gemma(c, block):
  layers, layer, depth = "llm/layers", f"layers/{block}{{}}", _layers(c.depth)
  attn, dense = f"{layers}/attn", f"{layer}/attention/{{}}_dense/vars/0"
  if c.kv_heads == c.heads:
    qkv = [ParamMapping(f"{attn}/qkv_einsum/w", dense, axes=(depth, ("query", "key", "value")))]
  else:
    qkv = [ParamMapping(f"{attn}/q_einsum/w", f"{layer}/attention/query_dense/vars/0", axes=(depth,)),
           ParamMapping(f"{attn}/kv_einsum/w", dense, axes=(depth, ("key", "value")))]
  norms = ["pre_attention_norm", "pre_ffw_norm"]
  norms += ["post_attention_norm", "post_ffw_norm"] if c.post_norms else []
  return [
      ParamMapping("llm/embedder/input_embedding", "layers/reversible_embedding/vars/0"),
      *qkv,
      ParamMapping(f"{attn}/attn_vec_einsum/w", f"{layer}/attention/output_dense/vars/0", axes=(depth,)),
      ParamMapping(f"{layers}/mlp/gating_einsum", f"{layer}/{{}}/vars/0",
          axes=(depth, ("gating_ffw", "gating_ffw_2"))),
      ParamMapping(f"{layers}/mlp/linear", f"{layer}/ffw_linear/vars/0", axes=(depth,)),
      *(ParamMapping(f"{layers}/{n}/scale", f"{layer}/{n}/vars/0", axes=(depth,)) for n in norms),
      ParamMapping("llm/final_norm/scale", "layers/rms_normalization/vars/0")]


def _opt(depth):
  layers, layer = "llm/layers", "layers/transformer_decoder{}"
  embedding, kw = "layers/token_and_position_embedding", dict(axes=(_layers(depth),))
  return [
      ParamMapping("llm/embedder/input_embedding", f"{embedding}/token_embedding/vars/0"),
      ParamMapping("llm/embedder/pos_embedding", f"{embedding}/position_embedding/vars/0"),
      *_norm(f"{layers}/attn_norm", f"{layer}/_self_attention_layer_norm", **kw),
      *_norm(f"{layers}/mlp_norm", f"{layer}/_feedforward_layer_norm", **kw),
      *_attention(f"{layers}/attn", f"{layer}/_self_attention_layer", **kw),
      *_pair(f"{layers}/mlp/Dense_0", f"{layer}/_feedforward_intermediate_dense", **kw),
      *_pair(f"{layers}/mlp/Dense_1", f"{layer}/_feedforward_output_dense", **kw),
      *_norm("llm/final_norm", "layers/layer_normalization")]
