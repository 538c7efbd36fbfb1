"""Look-ups by name whose errors offer the nearest name, or the new name of an old spelling."""
import collections.abc
import difflib

# Old spelling -> new: flags, config fields, arguments, options. An entry counts where the new name
# is known. The key is (where, old) if one old name has several new ones.
RENAMED = {
    # flags
    "process": "process_id",
    "processes": "num_processes",
    "coordinator": "coordinator_address",
    "start_timeout": "initialization_timeout",
    "segment": "masks",
    "against": "check_overlap",
    "tries": "max_compiles",
    "text": "text_len",
    "images": "num_images",
    "save": "dump_hlo",
    "raw": "manual_dir",
    "partial": "allow_incomplete",
    "names": "class_names",
    "set": "image_set",
    "profile": "profile_steps",
    # arguments of configs
    "size": "model",
    "pg1": "paligemma_3b",
    "3b": "paligemma2_3b",
    "10b": "paligemma2_10b",
    "28b": "paligemma2_28b",
    "final_split": "train_on_val",
    # fields of configs
    "microbatches": "grad_accum_steps",
    "keep_checkpoints": "max_to_keep",
    **{f"keep_every_{unit}": f"keep_period_{unit}" for unit in ("steps", "examples", "epochs")},
    "keep_every_percent": "keep_period_fraction",
    "decay_mults": "weight_decay_mults",
    **{f"{name}_percent": f"{name}_fraction"
       for name in ("total", "log", "checkpoint", "warmup", "cooldown", "eval")},
    "percent": "fraction",
    "mean": "loss_normalization",
    "stair": "piecewise_constant",
    # fields of models, the first two of big_vision
    "pool_type": "pool",
    "posemb": "positions",
    "window_rule": "sliding_window_mode",
    "two_sided": "symmetric",
    "prefix_exempt": "prefix_bidirectional",
    "dots": "save_attn",
    "wide_dots": "save_mlp",
    # evaluators and ops
    ("vqa", "rule"): "metric",
    ("report", "rule"): "protocol",
    "store": "submission",
    "fewer_ok": "allow_fewer",
    "sure": "confidence",
}

# Fields and arguments of big_vision that have no place of the same name here -> what has.
BIG_VISION = {
    "lr": "optimizer.lr", "wd": "optimizer.weight_decay, times lr here: give wd / lr",
    "lr_mults": "optimizer.lr_mults", "wd_mults": "optimizer.weight_decay_mults",
    "schedule": "optimizer.schedule", "grad_clip_norm": "optimizer.clip_norm",
    "optax_name": "optimizer.name", "optax": "optimizer.args, of optax's own names",
    "momentum": "optimizer.args: mu_dtype='bfloat16' of adamw, momentum=0.9 of adafactor, which "
                "keeps it in bfloat16",
    "scale_with_batchsize": "nothing: give optimizer.lr the rate that you want",
    "grad_clip_per_example": "nothing: a step has the gradient of the batch, not of each example; "
                             "optimizer.clip_norm clips that",
    "label_smoothing": "loss.label_smoothing", "model_init": "init",
    "model_load": "init.dont_load, a tuple of regexes", "dont_load": "init.dont_load",
    "model_name": "model.img.variant and model.llm.variant",
    "sharding_strategy": "sharding", "sharding_rules": "nothing: activations follow the batch",
    "mesh_allow_split_physical_axes": "nothing: it is always allowed",
    "prefetch_to_device": "nothing: the next batch is there before the step ends",
    **{f"log_training_{unit}": f"log_{unit}" for unit in ("steps", "examples", "epochs")},
    **{f"ckpt_{unit}": f"checkpoint_{unit}" for unit in ("steps", "examples", "epochs")},
    **{f"keep_ckpt_{unit}": f"keep_period_{unit}" for unit in ("steps", "examples", "epochs")},
    "log_percent": "fraction", "ckpt_percent": "checkpoint_fraction",
    # of input
    "shuffle_buffer_size": "nothing: each epoch is in another order as a whole",
    "skip_errors": "input.on_error='skip'", "pack": "input.packing='pack'",
    "num_parallel_calls": "input.workers and input.threads",
    "keep_only": "keep('image', ...) in the pp of a source",
    # of evals, and of their data
    "skip_first": "at_start=True where an eval is to run before the first step too",
    "pred": "the type, which knows what it asks the model",
    "pred_kw": "max_new_tokens and sampler of the eval", "max_decode_len": "max_new_tokens",
    "pp_fn": "pp", "mask_logits": "logit_bias={'piece': float('-inf')} of the eval",
    "cache": "nothing: a pipeline is opened once, and files are mapped, not read",
    "cache_raw": "nothing: files are mapped, and the system keeps in memory what it has room for",
    "pre_filter_fn": "filter of the source", "post_filter_fn": "filter of the source",
    "preds_outfile": "outfile of the eval",
    "annot_outfile": "nothing: each prediction has its references beside it",
    "prefix": "the eval's name: the metrics of config.evals['z/0shot'] begin with z/0shot/",
    "eval_repeats": "--repeats of evaluators.run", "eval_only": "python -m evaluators.run",
    "batch_size_eval": "batch_size of each eval",
}


def new_name(old, known):
  """The name in `known` that an old spelling has now, or None."""
  news = (new for key, new in RENAMED.items() if (key if isinstance(key, str) else key[1]) == old)
  return next((new for new in news if new in known), None)


def near_miss(name, names):
  """" Did you mean 'x'?" if one of `names` is close to `name`, else ""."""
  names = [str(n) for n in names]
  if new := new_name(name, names):
    return f" {name!r} is now {new!r}."
  near = difflib.get_close_matches(str(name), names, n=1)
  return f" Did you mean {near[0]!r}?" if near else ""


def near_field(name, names):
  """near_miss() of a field or an argument, or what has the place of big_vision's."""
  if name in BIG_VISION and not new_name(name, names):
    return f" Instead of big_vision's {name!r}: {BIG_VISION[name]}."
  return near_miss(name, names)


def pick(table, name, what):
  """table[name], or a ValueError that offers the nearest name and lists all of them."""
  if isinstance(name, collections.abc.Hashable) and name in table:
    return table[name]
  known = ", ".join(sorted(map(str, table)))
  raise ValueError(f"Unknown {what} {name!r}.{near_miss(name, table)} Known: {known}.")


def check_names(given, known, what):
  """Raises a ValueError for the first of `given` that is not known; it offers the nearest name."""
  if odd := sorted(set(given) - set(known)):
    raise ValueError(f"{what} has no {odd[0]!r}.{near_field(odd[0], known)} It takes "
                     f"{', '.join(known)}.")
