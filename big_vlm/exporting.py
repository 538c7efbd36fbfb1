"""What vlm.export and tools.convert write: a checkpoint, and of a Hugging Face folder what goes
beside its weights: README.md, NOTICE and probes.jsonl."""
from big_vlm import model_card, presets, probes
from big_vlm.checkpoints import save


def export(checkpoint, path, format, note=lambda done, total: None, count=None, prompts=()):
  """Writes a Checkpoint as save.save() does, and returns the path.

  count: of probes, 0 for none; None: probes.COUNT for a model that has them and is small. prompts:
  [str] that the model was trained with, where they are known.

  Raises ValueError for probes of a model that has none, and of another format.
  """
  if format != "hf":
    if count:
      raise ValueError(f"Probes are for format='hf', which other frameworks read, not {format!r}.")
    return save.save(checkpoint, path, format, note)
  save.check_free(path)
  facts = model_card.facts(checkpoint, prompts)
  count = unasked(checkpoint) if count is None else count
  if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= probes.MOST:
    raise ValueError(f"probes={count!r} is not a whole number from 0 to {probes.MOST}.")
  beside = {}
  if count:
    found = probes.make(checkpoint.with_text_head(), count, facts.prompts)
    beside[probes.FILE] = probes.to_text(found)
  beside |= model_card.files(checkpoint, facts, count)
  return save.save(checkpoint, path, format, note, beside)


def unasked(checkpoint):
  """How many probes an export has where nobody says it."""
  return 0 if left_out(checkpoint) else probes.COUNT


def left_out(checkpoint):
  """Why an export has no probes where nobody asks for them, or None."""
  if reason := probes.why_not(checkpoint.config, checkpoint.tokenizer):
    return reason
  size = presets.count(checkpoint.config)
  if size <= probes.MOST_PARAMETERS:
    return None
  return (f"{size:,} parameters take {size * 4 / 2**30:.0f} GiB in float32, which computing them "
          f"needs: --probes {probes.COUNT} does it")
