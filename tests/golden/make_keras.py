"""Writes tests/golden/keras_*/: tiny random models saved by KerasHub, and what KerasHub computes.

    KERAS_BACKEND=jax python tests/golden/make_keras.py        (keras 3.15.1, keras-hub 0.32.0)

Each folder is a preset as save_to_preset leaves it, with golden.npz beside the weights:

    image     float32 [B, H, W, 3] in [-1, 1]         (PaliGemma, SigLIP)
    ids, padding, response   int32 [B, L]             (response: PaliGemma only)
    logits    float32 [B, L, V]; of SigLIP: pooled features [B, D]
    prompt    int32 [P]; greedy int32 [20]: what follows it, for image[0], each token from a full
              forward pass over all before it

All in float32, from the weights as they are on the disk.
"""
import io
import os
import pathlib
import shutil

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras_hub
import numpy as np
import sentencepiece

jax.config.update("jax_default_matmul_precision", "highest")
HERE = pathlib.Path(__file__).parent
WINDOW = 5  # of the Gemma 2 model
STEPS = 20
M = keras_hub.models

TOWER = dict(image_size=16, vit_patch_size=4, vit_num_heads=2, vit_hidden_dim=24, vit_num_layers=2,
             vit_intermediate_dim=40)
GEMMA = dict(vocabulary_size=90, num_layers=2, num_query_heads=4, num_key_value_heads=1,
             hidden_dim=32, intermediate_dim=2 * 40, head_dim=12)
GEMMA2 = dict(GEMMA, num_layers=3, num_key_value_heads=2, use_post_ffw_norm=True,
              use_post_attention_norm=True, attention_logit_soft_cap=5., final_logit_soft_cap=10.)

# Seven layers: the sixth is global, the last local. The size of images counts for nothing.
GEMMA3 = dict(vocabulary_size=90, image_size=None, num_layers=7, num_query_heads=4,
              num_key_value_heads=2, hidden_dim=24, intermediate_dim=20, head_dim=8,
              use_post_ffw_norm=True, use_post_attention_norm=True,
              use_sliding_window_attention=True, sliding_window_size=WINDOW,
              global_rope_scaling_factor=8.)


def perturb(model, seed):
  """Random weights of a size at which no mistake hides: norms and biases are far from 1 and 0.

  The embeddings are small against what the blocks add, or each token would predict itself.
  """
  rng = np.random.default_rng(seed)
  for v in model.variables:
    if not v.dtype.startswith(("float", "bfloat")):
      continue
    kind = v.path.rsplit("/", 1)[-1]
    x = rng.normal(size=v.shape)
    if kind == "kernel":
      x *= 1.5 / np.sqrt(np.prod(v.shape[:-1]) if "output" in v.path else v.shape[-2])
    elif kind == "embeddings":
      x *= 0.15
    else:
      strong = kind == "scale" and ("final" in v.path or "post" in v.path)
      x = 0.3 * x + (kind == "gamma") + 2 * strong
    v.assign(x)


def sentencepiece_model(added=()):
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(["detect the cat and the dog", "answer en what is on the table?",
                              "a red ball lies on the green lawn", "0 1 2 3 4 5 6 7 8 9"] * 4),
      model_writer=model, vocab_size=90 + len(added), model_type="bpe", hard_vocab_limit=False,
      pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>",
      bos_piece="<bos>", unk_piece="<unk>", normalization_rule_name="identity",
      add_dummy_prefix=False, remove_extra_whitespaces=False, minloglevel=2, num_threads=1,
      user_defined_symbols=["\n", *added])
  return model.getvalue()


def bpe():
  vocabulary = {p: i for i, p in enumerate(["<s>", "<pad>", "</s>", "<unk>"])}
  merges = ["t h", "th e", "Ġ the", "c a", "ca t", "Ġ cat"]
  for piece in [*"abcdefghijklmnopqrstuvwxyz.?Ġ", *(m.replace(" ", "") for m in merges)]:
    vocabulary[piece] = len(vocabulary)
  return vocabulary, merges


def logits_of(backbone):
  """(ids [B, L], padding, response, image) -> logits [B, L, V], compiled once."""
  multimodal = isinstance(backbone, M.PaliGemmaBackbone)
  head = backbone.token_embedding

  def run(ids, padding, response, image):
    x = {"token_ids": ids, "padding_mask": padding}
    if multimodal:
      x |= {"images": image, "response_mask": response}
    return head(backbone(x, training=False)[:, -ids.shape[1]:], reverse=True)

  return jax.jit(run)


def greedy(run, prompt, image):
  ids = np.zeros((1, len(prompt) + STEPS), np.int32)
  ids[0, :len(prompt)] = prompt
  response = np.arange(ids.shape[1])[None] >= len(prompt)
  for at in range(len(prompt), ids.shape[1]):
    padding = np.arange(ids.shape[1])[None] < at
    logits = run(ids, padding.astype(np.int32), response.astype(np.int32), image)
    ids[0, at] = np.argmax(logits[0, at - 1])
  return ids[0, len(prompt):]


def save(name, model, seed=0, **options):
  folder = HERE / f"keras_{name}"
  shutil.rmtree(folder, ignore_errors=True)
  perturb(model, seed)
  model.save_to_preset(str(folder), **options)
  return folder


def language(name, backbone, task, lengths, prefix=0, seed=1, **options):
  """Saves a model with a decoder, and its golden numbers for sequences of these lengths."""
  folder = save(name, task(backbone) if task else backbone, **options)
  backbone = type(backbone).from_preset(str(folder), dtype="float32")
  run, rng = logits_of(backbone), np.random.default_rng(seed)
  position = np.arange(max(lengths))[None]
  data = {"ids": rng.integers(4, backbone.vocabulary_size, (len(lengths), max(lengths))),
          "padding": position < np.array(lengths)[:, None],
          "response": np.broadcast_to(position >= prefix, (len(lengths), max(lengths)))}
  data = {k: x.astype(np.int32) for k, x in data.items()}
  image = None
  if isinstance(backbone, M.PaliGemmaBackbone):
    size = backbone.image_size
    image = data["image"] = rng.uniform(-1, 1, (len(lengths), size, size, 3)).astype(np.float32)
  logits = run(data["ids"], data["padding"], data["response"], image)
  prompt = rng.integers(4, backbone.vocabulary_size, 6).astype(np.int32)
  tokens = greedy(run, prompt, None if image is None else image[:1])
  np.savez_compressed(folder / "golden.npz", logits=np.asarray(logits, np.float32), prompt=prompt,
                      greedy=tokens, **data)
  print(name, "logits", np.abs(logits).max(), "greedy", tokens)


def tower(name, model, vision_of, seed=1):
  """Saves a model with a vision tower, and the tower's golden output."""
  folder = save(name, model)
  vision = vision_of(type(model).from_preset(str(folder), dtype="float32"))
  image = np.random.default_rng(seed).uniform(-1, 1, (2, *vision.image_shape)).astype(np.float32)
  out = np.asarray(vision({"images": image}))
  np.savez_compressed(folder / "golden.npz", image=image, logits=out)
  print(name, "pooled", np.abs(out).max())


def main():
  loc_seg = [*(f"<loc{i:04d}>" for i in range(1024)), *(f"<seg{i:03d}>" for i in range(128))]
  proto, proto_loc_seg = sentencepiece_model(), sentencepiece_model(loc_seg)
  vocabulary, merges = bpe()

  def gemma_task(backbone):
    tokenizer = M.GemmaTokenizer(proto=proto)
    return M.GemmaCausalLM(backbone=backbone, preprocessor=M.GemmaCausalLMPreprocessor(
        tokenizer, sequence_length=32))

  def pali_gemma_task(backbone):
    converter = keras_hub.layers.PaliGemmaImageConverter(
        image_size=(16, 16), scale=1 / 127.5, offset=-1)
    return M.PaliGemmaCausalLM(backbone=backbone, preprocessor=M.PaliGemmaCausalLMPreprocessor(
        M.PaliGemmaTokenizer(proto=proto_loc_seg), converter, sequence_length=32))

  def opt_task(backbone):
    tokenizer = M.OPTTokenizer(vocabulary=vocabulary, merges=merges)
    return M.OPTCausalLM(backbone=backbone, preprocessor=M.OPTCausalLMPreprocessor(
        tokenizer, sequence_length=32))

  language("paligemma", M.PaliGemmaBackbone(**TOWER, **GEMMA | dict(vocabulary_size=90 + 1152)),
           pali_gemma_task, [9, 12], prefix=5)
  # No window: KerasHub's is two-sided, which PaliGemma 2 was not trained with.
  language("paligemma2", M.PaliGemmaBackbone(**TOWER, **GEMMA2), None, [12, 7], prefix=4,
           max_shard_size=6e-5)
  language("gemma", M.GemmaBackbone(**GEMMA | dict(num_key_value_heads=4),
                                    dtype="bfloat16"), gemma_task, [12, 5])
  language("gemma2", M.GemmaBackbone(**GEMMA2, use_sliding_window_attention=True,
                                     sliding_window_size=WINDOW), gemma_task,
           [WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW])
  language("gemma3", M.Gemma3Backbone(**GEMMA3), None, [WINDOW, 2 * WINDOW])
  language("opt", M.OPTBackbone(vocabulary_size=39, num_layers=2, num_heads=4, hidden_dim=32,
                                intermediate_dim=40, max_sequence_length=40), opt_task, [12, 5])
  vision = dict(patch_size=4, hidden_dim=24, num_layers=2, num_heads=2, intermediate_dim=40,
                image_shape=(16, 16, 3))
  tower("siglip_vision", M.SigLIPVisionEncoder(**vision), lambda m: m)
  # As SigLIP is released: with the text tower, of which we read nothing.
  text = M.SigLIPTextEncoder(vocabulary_size=32, embedding_dim=24, hidden_dim=24, num_layers=1,
                             num_heads=2, intermediate_dim=40, max_sequence_length=8)
  tower("siglip", M.SigLIPBackbone(M.SigLIPVisionEncoder(**vision), text),
        lambda m: m.vision_encoder)


if __name__ == "__main__":
  main()
