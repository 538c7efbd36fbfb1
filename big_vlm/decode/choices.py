"""Answers that are one of some choices: each is scored, and the answer picked among them."""
import jax.numpy as jnp
import numpy as np

from big_vlm import image_input, inputs
from big_vlm.decode import search
from big_vlm.decode.answers import Generation
from pp import text_layout


def generate(vlm, prompts, images, config, session):
  """[Generation] of prompts, config.num_samples of each, with `choices`: {choice: probability}.
  session: the GenerationSession of the config.

  The probability of a choice is that of its tokens and the eos after the prompt, in proportion to
  those of the others. A greedy sampler takes the largest, another draws from what its filters leave
  of them. Raises ValueError for other searches, other stops, and limits below a choice.
  """
  if not isinstance(session.search, search.Sample) or session.search.n > 1:
    raise ValueError(f"Choices are weighed whole, and {config.sampler!r} has nothing to search: "
                     "take 'greedy' or a sampler that draws.")
  if session.stops.ids or session.stops.texts or session.stops.eos is None:
    raise ValueError("Choices end where they end: leave stop at its default.")
  if config.answer_start is not None:
    raise ValueError("Choices are whole answers: leave answer_start out.")
  choices = session.choices
  ids = [text_layout.suffix_ids(vlm.tokenizer, choice) for choice in choices]
  if (most := max(map(len, ids))) > config.max_new_tokens:
    raise ValueError(f"The longest choice has {most} tokens, its end included: "
                     f"max_new_tokens={config.max_new_tokens} cuts it.")
  image_input.check_seen(images, inputs.model_limits(vlm.config).image_size)
  images, out = list(image_input.by_prompt(images, len(prompts))), []
  seeds = inputs.seed_of_each(config.seed, len(prompts))
  for prompt, pictures, seed in zip(prompts, images, seeds):
    totals, rows = vlm.score([prompt], ids, [pictures] * len(ids))
    logits = totals - np.logaddexp.reduce(totals)
    share = {choice: float(p) for choice, p in zip(choices, np.exp(logits))}
    if session.search.draw:
      picked = _drawn(session.search, logits,
                      _seeds(vlm, prompt, pictures, seed, config.num_samples))
    else:
      picked = [int(np.argmax(logits))]
    for best in picked:
      out.append(Generation(choices[best], ids[best], [float(x) for x in rows[best]], "eos", share))
  return out


def _drawn(sampler, logits, seeds):
  """[number of a choice] of each seed."""
  left = jnp.asarray(logits, jnp.float32)[None]
  for keep in sampler.filters:
    left = keep(left)
  return [int(search.draw(np.uint32([seed]), np.int32([0]), left)[0]) for seed in seeds]


def _seeds(vlm, prompt, pictures, seed, samples):
  """uint32 [samples]: a function of the seed, the request and the number of the sample."""
  limits = inputs.model_limits(vlm.config)
  packed = inputs.pack_requests([prompt], [pictures], vlm.tokenizer, limits)
  return inputs.seeds(packed.digests, [seed], samples)
