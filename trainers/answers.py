"""The rows of a tuning step: answers that the policy itself writes, with their rewards, or pairs.

B prompts, G answers of each: row b * G + g is answer g to prompt b. What an answer is depends on
the parameters and on (seed, step, prompt's place in the batch, g) alone, so that a run resumes with
the answers of an undisturbed one.
"""
import dataclasses
import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from big_vlm import distributed, files, sharding
from big_vlm.data import packing
from big_vlm.decode.session import Batch, GenerationConfig, GenerationSession
from big_vlm.training import optim, policy
from evaluators import common, decoding, report
from evaluators.predictions import gather_in_order, write_predictions
from evaluators.rewards import Rewards
from pp import text_layout
from pp.text_utils import to_text
from pp.tokenizer import get_tokenizer

SAMPLER = "temperature(1.)"  # the policy itself: others would draw what the step does not weigh
REFERENCE = "reference.json"  # in the workdir
PICTURES = 16  # prompts with pictures in the page of samples


def of_config(config, s):
  """Sampled or Pairs, for a config with `tune` and its TrainSetup. Raises ValueError for a config
  that cannot be."""
  settings = policy.Settings.of(config)
  if not config.tokenizer:
    raise ValueError("Tuning reads and writes texts: the config needs a tokenizer.")
  return (Pairs if settings.algorithm == "dpo" else Sampled)(config, s, settings)


class Answers:
  """What Sampled and Pairs share. shows: the metric of the progress line."""

  def __init__(self, config, s, settings):
    self._s, self._settings, self._seed = s, settings, config.seed
    self._tokenizer, self._image = get_tokenizer(config.tokenizer), bool(s.model.config.img)
    self._size = config.input.batch_size
    self._layout = dataclasses.replace(packing.of_config(config),
                                       batch_size=self._size * settings.group)

  def prepare(self, workdir, first, start):
    """(TrainSetup, packing.Layout) of the steps from `first` on.

    start: gives the parameters of the run's start, with which some steps compare; those of the
    state itself where `first` is 0. Raises ValueError where those of a resumed run are others than
    at its beginning.
    """
    if not self._settings.has_reference:
      return self._s, self._layout
    reference = optim.partition(start(), self._s.optimizer.trainable)[0]
    if not first:  # the first step donates the state
      reference = jax.tree.map(jnp.copy, reference)
    found = common.fingerprint(reference)
    distributed.broadcast_from_primary(lambda: check_reference(workdir, first, found))
    step = policy.WithReference(self._s.step, reference)
    return self._s._replace(step=step), self._layout

  def prompts(self, device, host):
    """[ids] of the prompts of this process. Raises ValueError for one that was cut."""
    found = [row[inside > 0] for row, inside in zip(device["text"], device["mask_input"])]
    for ids, example in zip(found, host["_id"]):
      if len(ids) > self._settings.prompt_len:
        raise ValueError(f"The prompt of the example {example!r} has more than config.tune."
                         f"prompt_len={self._settings.prompt_len} tokens: raise it.")
    return found

  def rows(self, device, host, answers, **more):
    """(batch, host) of the answers [ids], those of a prompt side by side; more: keys [R]."""
    group = self._settings.group
    laid_out = [text_layout.layout(prompt.tolist(), answers[i * group + g], self._settings.length,
                                   image=self._image)
                for i, prompt in enumerate(self.prompts(device, host)) for g in range(group)]
    batch = {key: np.stack([row[key] for row in laid_out]) for key in laid_out[0]} | more
    if "image" in device:
      batch["image"] = np.repeat(device["image"], group, axis=0)
    return batch, host | {"_id": [i for i in host["_id"] for _ in range(group)]}

  def write(self, workdir, step):
    """Writes what there is to show of the last step."""


def check_reference(workdir, first, found):
  """Keeps the fingerprint of the parameters that a run compares with, and compares it."""
  path = epath.Path(workdir) / REFERENCE
  if first and path.exists():
    if json.loads(path.read_text()) != found:
      raise ValueError("config.init has other parameters than when this run began, and the run "
                       "compares with those: give them back (name a step, W/checkpoints/300), or "
                       "begin anew in another --workdir.")
  else:
    files.write_atomic(path, json.dumps(found))


class Pairs(Answers):
  """Of examples with "chosen" and "rejected", for DPO."""
  shows = "loss"

  def __call__(self, step, state, batch, host):
    del step, state
    ids, nothing = host["_id"], [None] * len(host["_id"])
    pairs = {key: host.get(key, nothing) for key in ("chosen", "rejected")}
    answers = [self._ids(pairs[key][i], key, ids[i]) for i in range(len(ids)) for key in pairs]
    return *self.rows(batch, host, answers), {}

  def _ids(self, answer, key, example):
    if answer is None:
      raise ValueError(f"DPO learns from pairs, and the example {example!r} has no {key!r}: have "
                       "its source give it, and the pp string keep it, text_layout(keep=('chosen', "
                       "'rejected')).")
    try:
      ids = text_layout.suffix_ids(self._tokenizer, to_text(answer))
    except ValueError as e:
      raise ValueError(f"{key!r} of the example {example!r}: {e}") from e
    if len(ids) > self._settings.max_new_tokens:
      raise ValueError(f"{key!r} of the example {example!r} has {len(ids)} tokens, more than "
                       f"config.tune.max_new_tokens={self._settings.max_new_tokens}.")
    return ids


class Sampled(Answers):
  """Answers that the policy draws, and their rewards."""
  shows = "reward"

  def __init__(self, config, s, settings):
    super().__init__(config, s, settings)
    self._rewards = Rewards(settings.rewards, self._tokenizer)
    self._config = GenerationConfig(settings.max_new_tokens, sampler=SAMPLER,
                                    num_samples=settings.samples)
    self._last = []  # the predictions of the last step

  def __call__(self, step, state, batch, host):
    group = self._settings.group
    self.prompts(batch, host)  # an error of one shows before all are answered
    found = self._answer(step, state.params, batch)
    places = sharding.local_batch_rows(self._s.mesh, self._size)
    mine = {}
    for j, place in enumerate(places):
      known = decoding.known_of(batch, host, j)
      if "image" in batch and place < PICTURES:
        known |= {"image": decoding.to_display(batch["image"][j])}
      for i in range(place * group, (place + 1) * group):
        mine[int(i)] = {**known, "prediction": found[i].text, "tokens": found[i].tokens,
                        "logprobs": found[i].logprobs, "finish_reason": found[i].finish_reason}
    self._last = gather_in_order(mine, range(self._size * group))
    total, each = distributed.broadcast_from_primary(self._reward)
    total = np.array(total, np.float32)
    advantage = policy.ALGORITHMS[self._settings.algorithm](total.reshape(-1, group)).reshape(-1)
    for p, reward, a in zip(self._last, total.tolist(), advantage.tolist()):
      p |= {"reward": reward, "advantage": a}
    local = np.concatenate([np.arange(p * group, (p + 1) * group) for p in places])
    rows = self.rows(batch, host, [found[i].tokens for i in local], advantage=advantage[local])
    return *rows, self._metrics(found, total, each, advantage)

  def _answer(self, step, params, device):
    """[Generation] of all prompts of the batch, on every process."""
    session = GenerationSession(self._s.model, params, self._tokenizer, self._config)
    prompts = {k: device[k][:, :self._settings.prompt_len]
               for k in ("text", "mask_ar", "mask_input")}
    if "image" in device:
      prompts["image"] = device["image"]
    return session.answers([Batch(
        self._size, sharding.make_global_array(self._s.mesh, prompts, self._size),
        limit=np.full(self._size, self._settings.max_new_tokens, np.int32),
        seeds=seeds(self._seed, step, self._size, self._settings.samples),
        new=self._settings.max_new_tokens)])

  def _reward(self):
    total, each = self._rewards(self._last)
    for name, values in each.items():
      for p, value in zip(self._last, values.tolist()):
        p[f"reward/{name}"] = value
    return total.tolist(), {name: values.tolist() for name, values in each.items()}

  def _metrics(self, found, total, each, advantage):
    out = {"reward": float(total.mean()), "reward_std": float(total.std())}
    for name, values in each.items():
      out |= {f"reward/{name}": float(np.mean(values)), f"reward_std/{name}": float(np.std(values))}
    same = (advantage.reshape(-1, self._settings.group) == 0).all(axis=1)
    return out | {"same_reward": float(same.mean()),
                  "answer_tokens": float(np.mean([len(g.tokens) for g in found])),
                  "answer_logprob": float(np.mean([sum(g.logprobs) for g in found]))}

  def write(self, workdir, step):
    """W/samples/STEP.jsonl, and W/samples.html with pictures."""
    if not distributed.is_primary_process():
      return
    folder = epath.Path(workdir)
    write_predictions(folder / "samples" / f"{step}.jsonl", self._last)
    shown = [{**p, "task": "tune", "score": p["reward"],
              "group": f"{i // self._settings.group + 1}. {p.get('prefix', '')}"}
             for i, p in enumerate(self._last[:PICTURES * self._settings.group])]
    rewards = {name: [p[f"reward/{name}"] for p in self._last] for name in self._rewards.names}
    results = [{"task": "tune", "metric": name, "value": float(np.mean(values)),
                "n": len(values)} for name, values in rewards.items()]
    report.write_report(folder / "samples.html", title="Answers and their rewards",
                        subtitle=f"step {step} of the tuning: {self._settings.samples} answers to "
                        "each prompt; a score is the reward of an answer",
                        results=results, predictions=shown)


def seeds(seed, step, prompts, samples):
  """uint32 [prompts * samples]: of each answer of a step."""
  out = [hashlib.blake2b(f"{seed}:{step}:{slot}:{sample}".encode(), digest_size=4).digest()
         for slot in range(prompts) for sample in range(samples)]
  return np.frombuffer(b"".join(out), np.uint32)
