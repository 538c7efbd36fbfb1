"""A config of big_vision where one of ours is expected: refused, with what has the place of each of
its fields.

pp.names.BIG_VISION has the fields that a config of ours may be given by mistake, one at a time.
"""
import fnmatch
import pathlib

from pp.names import BIG_VISION
from pp.printable import printable

TRANSFERS = pathlib.Path(__file__).parents[1] / "configs" / "transfers"
SAME = "the same"
MIXTURE = "input.mixture, a list of dict(data=..., pp=..., weight=1.)"

# Field of big_vision's configs, * for any name in it -> what has its place. Of those that match the
# first counts; what is not here is in BIG_VISION.
PLACES = {
    "total_steps": "the same; to evaluate without training, evaluators.run",
    "pp_modules": "nothing: all ops are there; pp_modules is for modules of yours",
    "name": "nothing: the workdir names a run",
    "mode": "nothing: --config.total_steps=2 for a try",
    "run_local": "nothing, as mode",
    "res": "model.img.image_size",
    "batch_size": "input.batch_size",
    "size": "model, an argument of configs/transfers: paligemma2_3b",
    "final_split": "train_on_val, an argument of configs/transfers",
    "freeze_*": "optimizer.schedule, (('img/.*', None), ('.*', {...}))",
    "crop": "ops of the mixture's pp, such as inception_crop",
    "beam_size": "sampler='beam(3)' of an eval",
    "prefix": "strfmt('...', outkey='prefix') in pp",
    "num_frames": "decode_video(num_frames=16) in pp",
    "stride": "decode_video(stride=9) in pp",
    "qfmt": "pp of configs/transfers/science_qa.py",
    "afmt": "pp of configs/transfers/science_qa.py",
    "eval_xm3600": "the evals of configs/transfers/coco35l.py",
    "input.data": f"{MIXTURE}; data has the same name, but 'jsonl' for 'bv:jsonl'",
    "input.*.data": f"data in {MIXTURE}",
    "input*pp": f"pp in {MIXTURE}; its ops are the same",
    "input.prefetch": "nothing: the next batch is there before the step ends",
    "input*tfdata*": "nothing: there is no tf.data",
    "model.img.pool_type": "model.img.pool",
    "model.img.posemb": "model.img.positions",
    "model.img.head_zeroinit": "model.img.zero_head",
    "model.img.num_classes": "nothing: the head is as wide as the decoder",
    "model.*.scan": "nothing: layers are always scanned",
    "model.*.dtype_mm": "model.dtype",
    "model.*.remat_policy": "model.*.remat",
    "model.llm.final_logits_softcap": "model.llm.final_softcap, None for 0.0",
    "model.llm.attn_logits_softcap": "model.llm.attn_softcap, None for 0.0",
    "model.llm.cache_dtype": "cache_dtype of an eval",
    "model.img_model": "nothing: the fields of model.img",
    "model.llm_model": "nothing: the fields of model.llm",
    "model_init": "init.model, 'google/paligemma-3b-pt-224' for 'pt_224', "
        "'google/paligemma2-3b-pt-224' for 'pt_3b_224'",
    "mesh": "mesh=dict(data=1, fsdp=-1): the axis fsdp shards what sharding_strategy's fsdp(...) "
        "does",
    "optax_name": "optimizer.name, 'adamw' for 'scale_by_adam', 'sgd' for 'big_vision.sgd'",
    "optax*": "optimizer.args, of optax's own names",
    "wd": "optimizer.weight_decay = wd / lr, since it is times lr here; "
        "weight_decay_mults=(('.*/kernel', 1.), ('.*', 0.)) as there",
    "schedule*": "optimizer.schedule; decay='cosine' for decay_type, warmup_fraction for "
        "warmup_percent",
    "model_load*": "init.dont_load, a tuple of regexes",
    "evals.*.data.name": "data.name; 'jsonl' for 'bv:jsonl'",
    "evals.*.data.fname": "data.path of 'jsonl'",
    "evals.*.data.fopen_keys": "nothing: images are found beside the file",
    "evals.*.data.first_k_shards": "data.split, such as 'valid[:25%]'",
    "evals.*.data.deterministic_fs": "nothing: an eval sees the same frames each time",
    "evals.*.data.num_frames": "decode_video(num_frames=16) in pp",
    "evals.*.data.stride": "decode_video(stride=9) in pp",
    "evals.*.data.dataset_name": "data.name",
    "evals.*.log_*": "steps, examples, epochs or fraction of the eval",
    "evals.*.tokenizer": "tokenizer, of the whole config",
    "evals.*.pred_kw.beam_size": "sampler='beam(3)' of the eval",
    "evals.*.pred_kw.max_decode_len": "max_new_tokens, by default text_len",
    "evals.*.pred_kw.sampler": "sampler, such as 'top_p(.9)'",
    "evals.*.pred_kw.best_of_n": "nothing: sampler='beam(4)' searches for the likeliest answer",
    "evals.*.key": "nothing: perplexity is of the row's answer",
    "evals.*.shift_labels": "nothing: perplexity predicts each next token",
    "evals.*.metrics": "nothing: caption gives all its metrics",
    "evals.*.out_question_key": "format of the type submission",
    "evals.*.out_answer_key": "format of the type submission",
    "evals.*.outfile": "outfile of the eval, or the type submission for a test server",
    **dict.fromkeys((
        "seed", "evals", "total_examples", "total_epochs", "resume", "text_len",
        "input.batch_size", "model.img.variant", "model.img.dropout", "model.img.rep_size",
        "model.llm.variant", "model.llm.vocab_size", "model.llm.dropout", "evals.*.data",
        "evals.*.data.split", "evals.*.data.data_dir", "evals.*.batch_size", "evals.*.to_lower"),
        SAME)}

# Type of an eval of big_vision, without proj.paligemma. and transfers. -> ours.
TYPES = {
    "perplexity": "'perplexity', with text_layout in its pp", "vqa": "'vqa' with metric='exact' or "
    "the data set's own, as in configs/transfers", "vqav2": "'vqa' with metric='vqav2'",
    "rsvqa": "'vqa' with metric='rsvqa'", "chartqa": "'vqa' with metric='relaxed'",
    "tallyqa": "'counting'", "science_qa": "'vqa' with metric='science_qa'",
    "pope": "'vqa' with metric='pope'", "coco_caption": "'caption'",
    "segmentation": "'segmentation'", "storepreds": "any, with outfile",
}


def refuse(config, name):
  """Raises ValueError for a config of big_vision, with a line for each of its fields; name: its
  file, as text."""
  if "optimizer" in config or not {"model_name", "optax_name", "lr"} & set(config):
    return
  rows = [(field if "=" in field else f"{field} = {printable(value, 40)}", place(field, value))
          for field, value in fields(config).items()]
  width = max(len(left) for left, _ in rows)
  file = pathlib.Path(name).stem
  same = f"The same task is configs/transfers/{file}.py" if (
      TRANSFERS / f"{file}.py").exists() else "Begin with a copy of configs/forkme.py"
  raise ValueError(f"{name} is a config of big_vision, whose fields are not read here. {same}. "
                   "In place of each field:\n"
                   + "\n".join(f"  {left.ljust(width)}  {right}" for left, right in rows))


def fields(config, at=""):
  """{field: value} of a config of big_vision: names of evals and of sources are *, and each of
  their fields is there once, types of evals once each."""
  found = {}
  for key, value in config.items():
    inner = hasattr(value, "items")
    any_name = at == "evals." or at == "input." and inner and key != "data"
    here = f"{at}{'*' if any_name else key}"
    whole = here.startswith("input") and key == "data" or key == "fopen_keys"
    if inner and value and not whole:
      found = {**fields(value, f"{here}."), **found}
    else:
      found.setdefault(f"{here}={value}" if here == "evals.*.type" else here, value)
  return found if at else {k: found[k] for k in sorted(found)}


def place(field, value):
  """What has the place of a field, as fields() gives it."""
  if field.startswith("evals.*.type"):
    kind = str(value).removeprefix("proj.paligemma.").removeprefix("transfers.")
    return f"type {TYPES.get(kind, 'of evaluators/common.py, or a module of yours')}"
  found = next((text for known, text in PLACES.items() if fnmatch.fnmatchcase(field, known)), None)
  return found or BIG_VISION.get(field.rpartition(".")[2]) or "nothing: it is not known here"
