"""Writes tests/golden/generate/NAME.json: what transformers and KerasHub generate from the models
of tests/golden/NAME, float32.

  KERAS_BACKEND=jax .venv-parity/bin/python tests/golden/make_generate.py
  (after make_hf and make_keras)

  prompts  [[id]]  of unequal lengths, each a batch of its own; prompt i reads image i % n of
                   the n in NAME/golden.npz, where the model reads images
  cases    [{"sampler", "stop": [id], "max_new_tokens", "tokens": [[id]], "scores": [float]}]
                   tokens are the new ones, the stop included; scores their summed log-probability
                   (transformers only)

A beam case with a stop has "exact" and "exact_scores" too: the search as big_vlm defines it, done
here anew on transformers' logits, every sequence read from its start. Without a stop the two are
one. With a stop, transformers (length_penalty=0, early_stopping="never") differs in two points:

  1. It lets a beam end only where that is among the n best of all continuations; here every beam is
     closed at every step, however unlikely that is, and the best of the closed ones is kept.
  2. At the limit it gives the best beam, ended or not; here the best that has ended.

The beams that go on are the same, so where the answers differ either ours scores higher (1) or
theirs has not ended (2): that is asserted. The stop is the token of the greedy
answers that gives most prompts one beam answer from both, and answers of different lengths; what
differs stays in the file.
"""
import collections
import json
import os
import pathlib

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras_hub
import numpy as np
import torch
import transformers

jax.config.update("jax_default_matmul_precision", "highest")
HERE = pathlib.Path(__file__).parent
LENGTHS = (3, 5, 8, 2, 6, 4)
NEW, BEAMS = 14, 4
DEFAULTS = dict(length_penalty=1., early_stopping=False)  # of num_beams in transformers
HF = ("hf_gemma", "hf_gemma2", "hf_opt", "hf_paligemma", "hf_paligemma2")
KERAS = {"keras_gemma": "GemmaCausalLM", "keras_gemma2": "GemmaCausalLM",
         "keras_opt": "OPTCausalLM", "keras_paligemma": "PaliGemmaCausalLM",
         "keras_paligemma2": "PaliGemmaCausalLM"}


def prompts_and_images(name, vocab, seed):
  rng = np.random.default_rng(seed)
  prompts = [rng.integers(4, vocab, n) for n in LENGTHS]
  arrays = np.load(sorted((HERE / name).glob("golden*.npz"))[0])
  images = arrays["image"] if "image" in arrays else None
  return prompts, [None if images is None else images[i % len(images)]
                   for i in range(len(prompts))]


def until_stop(ids, stop):
  """ids up to the first of the stops; what follows is padding."""
  ends = np.flatnonzero(np.isin(ids, stop))
  return ids[:ends[0] + 1] if len(ends) else ids


def case(answers, sampler="greedy", stop=(), **more):
  tokens, scores = zip(*answers)
  out = {"sampler": sampler, "stop": [int(s) for s in stop], "max_new_tokens": NEW,
         "tokens": [[int(t) for t in row] for row in tokens]}
  return out | ({} if None in scores else {"scores": [round(float(s), 5) for s in scores]}) | more


def check_variety(name, answers):
  """A model that repeats a few tokens would hide mistakes."""
  seen = collections.Counter(int(t) for tokens, _ in answers for t in tokens)
  different = [len(set(map(int, tokens))) for tokens, _ in answers]
  assert len(seen) > 12 and np.median(different) > 3, (name, seen, different)


class Transformers:
  def __init__(self, name):
    images = name.startswith("hf_paligemma")
    cls = (transformers.AutoModelForImageTextToText if images
           else transformers.AutoModelForCausalLM)
    self.model = cls.from_pretrained(HERE / name, dtype=torch.float32, attn_implementation="eager")
    self.model.eval()
    # The rows from <image> on are not ours: neither chosen nor counted in the softmax.
    self.vocab = 150 if images else 160
    self.rows = self.model.config.get_text_config().vocab_size
    self.known = {}

  def inputs(self, ids, prefix, image):
    text = torch.tensor(np.asarray(ids, np.int64))[None]
    if image is None:
      return {"input_ids": text, "attention_mask": torch.ones_like(text)}
    config = self.model.config
    skip = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    text = torch.cat([torch.full((1, skip), config.image_token_index), text], dim=1)
    kinds = torch.zeros_like(text)
    kinds[:, skip + prefix:] = 1
    return {"input_ids": text, "attention_mask": torch.ones_like(text), "token_type_ids": kinds,
            "pixel_values": torch.tensor(image).permute(2, 0, 1)[None]}

  def logprobs(self, prompt, tokens, image):
    """float32 [V] of what follows the prompt and tokens, by a full forward pass."""
    key = (*prompt, *tokens)
    if key not in self.known:
      with torch.no_grad():
        logits = self.model(**self.inputs(key, len(prompt), image)).logits[0, -1, :self.vocab]
      self.known[key] = torch.log_softmax(logits, dim=-1).numpy()
    return self.known[key]

  def generate(self, prompt, image, stop=(), beams=1, more=()):
    """(new tokens, their summed log-probability), of the best beam; more: arguments of
    transformers' generate()."""
    return self.generate_all(prompt, image, stop, beams, more)[0]

  def generate_all(self, prompt, image, stop=(), beams=1, more=()):
    """[(new tokens, their summed log-probability)] of all that are returned."""
    inputs = self.inputs(prompt, len(prompt), image)
    more = dict(more)
    if beams > 1:
      more = dict(num_beams=beams, length_penalty=0., early_stopping="never") | more
    with torch.no_grad():
      out = self.model.generate(
          **inputs, **more, do_sample=False, max_new_tokens=NEW, pad_token_id=0,
          eos_token_id=list(stop) or None, renormalize_logits=True,
          return_dict_in_generate=True, output_scores=True,
          suppress_tokens=list(range(self.vocab, self.rows)) or None)
    answers = out.sequences[:, inputs["input_ids"].shape[1]:].numpy()
    if beams > 1:
      answers = [until_stop(row, stop) for row in answers]
      return [(row, score.item() * len(row) ** more["length_penalty"])
              for row, score in zip(answers, out.sequences_scores)]
    new = answers[0]
    return [(new, sum(torch.log_softmax(s[0], -1)[t].item() for s, t in zip(out.scores, new)))]

  def exact_beam(self, prompt, image, stop):
    """Beam search by the definition of big_vlm, see the top."""
    live, best = [((), 0.)], ((), -np.inf)
    for _ in range(NEW):
      grown = []
      for tokens, score in live:
        logprobs = score + self.logprobs(prompt, tokens, image)
        best = max(best, ((*tokens, stop), logprobs[stop]), key=lambda x: x[1])
        logprobs[stop] = -np.inf
        grown += [((*tokens, t), logprobs[t]) for t in np.argsort(-logprobs)[:BEAMS]]
      live = sorted(grown, key=lambda x: -x[1])[:BEAMS]
      if best[1] > live[0][1]:
        break
    return best


class KerasHub:
  def __init__(self, name):
    task = getattr(keras_hub.models, KERAS[name])
    backbone = task.backbone_cls.from_preset(str(HERE / name), dtype="float32")
    self.vocab = backbone.vocabulary_size
    self.model = task(backbone=backbone, preprocessor=None)
    self.model.compile(sampler="greedy")

  def generate(self, prompt, image, stop=()):
    """(new tokens, None)."""
    length, width = len(prompt), max(LENGTHS) + NEW  # one width: KerasHub compiles for each
    inputs = {"token_ids": np.pad(prompt, (0, width - length)).astype(np.int32)[None],
              "padding_mask": (np.arange(width) < length).astype(np.int32)[None]}
    if image is not None:
      inputs["images"] = image[None]
    out = self.model.generate(inputs, stop_token_ids=list(stop) or None)
    ids = np.asarray(out["token_ids"])[0, length:length + NEW]
    return until_stop(ids, stop), None


def hf(name, seed):
  model = Transformers(name)
  prompts, images = prompts_and_images(name, 128, seed)
  each = lambda fn, **kw: [fn(p, x, **kw) for p, x in zip(prompts, images)]
  greedy, beam = each(model.generate), each(model.generate, beams=BEAMS)
  check_variety(name, greedy)

  def with_stop(stop):
    exact = each(model.exact_beam, stop=stop)
    theirs = each(model.generate, stop=[stop], beams=BEAMS)
    equal = [list(a) == list(b) for (a, _), (b, _) in zip(exact, theirs)]
    for (a, score), (b, score_of_theirs) in zip(exact, theirs):
      if list(a) != list(b):  # point 1, or point 2
        assert score > score_of_theirs or len(b) == NEW and b[-1] != stop
    return sum(equal), len({len(a) for a, _ in exact}), stop, exact, theirs

  common = collections.Counter(int(t) for tokens, _ in greedy for t in tokens[2:]).most_common(16)
  equal, lengths, stop, exact, theirs = max(
      (with_stop(t) for t, _ in common), key=lambda x: x[0] + x[1])
  sampler = f"beam(n={BEAMS})"
  print(name, "stop", stop, "equal", equal, "of", len(prompts), "different lengths", lengths)
  return prompts, [
      case(greedy), case(each(model.generate, stop=[stop]), stop=[stop]), case(beam, sampler),
      case(theirs, sampler, [stop], exact=[[int(t) for t in row] for row, _ in exact],
           exact_scores=[round(float(s), 5) for _, s in exact]),
      case(each(model.generate, stop=[stop], beams=BEAMS, more=DEFAULTS), f"hf_beam(n={BEAMS})",
           [stop])]


def keras(name, seed):
  model = KerasHub(name)
  prompts, images = prompts_and_images(name, model.vocab, seed)
  each = lambda **kw: [model.generate(p, x, **kw) for p, x in zip(prompts, images)]
  greedy = each()
  check_variety(name, greedy)
  often = collections.Counter(int(t) for tokens, _ in greedy for t in set(tokens[2:]))
  stop = [often.most_common(1)[0][0]]
  with_stop = each(stop=stop)
  print(name, "stop", stop, "lengths", [len(tokens) for tokens, _ in with_stop])
  return prompts, [case(greedy), case(with_stop, stop=stop)]


def main():
  transformers.logging.set_verbosity_error()
  torch.set_num_threads(1)  # models this small gain nothing from more
  folder = HERE / "generate"
  folder.mkdir(exist_ok=True)
  for seed, name in enumerate([*HF, *KERAS]):
    prompts, cases = (hf if name in HF else keras)(name, seed)
    lines = ",\n ".join(json.dumps(c) for c in cases)
    text = json.dumps([p.tolist() for p in prompts])
    (folder / f"{name}.json").write_text(f'{{"prompts": {text},\n "cases": [\n {lines}]}}\n')


if __name__ == "__main__":
  main()
