"""Unknown keywords of VLM's methods: one of transformers or KerasHub is answered with ours."""
import functools
import inspect

from pp.names import near_miss

_NO_NEED = "nothing, since "
_OUTPUT = f"{_NO_NEED}each answer has text, tokens, logprobs and finish_reason"
_BEAMS = "sampler='hf_beam(4, length_penalty=1., early_stopping=False)'"
_MASK = f"{_NO_NEED}prompts are strings or lists of ids, which have no padding"
_READS = {"input_ids": "prompts", "inputs": "prompts", "text": "prompts",
          "pixel_values": "images", "attention_mask": _MASK, "padding_mask": _MASK,
          "token_type_ids": _MASK}
_GENERATE = _READS | {
    "num_beams": f"{_BEAMS}; 'beam(4)' is big_vision's", "length_penalty": _BEAMS,
    "early_stopping": _BEAMS, "num_return_sequences": "num_samples",
    "do_sample": "sampler='temperature(1.)', which draws, or 'greedy', the default",
    "temperature": "sampler='temperature(0.7)'", "top_k": "sampler='top_k(50)'",
    "top_p": "sampler='top_p(0.9)|temperature(0.7)'", "min_p": "sampler='min_p(0.1)'",
    "penalty_alpha": "sampler='contrastive(k=5, alpha=0.6)'",
    "prompt_lookup_num_tokens": "sampler='prompt_lookup(8)'",
    "no_repeat_ngram_size": "no_repeat_ngram", "min_length": "min_new_tokens",
    "max_tokens": "max_new_tokens", "sequence_bias": "logit_bias",
    "bad_words_ids": "logit_bias={'word': float('-inf')}",
    "suppress_tokens": "logit_bias={id: float('-inf')}",
    "prefix_allowed_tokens_fn": "grammar or logits_processor", "constraints": "grammar",
    "eos_token_id": "stop", "stop_strings": "stop", "stop_token_ids": "stop",
    "stopping_criteria": "stop", "pad_token_id": f"{_NO_NEED}answers have no padding",
    "bos_token_id": f"{_NO_NEED}a string gets its bos, and ids are taken as they are",
    "streamer": "the method vlm.stream(), with the same arguments",
    "use_cache": f"{_NO_NEED}there always is one", "generation_config": "the arguments themselves",
    "return_dict_in_generate": _OUTPUT, "output_scores": _OUTPUT, "output_logits": _OUTPUT,
    "skip_special_tokens": f"{_NO_NEED}the text of an answer has none",
    "output_hidden_states": "the method vlm.outputs()",
    "output_attentions": "the method vlm.outputs()"}
OTHERS = {
    "generate": _GENERATE, "stream": _GENERATE,
    "score": _READS | {"labels": "suffixes", "answers": "suffixes",
                       "scoring_mode": "mode, of vlm.score_tokens()",
                       "layer_intercept_fn": "the same name, of vlm.score_tokens()"},
    "embed": _READS | {"text": "texts", "prompts": "texts", "input_ids": "texts",
                       "padding": f"{_NO_NEED}texts are padded to the length of the tower",
                       "normalize": f"{_NO_NEED}vectors are of length 1"},
    "fit": {"x": "examples", "train_dataset": "examples", "dataset": "examples",
            "y": "examples, which have a suffix each", "num_train_epochs": "epochs",
            "max_steps": "steps", "steps_per_epoch": "steps, of the whole training",
            "learning_rate": "lr", "per_device_train_batch_size": "batch_size, of all devices",
            "warmup_steps": "warmup", "warmup_ratio": "warmup, in steps",
            "lr_scheduler_type": "schedule", "optim": "optimizer", "verbose": "log_every",
            "logging_steps": "log_every", "max_seq_length": "text_len", "max_length": "text_len",
            "sequence_length": "text_len",
            "shuffle": f"{_NO_NEED}each epoch has an order of its own, from the seed",
            **dict.fromkeys(
                ("validation_data", "validation_split", "eval_dataset", "callbacks"),
                "an eval of trainers.train; vlm.score() after fit() tells a likelihood")}}


def checked(cls):
  """The class VLM, whose methods in OTHERS raise a TypeError that says what has the place of an
  unknown keyword."""
  of = {name: inspect.signature(getattr(cls, name)).parameters for name in OTHERS}
  for name, parameters in of.items():
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    known = of["generate"] if open_ended else parameters
    setattr(cls, name, _checked(getattr(cls, name), [n for n in known if n != "self"]))
  return cls


def _checked(method, known):
  @functools.wraps(method)
  def call(*args, **keywords):
    if odd := next((key for key in keywords if key not in known), None):
      name = method.__name__
      ours = OTHERS[name].get(odd)
      near = f" Instead: {ours}." if ours else near_miss(odd, known)
      raise TypeError(f"{name}() has no {odd!r}.{near} It takes {', '.join(known)}.")
    return method(*args, **keywords)
  return call
