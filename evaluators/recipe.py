"""A result beside the published one: brought to one scale, with all that deviates from the recipe.

The recipe is the reference protocol: the config file as it is, for the model and resolution of its
arguments. A result is not comparable if the command line changed the config, if the checkpoint is
of another model, or if examples of the data set are missing: each gives a warning, one sentence for
the screen and the report.
"""
import difflib
import importlib.util

from big_vlm import presets
from big_vlm.data import source, tfds
from big_vlm.families import paligemma
from pp import builder

# Arguments of configs that change how a task is asked, not which published result it is for.
TUNED = ("text_len", "sampler", "prompt_prefix", "num_frames", "stride")
# A result does not depend on when to evaluate, how many examples at once, and what is written.
FREE = ("batch_size", "at_start", "steps", "examples", "epochs", "fraction", "outfile")
NOTES = {  # data sets that differ from those of the published scores
    "countbenchqa": "published on 540 images, of which 490 can still be had"}


def load(config_file):
  """The config of a file, "configs/transfers/okvqa.py:res=448,text_len=64", without arguments in
  TUNED; None for None."""
  if not config_file:
    return None
  path, colon, arg = config_file.partition(":")
  spec = importlib.util.spec_from_file_location("recipe_config", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  kept = [part for part in arg.split(",") if part.partition("=")[0].strip() not in TUNED]
  return module.get_config(*([",".join(kept)] if colon else []))


def score(published, percent):
  """A published score on the scale of our metric.

  percent: whether the papers print this metric times 100 (a kind's PERCENT).
  """
  return None if published is None else published / 100 if percent else published


def with_fields(entries, config):
  """{name: entry} of a config's evals, with the lengths that they take from its text_len."""
  lengths = lambda entry: ("text_len",) if entry["type"] == "perplexity" else (
      "prompt_len", "max_new_tokens")
  return {name: {**dict.fromkeys(lengths(entry), config.get("text_len")), **entry}
          if "data" in entry else entry for name, entry in entries.items()}


def deviations(entry, recipe):
  """How an entry of a config's evals differs from its recipe: ["sampler is 'greedy', ..."].

  recipe: the entry of the same name in load()'s config, or None where there is none.
  """
  if recipe is None:
    return ["the recipe has no such eval"]
  found = []
  for key in sorted((set(entry) | set(recipe)) - set(FREE)):
    ours, theirs = entry.get(key), recipe.get(key)
    if key == "data":
      ours, theirs = (d or {} for d in (ours, theirs))
      found += [_differs(k, ours.get(k), theirs.get(k)) for k in sorted(set(ours) | set(theirs))
                if k != "data_dir" and ours.get(k) != theirs.get(k)]
    elif key == "pp" and ours and theirs:
      found += _ops(ours, theirs)
    elif ours != theirs:
      found.append(_differs(key, ours, theirs))
  return found


def _differs(key, ours, theirs):
  ours, theirs = (none if x is None else repr(x)
                  for x, none in ((ours, "not set"), (theirs, "none")))
  return f"{key} is {ours}, the recipe has {theirs}"


def _ops(ours, theirs):
  """The ops of two pipelines that differ."""
  ours, theirs = builder.split_pipeline(ours), builder.split_pipeline(theirs)
  found = []
  for kind, i, j, k, m in difflib.SequenceMatcher(None, theirs, ours, False).get_opcodes():
    if kind != "equal":
      a, b = (" | ".join(ops) or "nothing" for ops in (ours[k:m], theirs[i:j]))
      found.append(f"pp has `{a}`, the recipe has `{b}`")
  return found


def model(ours, config):
  """How a loaded model (PaliGemmaConfig) differs from that of a config, in a list of at most one.

  Two models are alike where their words are: size, generation and resolution.
  """
  args = {**config.model.to_dict(), "dtype": "float32"}
  is_, wanted = presets.describe(ours), presets.describe(paligemma.config(**args))
  return [] if is_ == wanted else [f"the checkpoint is {is_}, the recipe is for {wanted}"]


def data(entry):
  """Which examples the data of an entry lack, against the counts of the release."""
  name, split = entry["data"]["name"], entry["data"].get("split")
  found = [NOTES[name]] if name in NOTES else []
  if name in source.OURS or not split:
    return found
  made = tfds.builder(name, entry["data"].get("data_dir"))
  counts = getattr(made, "COUNTS", {})
  if made.builder_config and made.builder_config.name in counts:
    counts = counts[made.builder_config.name]
  for part in split.split("+"):
    part = part.partition("[")[0].strip()
    have = made.info.splits[part].num_examples if part in made.info.splits else 0
    if isinstance(counts.get(part), int) and have < counts[part]:
      found.append(f"{name} has {have:,} of the {counts[part]:,} examples of {part}: it was "
                   "prepared from a part of its release")
  return found


class Warnings:
  """The warnings of each eval: of its data always, and beside a published score all deviations."""

  def __init__(self, config, config_file, model_config, entries):
    """config_file: where the config is from, or None: then its entries are taken for the recipe's.

    model_config: of the loaded model. entries: those that are run, {name: entry}.
    """
    self._entries = self._recipes = with_fields(entries, config)
    recipe = load(config_file) if config.published and config_file else config
    self._general = model(model_config, recipe) if config.published else []
    if recipe is not config:
      self._recipes = with_fields(recipe.evals.to_dict(), recipe)

  def of(self, name, compared, first):
    """[str] for a metric of an eval.

    compared: whether there is a published score. first: whether this is the eval's first metric,
    which tells of the data where no score is published.
    """
    entry, general = self._entries[name], self._general * compared
    if "data" not in entry:  # a mean
      return general + self._of_parts(entry["evals"]) * compared
    return general + self._own(name, compared) * (compared or first)

  def _of_parts(self, parts):
    """Warnings of all parts of a mean once, the others with the names of their parts."""
    texts = {}
    for part in parts:
      for text in self._own(part, True):
        texts.setdefault(text, []).append(part)
    return [text if len(of) == len(parts) else f"{', '.join(of)}: {text}"
            for text, of in texts.items()]

  def _own(self, name, compared):
    found = data(self._entries[name])
    return found + deviations(self._entries[name], self._recipes.get(name)) if compared else found
