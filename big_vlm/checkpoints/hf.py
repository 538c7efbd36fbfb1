"""Hugging Face folders: config.json, safetensors and tokenizer files of transformers.

PaliGemma 1 and 2, Gemma, Gemma 2, VaultGemma, OPT, and the vision half of SigLIP. Tensors are named
here as in the released files ("hub spelling"); SPELLINGS leads the other spellings to it. Folders
are written in hub spelling, which every version of transformers loads.
"""
import pathlib
import re

from big_vlm.checkpoints import hf_config, hf_tokenizer
from big_vlm.checkpoints.checkpoint import Checkpoint
from big_vlm.families import opt, paligemma
from big_vlm.formats import param_map, safetensors
from big_vlm.formats.param_map import ParamMapping
from pp import tokenizer_files

FILLER = 64  # rows that PaliGemma's table has there beyond ours: <image> and 63 unused ones

# {model_type: (regex, replacement) ...}, each applied once to a tensor's name.
SPELLINGS = {
    "paligemma": [  # in memory and in adapters from 4.52 on; saved by a model made in 5.x
        (r"^model\.", ""),
        (r"^language_model\.(?!model\.)", "language_model.model."),
        (r"^vision_tower\.(?!vision_model\.)", "vision_tower.vision_model.")],
    "siglip": [],
    "siglip_vision_model": [(r"^(?!vision_model\.)", "vision_model.")],
    "opt": [(r"^(?=decoder\.)", "model.")],
    **dict.fromkeys(("gemma", "gemma2", "vaultgemma"), [(r"^(?!model\.)", "model.")]),
}
# Tied heads, SigLIP's text half, a pooling head that PaliGemma does not use, and tables that are
# computed.
IGNORED = re.compile(r"(.*\.)?lm_head\.weight|text_model\..*|logit_scale|logit_bias|"
                     r"(model\.)?vision_tower\.(vision_model\.)?head\..*|"
                     r".*\.position_ids|.*\.rotary_emb\.inv_freq")

_NO_CONFIG_NEEDED = {
    "adapter_config.json": (
        "is a PEFT adapter: the small difference to a base model, not a model. Merge it into its "
        "base in PEFT (model.merge_and_unload().save_pretrained(...)) and give that folder."),
    "*.gguf": ("holds GGUF files, which are made for llama.cpp and mostly quantized. Give the "
               "safetensors folder that they were made from."),
    "pytorch_model*.bin*": (
        "holds its weights as pytorch_model.bin, a pickle, which can run any code when it is read "
        "and is therefore refused. Load it in transformers and save it again: save_pretrained "
        "writes safetensors."),
}


def claims(path):
  """Whether path is a folder of transformers (or a near relative, for open_source to refuse)."""
  path = pathlib.Path(path)
  if path.suffix in (".safetensors", ".gguf"):
    return True
  if (path / "config.json").is_file():  # KerasHub's has a registered_name
    return '"registered_name"' not in (path / "config.json").read_text(errors="replace")
  return path.is_dir() and any(any(path.glob(p)) for p in ["*.safetensors", *_NO_CONFIG_NEEDED])


def open_source(path):
  """The Checkpoint of a folder. Raises ValueError or FileNotFoundError, which name the file."""
  folder = pathlib.Path(path)
  _check_kind(folder)
  config = hf_config.read(folder)
  ours = hf_config.to_ours(config, folder / "config.json")
  theirs = hub_spelling(safetensors.read_folder(folder), config["model_type"], path)
  shapes = {n: s.shape for n, s in paligemma.param_shapes(ours).items()}
  leaves = param_map.import_(rows(ours, hf_config.fillers(config)), theirs, shapes, path)
  if bad := [n for n, leaf in leaves.items() if leaf.dtype.kind not in "fV"]:
    raise ValueError(f"{path}: {bad[0]} is stored as {leaves[bad[0]].dtype}: the weights are "
                     "quantized. Take the checkpoint that they were made from.")
  tokenizer = tokenizer_files.find(folder, multimodal=None not in (ours.img, ours.llm))
  return Checkpoint(str(path), ours, leaves, tokenizer)


def _check_kind(folder):
  if folder.suffix == ".safetensors" and folder.is_file():
    raise ValueError(f"{folder} is one file of a model: give the folder that holds it and its "
                     "config.json.")
  if folder.suffix == ".gguf":
    raise ValueError(f"{folder.parent} {_NO_CONFIG_NEEDED['*.gguf']}")
  for pattern, what in _NO_CONFIG_NEEDED.items():
    whole = any(folder.glob("model*.safetensors"))  # some repositories hold several formats
    if any(folder.glob(pattern)) and not whole:
      raise ValueError(f"{folder} {what}")


def hub_spelling(tensors, model_type, path):
  """{name: LazyArray} without what is IGNORED and with names as in released files."""
  out = {}
  for name, leaf in tensors.items():
    if IGNORED.fullmatch(name):
      continue
    hub = name
    for regex, replacement in SPELLINGS[model_type]:
      hub = re.sub(regex, replacement, hub, count=1)
    if hub in out:
      raise ValueError(f"{path}: {hub} is there twice, once spelt {name}.")
    out[hub] = leaf
  return out


def write(path, source, note, max_shard=safetensors.MAX_SHARD):
  """Writes a Checkpoint into the folder `path`: config.json, weights, tokenizer, processor.

  note(done, total): bytes of weights written. Raises ValueError, before anything is written, for a
  model that transformers has no class of.
  """
  folder, config = pathlib.Path(path), source.config
  filler = FILLER if config.img and config.llm else 0
  described = hf_config.to_theirs(config, source.dtype, filler)
  shapes = {n: s.shape for n, s in paligemma.param_shapes(config).items()}
  param_map.compare(source.leaves, shapes, source.path)
  folder.mkdir(parents=True, exist_ok=True)
  hf_tokenizer.write(folder, described, source.tokenizer)
  safetensors.write_folder(folder, param_map.export_(rows(config, filler), source.leaves), note,
                           max_shard)


def rows(config, filler=0):
  """The table of a PaliGemmaConfig's parameters in hub spelling."""
  table = []
  if config.img:
    tower = "vision_tower.vision_model." if config.llm else "vision_model."
    table += _tower(config.img, tower)
  if config.img and config.llm:
    table += [ParamMapping("img/head/kernel", "multi_modal_projector.linear.weight", "w d -> d w"),
              ParamMapping("img/head/bias", "multi_modal_projector.linear.bias")]
  if isinstance(config.llm, opt.OPTConfig):
    table += _opt(config.llm, "model.decoder.")
  elif config.llm:
    table += _gemma(config.llm, "language_model.model." if config.img else "model.", filler)
  return table


def _norm(ours, theirs, **kw):
  return [ParamMapping(f"{ours}/scale", f"{theirs}.weight", **kw),
          ParamMapping(f"{ours}/bias", f"{theirs}.bias", **kw)]


def _dense(ours, theirs, kernel, bias="", **kw):
  return [ParamMapping(f"{ours}/kernel", f"{theirs}.weight", kernel, **kw),
          ParamMapping(f"{ours}/bias", f"{theirs}.bias", bias, **kw)]


# d width, m MLP width; h heads of size e (of SigLIP and OPT); n query and k kv heads of size e
# (of Gemma). Torch keeps a linear layer as [out, in].
_TO_HEADS, _FROM_HEADS = "d h e -> (h e) d", "h e d -> d (h e)"


def _tower(c, root):
  encoder, head = "img/Transformer/encoderblock", "img/MAPHead_0"
  layer, kw = root + "encoder.layers.{}", dict(axes=(range(c.depth),))
  attn, mlp = f"{encoder}/MultiHeadDotProductAttention_0", f"{encoder}/MlpBlock_0"
  table = [
      ParamMapping("img/embedding/kernel", f"{root}embeddings.patch_embedding.weight", "p q c d -> d c p q"),
      ParamMapping("img/embedding/bias", f"{root}embeddings.patch_embedding.bias"),
      ParamMapping("img/pos_embedding", f"{root}embeddings.position_embedding.weight", "1 n d -> n d"),
      *_norm(f"{encoder}/LayerNorm_0", f"{layer}.layer_norm1", **kw),
      *_norm(f"{encoder}/LayerNorm_1", f"{layer}.layer_norm2", **kw),
      *_dense(f"{attn}/out", f"{layer}.self_attn.out_proj", _FROM_HEADS, **kw),
      *_dense(f"{mlp}/Dense_0", f"{layer}.mlp.fc1", "d m -> m d", **kw),
      *_dense(f"{mlp}/Dense_1", f"{layer}.mlp.fc2", "m d -> d m", **kw),
      *_norm("img/Transformer/encoder_norm", f"{root}post_layernorm")]
  for name in ("query", "key", "value"):
    theirs = f"{layer}.self_attn.{name[0]}_proj"
    table += _dense(f"{attn}/{name}", theirs, _TO_HEADS, "h e -> (h e)", **kw)
  if c.pool == "map":
    theirs, attn = f"{root}head", f"{head}/MultiHeadDotProductAttention_0"
    table += [
        ParamMapping(f"{head}/probe", f"{theirs}.probe"),
        *_dense(f"{attn}/out", f"{theirs}.attention.out_proj", _FROM_HEADS),
        *_norm(f"{head}/LayerNorm_0", f"{theirs}.layernorm"),
        *_dense(f"{head}/MlpBlock_0/Dense_0", f"{theirs}.mlp.fc1", "d m -> m d"),
        *_dense(f"{head}/MlpBlock_0/Dense_1", f"{theirs}.mlp.fc2", "m d -> d m")]
    for j, name in enumerate(("query", "key", "value")):
      stacked = f"{theirs}.attention.in_proj"
      table += [
          ParamMapping(f"{attn}/{name}/kernel", f"{stacked}_weight", _TO_HEADS, part=(j, 3)),
          ParamMapping(f"{attn}/{name}/bias", f"{stacked}_bias", "h e -> (h e)", part=(j, 3))]
  return table


def _gemma(c, root, filler):
  layers, layer, depth = "llm/layers", root + "layers.{}", range(c.depth)
  norms = {"pre_attention_norm": "input_layernorm", "pre_ffw_norm": "pre_feedforward_layernorm"}
  if c.post_norms:
    norms |= {"post_attention_norm": "post_attention_layernorm",
              "post_ffw_norm": "post_feedforward_layernorm"}
  elif hf_config.is_gemma1(c):  # there this name is the norm before the MLP
    norms["pre_ffw_norm"] = "post_attention_layernorm"
  proj, heads = f"{layer}.self_attn.{{}}_proj.weight", "n d e -> (n e) d"
  if c.kv_heads == c.heads:
    qkv = [ParamMapping(f"{layers}/attn/qkv_einsum/w", proj, heads, axes=(depth, "qkv"))]
  else:
    qkv = [ParamMapping(f"{layers}/attn/q_einsum/w", f"{layer}.self_attn.q_proj.weight", heads,
               axes=(depth,)),
           ParamMapping(f"{layers}/attn/kv_einsum/w", proj, "k d e -> (k e) d", axes=(depth, "kv"))]
  return [
      ParamMapping("llm/embedder/input_embedding", f"{root}embed_tokens.weight", after=filler),
      *qkv,
      ParamMapping(f"{layers}/attn/attn_vec_einsum/w", f"{layer}.self_attn.o_proj.weight",
          "n e d -> d (n e)", axes=(depth,)),
      ParamMapping(f"{layers}/mlp/gating_einsum", f"{layer}.mlp.{{}}_proj.weight", "d m -> m d",
          axes=(depth, ("gate", "up"))),
      ParamMapping(f"{layers}/mlp/linear", f"{layer}.mlp.down_proj.weight", "m d -> d m", axes=(depth,)),
      *(ParamMapping(f"{layers}/{ours}/scale", f"{layer}.{theirs}.weight", axes=(depth,))
        for ours, theirs in norms.items()),
      ParamMapping("llm/final_norm/scale", f"{root}norm.weight")]


def _opt(c, root):
  layers, layer, kw = "llm/layers", root + "layers.{}", dict(axes=(range(c.depth),))
  table = [
      ParamMapping("llm/embedder/input_embedding", f"{root}embed_tokens.weight"),
      # Rows 0 and 1 are an offset in the reference's code; no token reads row 0, pads read row 1.
      ParamMapping("llm/embedder/pos_embedding", f"{root}embed_positions.weight", before=2),
      *_norm(f"{layers}/attn_norm", f"{layer}.self_attn_layer_norm", **kw),
      *_norm(f"{layers}/mlp_norm", f"{layer}.final_layer_norm", **kw),
      *_dense(f"{layers}/attn/out", f"{layer}.self_attn.out_proj", _FROM_HEADS, **kw),
      *_dense(f"{layers}/mlp/Dense_0", f"{layer}.fc1", "d m -> m d", **kw),
      *_dense(f"{layers}/mlp/Dense_1", f"{layer}.fc2", "m d -> d m", **kw),
      *_norm("llm/final_norm", f"{root}final_layer_norm")]
  for name in ("query", "key", "value"):
    theirs = f"{layer}.self_attn.{name[0]}_proj"
    table += _dense(f"{layers}/attn/{name}", theirs, _TO_HEADS, "h e -> (h e)", **kw)
  return table
