"""Writes tests/golden/hf_*: small random models of transformers, and what they answer.

  .venv-parity/bin/python tests/golden/make_hf.py       with the packages of requirements-parity.txt

Each folder is what save_pretrained wrote, with golden.npz beside it:

  ids int32 [B, T], image float32 [B, H, W, 3]   inputs; a tower has no ids, a decoder no image
  prefix int32 []                                length of the bidirectional prefix of ids
  logits float32 [B, T, V]                       next-token logits at each text position
  greedy int32 [B, 20]                           continuation of ids[:, :prompt], eos never chosen
  prompt int32 []
  pooled, last_hidden float32                    of a tower

A folder with golden_T.npz instead has one for each sequence length.
"""
import json
import pathlib
import shutil

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
WINDOW = 6  # of hf_gemma2
NEW_TOKENS = 20

GEMMA = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=1, head_dim=16, vocab_size=160)  # 4 * 16 is not 32
GEMMA2 = dict(GEMMA, num_key_value_heads=2, query_pre_attn_scalar=24, sliding_window=WINDOW,
              attn_logit_softcapping=4.0, final_logit_softcapping=8.0)
# One global layer in three, the last local; a window of 4; RoPE with two bases, stretched by 8.
GEMMA3 = dict(GEMMA, vocab_size=128, num_hidden_layers=4, num_key_value_heads=2,
              query_pre_attn_scalar=24, sliding_window=4, sliding_window_pattern=3,
              rope_scaling=dict(rope_type="linear", factor=8.0))
SIGLIP = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
              image_size=14, patch_size=7)
OPT = dict(hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=160,
           max_position_embeddings=64, word_embed_proj_dim=32)


def make(cls, config, seed):
  """A model whose every parameter is random: a fresh one's zeros and ones would hide mistakes.

  Embeddings are small beside what the layers add, or each token would be followed by itself.
  """
  torch.manual_seed(seed)
  config._attn_implementation = "eager"
  model = cls(config).eval()
  with torch.no_grad():
    for name, p in model.named_parameters():
      if p.ndim == 1:
        p.add_(0.3 * torch.randn_like(p))
        if name.endswith(("model.norm.weight", "decoder.final_layer_norm.weight")):
          p.add_(8)  # the last norm: logits of about 8
      else:
        p.copy_(torch.randn_like(p) * (0.05 if "embed" in name else 1.7 * p[0].numel() ** -0.5))
  if model.can_generate():
    model.generation_config.eos_token_id = None
  return model


def save(model, name, **kw):
  folder = HERE / name
  shutil.rmtree(folder, ignore_errors=True)
  model.save_pretrained(folder, **kw)
  return folder


def text_golden(model, ids, prefix, prompt, image=None):
  """Logits and greedy tokens of a decoder or, with an image, of a PaliGemma."""
  text = torch.tensor(ids)
  inputs, types, skip = {}, {}, 0
  if image is not None:
    c = model.config
    skip = (c.vision_config.image_size // c.vision_config.patch_size) ** 2
    text = torch.cat([torch.full((len(ids), skip), c.image_token_index), text], dim=1)
    inputs = {"pixel_values": torch.tensor(image).permute(0, 3, 1, 2)}
    kinds = torch.zeros_like(text)
    kinds[:, skip + prefix:] = 1
    types = {"token_type_ids": kinds}
  with torch.no_grad():
    logits = model(input_ids=text, attention_mask=torch.ones_like(text), **inputs, **types).logits
    start = text[:, :skip + prompt]
    if types:
      types = {"token_type_ids": torch.zeros_like(start)}
    greedy = model.generate(
        input_ids=start, attention_mask=torch.ones_like(start), **inputs, **types, do_sample=False,
        max_new_tokens=NEW_TOKENS, eos_token_id=None, pad_token_id=0)[:, start.shape[1]:]
  assert greedy.shape[1] == NEW_TOKENS
  golden = dict(ids=ids, prefix=np.int32(prefix), prompt=np.int32(prompt),
                logits=logits[:, skip:].float().numpy(), greedy=greedy.numpy().astype(np.int32))
  return golden | ({} if image is None else {"image": image})


def random_ids(rng, batch, length, vocab=128):
  ids = rng.integers(4, vocab, (batch, length)).astype(np.int32)
  ids[:, 0] = 2
  return ids


def paligemma(seed, text_config, name, **kw):
  config = transformers.PaliGemmaConfig(
      text_config=text_config, projection_dim=32, hidden_size=32, image_token_index=150,
      vision_config=transformers.SiglipVisionConfig(**SIGLIP, vision_use_head=False))
  model = make(transformers.PaliGemmaForConditionalGeneration, config, seed)
  with torch.no_grad():  # rows that are not ours: none may be the best next token
    model.get_input_embeddings().weight[150:] = 0
  rng = np.random.default_rng(seed)
  image = rng.uniform(-1, 1, (2, 14, 14, 3)).astype(np.float32)
  golden = text_golden(model, random_ids(rng, 2, 10), 6, 6, image)
  golden["logits"] = golden["logits"][..., :150]  # the rows from <image> on are not ours
  np.savez(save(model, name, **kw) / "golden.npz", **golden)


def decoder(cls, config, name, seed):
  model = make(cls, config, seed)
  golden = text_golden(model, random_ids(np.random.default_rng(seed), 2, 12), 0, 5)
  np.savez(save(model, name) / "golden.npz", **golden)


def gemma2():
  model = make(transformers.Gemma2ForCausalLM, transformers.Gemma2Config(**GEMMA2), 5)
  folder = save(model, "hf_gemma2")
  for length in (WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW):
    ids = random_ids(np.random.default_rng(length), 2, length)
    np.savez(folder / f"golden_{length}.npz", **text_golden(model, ids, 0, length))


def siglip():
  model = make(transformers.SiglipVisionModel, transformers.SiglipVisionConfig(**SIGLIP), 6)
  with torch.no_grad():
    for p in (model.head.attention.in_proj_bias, model.head.probe):
      p.copy_(torch.randn_like(p))
    image = np.random.default_rng(6).uniform(-1, 1, (2, 14, 14, 3)).astype(np.float32)
    out = model(torch.tensor(image).permute(0, 3, 1, 2))
  np.savez(save(model, "hf_siglip") / "golden.npz", image=image,
           last_hidden=out.last_hidden_state.numpy(), pooled=out.pooler_output.numpy())


def siglip_pair():
  """Both halves of SigLIP in one folder; golden is the vision half's."""
  text = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=1, num_attention_heads=4,
              vocab_size=64, max_position_embeddings=8)
  model = make(transformers.SiglipModel, transformers.SiglipConfig(
      text_config=text, vision_config=SIGLIP), 7)
  image = np.random.default_rng(7).uniform(-1, 1, (1, 14, 14, 3)).astype(np.float32)
  with torch.no_grad():
    out = model.vision_model(torch.tensor(image).permute(0, 3, 1, 2))
  np.savez(save(model, "hf_siglip_pair") / "golden.npz", image=image,
           last_hidden=out.last_hidden_state.numpy(), pooled=out.pooler_output.numpy())


def old_spelling():
  """hf_paligemma's weights under the names of 4.52 to 5.0, with a tied head in the file."""
  folder = HERE / "hf_paligemma_old"
  shutil.rmtree(folder, ignore_errors=True)
  shutil.copytree(HERE / "hf_paligemma", folder)
  tensors = {}
  for name, x in load_file(folder / "model.safetensors").items():
    name = name.replace("language_model.model.", "language_model.")
    if "vision_model" not in name:
      name = name.replace("vision_tower.", "vision_tower.vision_model.")
    tensors[f"model.{name}"] = x
  tensors["lm_head.weight"] = tensors["model.language_model.embed_tokens.weight"].clone()
  save_file(tensors, folder / "model.safetensors", {"format": "pt"})
  config = json.loads((folder / "config.json").read_text())
  text = config["text_config"]  # as the released ones: what is default is not written
  del text["rope_parameters"], text["rms_norm_eps"]
  config["torch_dtype"] = config.pop("dtype")
  (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def bfloat16():
  model = make(transformers.GemmaForCausalLM, transformers.GemmaConfig(**GEMMA), 9)
  folder = save(model.to(torch.bfloat16), "hf_gemma_bf16")
  model = transformers.GemmaForCausalLM.from_pretrained(  # .float() would leave rope in bfloat16
      folder, dtype=torch.float32, attn_implementation="eager")
  model.generation_config.eos_token_id = None
  golden = text_golden(model, random_ids(np.random.default_rng(9), 2, 12), 0, 5)
  np.savez(folder / "golden.npz", **golden)


def main():
  transformers.logging.set_verbosity_error()
  gemma1, gemma2_text = transformers.GemmaConfig(**GEMMA), transformers.Gemma2Config(**GEMMA2)
  paligemma(1, gemma1, "hf_paligemma")
  old_spelling()
  gemma2_text.sliding_window = 4096  # PaliGemma 2 is without one here, see families/gemma/hf.py
  paligemma(2, gemma2_text, "hf_paligemma2", max_shard_size="60KB")
  decoder(transformers.GemmaForCausalLM, transformers.GemmaConfig(**GEMMA), "hf_gemma", 3)
  decoder(transformers.GemmaForCausalLM,
          transformers.GemmaConfig(**dict(GEMMA, num_key_value_heads=4)), "hf_gemma_mha", 4)
  gemma2()
  siglip()
  siglip_pair()
  decoder(transformers.OPTForCausalLM, transformers.OPTConfig(**OPT), "hf_opt", 8)
  decoder(transformers.OPTForCausalLM, transformers.OPTConfig(**dict(
      OPT, word_embed_proj_dim=16, do_layer_norm_before=False)), "hf_opt_350m", 11)
  decoder(transformers.VaultGemmaForCausalLM, transformers.VaultGemmaConfig(**GEMMA2),
          "hf_vaultgemma", 10)
  decoder(transformers.Gemma3ForCausalLM, transformers.Gemma3TextConfig(**GEMMA3), "hf_gemma3", 11)
  bfloat16()
  size = sum(f.stat().st_size for f in HERE.glob("hf_*/*"))
  print(f"tests/golden/hf_*: {size / 1e6:.2f} MB")


if __name__ == "__main__":
  main()
