"""Tuning on a metric or on preferences: a training step whose tokens weigh by what answers earn.

Each algorithm's gradient is that of a weighted likelihood, sum(weight * log p(token)), so the step
is the one of step.py and the weights are all that differs. B prompts, G answers of each, side by
side in the R = B * G rows of a batch; N the most tokens of an answer.

  reinforce  the answer's advantage: its reward less the mean of the others' (leave-one-out; RLOO,
             arXiv 2402.14740)
  grpo       the same over the group's standard deviation, times the ratio of the token's
             probability to that at the start of the step; 0 where the ratio has left 1 +- clip
             (arXiv 2402.03300, equation 3)
  dpo        beta * sigmoid(-margin) on the chosen answer and its negative on the rejected one
             (arXiv 2305.18290, equation 7)
"""
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from big_vlm import config_fields, inputs, scoring
from big_vlm.data import packing
from big_vlm.training import losses, optim, parts
from pp.names import check_names, pick

PAIR = 2  # answers of a pair: chosen, rejected


def leave_one_out(rewards):
  """Advantages float32 [B, G] of rewards [B, G]: of equal rewards exactly 0."""
  differences = _differences(rewards)
  return differences.sum(axis=2) / (differences.shape[1] - 1)


def group_normalized(rewards):
  """Advantages float32 [B, G] of rewards [B, G]: of equal rewards exactly 0."""
  centered = _differences(rewards).mean(axis=2)
  return centered / (np.sqrt(np.square(centered).mean(axis=1, keepdims=True)) + 1e-6)


def _differences(rewards):
  rewards = np.asarray(rewards, np.float32)
  return rewards[:, :, None] - rewards[:, None, :]


# How advantages follow from rewards; None: there are no rewards.
ALGORITHMS = {"reinforce": leave_one_out, "grpo": group_normalized, "dpo": None}


@dataclasses.dataclass(frozen=True)
class Settings:
  """config.tune. Raises ValueError for a field or value that makes no sense.

  prompt_len: tokens of a prompt; max_new_tokens: of an answer, its end included. samples: answers
  to each prompt, 2 of "dpo". rewards: evaluators/rewards.py. kl: weight of the mean KL divergence
  of a token from the start; 0 only measures it, None does not. clip, updates: of "grpo", which
  takes so many updates of the same answers a step. beta: of "dpo".
  """
  algorithm: str = "reinforce"
  prompt_len: int = 0
  max_new_tokens: int = 0
  samples: int = 8
  rewards: tuple = ()
  kl: float | None = None
  clip: float = 0.2
  updates: int = 1
  beta: float = 0.1

  @classmethod
  def of(cls, config):
    """The Settings of a config; None where it does not tune."""
    if not config.get("tune"):
      return None
    given = config.tune.to_dict()
    check_names(given, [f.name for f in dataclasses.fields(cls)], "config.tune")
    rewards = given.get("rewards") or ()
    if not isinstance(rewards, (list, tuple)):
      raise ValueError(f"config.tune.rewards is {rewards!r:.60}: give a list of dicts, such as "
                       "[dict(name='detection')].")
    return cls(**given | {"rewards": tuple(rewards)})

  def __post_init__(self):
    pick(ALGORITHMS, self.algorithm, "config.tune.algorithm")
    given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    config_fields.check({"tune": given})
    if self.updates > 1 and self.algorithm != "grpo":
      raise ValueError(f"config.tune.updates={self.updates} takes several updates of the same "
                       "answers, which only algorithm='grpo' corrects for.")
    if self.algorithm == "dpo" and (self.rewards or self.kl is not None):
      raise ValueError("config.tune.algorithm='dpo' learns from pairs: it has no rewards, and "
                       "beta is its KL. Leave tune.rewards and tune.kl out.")
    if self.algorithm != "dpo" and not self.rewards:
      raise ValueError(f"config.tune.algorithm={self.algorithm!r} needs tune.rewards, such as "
                       "[dict(name='detection')].")

  @property
  def group(self):
    """G."""
    return PAIR if self.algorithm == "dpo" else self.samples

  @property
  def length(self):
    """Tokens of a row: its prompt and its answer."""
    return self.prompt_len + self.max_new_tokens

  @property
  def has_reference(self):
    """Whether the step compares with the parameters of the start."""
    return self.algorithm == "dpo" or self.kl is not None

  def check(self, config):
    """Raises ValueError where other fields of the config do not go with tuning."""
    if config.input.packing != "none":
      raise ValueError(f"config.input.packing={config.input.packing!r} is of given answers; tuning "
                       "writes its own: take 'none'.")
    if config.loss.name != "next_token":
      raise ValueError(f"config.loss.name={config.loss.name!r} has no answers to tune: take "
                       "'next_token'.")
    if config.loss.label_smoothing or config.loss.z_loss:
      raise ValueError("config.loss.label_smoothing and z_loss change the likelihood that tuning "
                       "weighs: leave them 0.")
    if config.model.img.get("dropout") or config.model.llm.get("dropout") or config.lora.dropout:
      raise ValueError("Tuning compares the probabilities of tokens, which dropout changes at "
                       "random: leave the dropout of model.img, model.llm and lora 0.")
    if self.algorithm == "dpo" and config.loss.loss_normalization != "sequence":
      raise ValueError("config.tune.algorithm='dpo' compares whole answers: "
                       "config.loss.loss_normalization is 'sequence' then, not "
                       f"{config.loss.loss_normalization!r}.")

  def check_lengths(self, model):
    """Raises ValueError where prompt and answer do not fit a model, of its PaliGemmaConfig."""
    limits, images = inputs.model_limits(model), int(bool(model.img))
    if self.length + images * limits.image_tokens > limits.tokens:
      raise ValueError(f"config.tune.prompt_len={self.prompt_len} and max_new_tokens="
                       f"{self.max_new_tokens} with an image of {limits.image_tokens} tokens are "
                       f"more than the {limits.tokens} that the model takes.")


def rows(config):
  """Rows of a step: those of the data, of a tuning one for each answer."""
  settings = Settings.of(config)
  return packing.rows(config) * (settings.group if settings else 1)


def refuse(config, command):
  """Raises ValueError in a command that reads the answers of a training."""
  if config.get("tune"):
    raise ValueError(f"This config tunes (config.tune): its steps write their own answers, and "
                     f"{command} is for trainings on given ones. Take python -m trainers.tune.")


def make_step(train_step, model, optimizer, settings, normalization, grad_accum_steps=1):
  """(state, batch) -> (state, metrics) of step.make_train_step's train_step.

  The batch has "advantage" float32 [R] (but of "dpo"), and "reference", the trainable parameters of
  the start, where settings.has_reference. Without any advantage in the whole batch nothing changes
  but the step.
  """
  logprobs = functools.partial(answer_logprobs, model, grad_accum_steps=grad_accum_steps)

  def policy_step(state, batch):
    batch, first, old, of_start = dict(batch), state, None, None
    at, real = answer_places(batch["mask_loss"], settings.max_new_tokens)
    if settings.has_reference:
      frozen = optim.partition(state.params, optimizer.trainable)[1]
      start = optim.combine(state.params, batch.pop("reference"), frozen)
      of_start = logprobs(start, batch, at)
    every = losses.token_weights(batch["mask_loss"], normalization)
    share = jnp.take_along_axis(every, at, axis=1)
    for update in range(settings.updates):
      compares = settings.has_reference or settings.updates > 1
      now = logprobs(state.params, batch, at) if compares else None
      old = now if old is None else old
      weight, measured = token_weights(settings, batch, now, old, of_start, real, share)
      spread = jnp.zeros(every.shape).at[jnp.arange(len(at))[:, None], at].add(weight)
      state, metrics = train_step(state, batch | {"loss_weight": spread})
      if update + 1 < settings.updates:  # the learning rate is that of the step
        state = state.replace(opt_state=(*state.opt_state[:-1], first.opt_state[-1]))
    value = metrics["loss"]
    metrics |= {"weighted_likelihood": -value, **measured, "loss": measured.get("loss", value),
                **optimizer.rates(first.step)}
    return state.replace(step=first.step + 1), metrics
  return policy_step


def token_weights(settings, batch, now, old, of_start, real, share):
  """(weights [R, N] on -log p of the tokens of answers, {metric}).

  now, old, of_start: log-probabilities [R, N] by the parameters of now, of the start of the step,
  and of the start of the run; None where settings do not need them. real: bool [R, N]. share: that
  of each token in the loss, whose sum over an answer is not counted twice.
  """
  if settings.algorithm == "dpo":
    return _dpo(settings, now, of_start, real)
  advantage = jnp.broadcast_to(batch["advantage"][:, None], real.shape)
  weight, measured = advantage, {}
  if settings.algorithm == "grpo" and settings.updates > 1:
    ratio = jnp.exp(now - old)
    bounded = jnp.clip(ratio, 1 - settings.clip, 1 + settings.clip)
    inside = ratio * advantage <= bounded * advantage
    weight = jnp.where(inside, ratio * advantage, 0)
    measured["clipped"] = _mean(~inside & real, real)
    measured["loss"] = -jnp.sum(share * jnp.minimum(ratio * advantage, bounded * advantage))
  if of_start is not None:
    # Schulman's estimator: unbiased, never below 0. Its gradient is 0 where nothing has changed.
    more = of_start - now
    kl = jnp.where(real, jnp.exp(more) - more - 1, 0)
    measured["kl"] = _mean(kl, real)
    if settings.kl:
      weight += settings.kl * (jnp.exp(more) - 1)
      likelihood = -jnp.sum(share * advantage * now)
      measured["loss"] = measured.get("loss", likelihood) + settings.kl * jnp.sum(share * kl)
  # Adam would make whole steps of the rounding that is left where all answers earn the same.
  return jnp.where(real & jnp.any(batch["advantage"] != 0), weight, 0), measured


def _dpo(settings, now, of_start, real):
  gain = jnp.sum(jnp.where(real, now - of_start, 0), axis=1).reshape(-1, PAIR)
  margin = settings.beta * (gain[:, 0] - gain[:, 1])
  push = settings.beta * jax.nn.sigmoid(-margin)
  # A pair is two rows, and the loss a mean over pairs.
  weight = PAIR * jnp.stack([push, -push], axis=1).reshape(-1, 1)
  return jnp.where(real, weight, 0), {
      "loss": jnp.mean(jax.nn.softplus(-margin)), "margin": jnp.mean(margin),
      "pair_accuracy": jnp.mean(margin > 0)}


def _mean(x, real):
  return jnp.sum(x) / jnp.maximum(jnp.sum(real), 1)


def answer_places(mask, length):
  """(int [R, N]: where the first `length` tokens of answers stand, bool [R, N]: which of these
  places have one), of mask_loss [R, T]."""
  at = jnp.argsort(1 - mask, axis=1, stable=True)[:, :length]
  return at, jnp.take_along_axis(mask, at, axis=1) > 0


def answer_logprobs(model, params, batch, at, grad_accum_steps=1):
  """log p(token) float32 [R, N] of the tokens at the places [R, N], by the road of vlm.score.

  grad_accum_steps: the rows go through the model in so many parts, one after the other.
  """
  def of(inputs):
    part, at = inputs
    hidden = scoring.hidden_states(model, params, part)
    hidden = jnp.take_along_axis(hidden, jnp.maximum(at - 1, 0)[..., None], axis=1)
    return -scoring.nll(model, params, hidden, jnp.take_along_axis(part["text"], at, axis=1))
  inputs = {k: batch[k] for k in ("text", "mask_ar", "image") if k in batch}, at
  if grad_accum_steps == 1:
    return of(inputs)
  return parts.join(jax.lax.map(of, parts.split(inputs, grad_accum_steps)))


class WithReference:
  """A jitted step whose batches have "reference", the trainable parameters of the start."""

  def __init__(self, step, reference):
    self._step, self._reference = step, reference

  def lower(self, state, batch):
    return self._step.lower(state, batch | {"reference": self._reference})

  def __call__(self, state, batch):
    return self._step(state, batch | {"reference": self._reference})
