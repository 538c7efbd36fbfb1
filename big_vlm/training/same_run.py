"""Whether a training that resumes is the same run: its config and data against the stored ones.

  W/config.json         the config of the newest steps
  W/config-300.json     that of the steps up to 300, where a run that resumed from there changed it
  W/fingerprints.json   {field that names data or a tokenizer: SHA-256 of their content, or null}
"""
import json
import re

import ml_collections
import numpy as np
from etils import epath

from big_vlm import files
from big_vlm.training import schedules, setup
from pp import tokenizer_files
from pp.printable import printable

# Fields that change nothing that a step computes, up to rounding and the masks of dropout.
FREE = re.compile(r"(log|checkpoint|keep_period)_\w+|max_to_keep|(evals|published|defaults|best"
                  r"|trackers|mesh|sharding)\b.*|input\.(workers|threads|memory_gb|on_error|packing"
                  r"|row_examples)|grad_accum_steps|model\.\w+\.(remat|unroll)")
# Fields of later versions, with the value that earlier runs had.
LATER = {"lora.dropout": 0., "loss.name": "next_token", "init.txt": "", "init.dont_load": ()}
TOTAL = re.compile(r"total_\w+")
# Where data and tokenizers lie: free where the fingerprint of the content is the same.
PLACE = re.compile(r"(input\.mixture\[\d+\]\.data)\.(?:path|root|data_dir|check|allow)\b.*"
                   r"|(tokenizer)")
SHOWN = 12  # changes in an error


def fingerprints(config, stream):
  """The content of fingerprints.json. stream: the config's mixture.Mixture."""
  found = {f"input.mixture[{i}].data": x for i, x in stream.fingerprints().items()}
  if config.tokenizer:
    found["tokenizer"] = tokenizer_files.fingerprint(config.tokenizer)
  return found


def write(workdir, config, prints, step):
  """Stores the config and the fingerprints of a run that starts, or resumes from `step`; another
  config that stood there is kept as config-STEP.json."""
  path, text = epath.Path(workdir) / "config.json", config.to_json_best_effort(indent=2) + "\n"
  kept = path.with_name(f"config-{step}.json")
  if step and not kept.exists() and path.exists() and (old := path.read_text()) != text:
    files.write_atomic(kept, old)
  files.write_atomic(path, text)
  files.write_atomic(path.with_name("fingerprints.json"), json.dumps(prints, indent=2) + "\n")


def check(workdir, config, prints, step, force=False, note=print):
  """Notes each field that differs from the stored ones in a line; step: that is resumed from.

  Raises ValueError, unless forced, for changes with which it would not be the same run.
  """
  old, was = (_read(epath.Path(workdir) / name, note) for name in
              ("config.json", "fingerprints.json"))
  new = json.loads(config.to_json_best_effort())
  changed = {} if old is None else _changes(old, new)
  breaking = {name for name in changed if not _allowed(name, old, new, was or {}, prints, step)}
  lines = {name: f"config.{name}: {printable(a)} -> {printable(b)}"
           for name, (a, b) in changed.items()}
  for name in sorted({n for n in was or () if was[n] != prints.get(n) and n in prints}):
    lines[name] = f"config.{name}: its content is another than at the steps before"
    breaking.add(name)
  refused = [lines[name] for name in sorted(breaking)]
  if refused and not force:
    more = f"\n  ... and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
    raise ValueError(
        f"{workdir} holds step {step} of another run than this would be:\n  "
        + "\n  ".join(refused[:SHOWN]) + more + "\nGive that run's config (config.json there) and "
        "data, or a new --workdir; --resume_changed resumes it with these changes.")
  for line in lines.values():
    note(f"changed {line}")


def _read(path, note):
  """The JSON object of the file; None, with a line, where there is none that can be read."""
  try:
    found = json.loads(path.read_text())
    if isinstance(found, dict):
      return found
    problem = "is not a JSON object"
  except FileNotFoundError:
    problem = "is missing"
  except ValueError as e:
    problem = f"is not JSON ({e})"
  note(f"{path} {problem}: whether this is the same run is not known")
  return None


def _changes(old, new):
  """{"a.b[0].c": (old value, new value)} of the fields in which two configs differ."""
  old, new = dict(_flat(old)), dict(_flat(new))
  nothing = "(none)"
  return {name: (old.get(name, nothing), new.get(name, nothing)) for name in old | new
          if old.get(name, nothing) != new.get(name, nothing)}


def _flat(tree, name=""):
  """(name, value) of the leaves of a tree of dicts and lists."""
  if isinstance(tree, dict):
    for key, value in tree.items():
      yield from _flat(value, f"{name}.{key}".lstrip("."))
  elif isinstance(tree, list):
    for i, value in enumerate(tree):
      yield from _flat(value, f"{name}[{i}]")
  else:  # the addresses of functions differ from process to process
    yield name, re.sub(" at 0x[0-9a-f]+", "", tree) if isinstance(tree, str) else tree


def _allowed(name, old, new, was, prints, step):
  if name in LATER and name not in dict(_flat(old)):
    return dict(_flat(new))[name] == LATER[name]
  if TOTAL.fullmatch(name):
    return _same_rates(old, new, step)
  place = PLACE.fullmatch(name)
  content = place and (place[1] or place[2])
  return bool(FREE.fullmatch(name)) or bool(
      content and was.get(content) and was[content] == prints.get(content))


def _same_rates(old, new, step):
  """Whether the steps taken had the learning rates that they have in a training of the new length:
  so it is of constant and rsqrt before a cool-down, not of cosine."""
  def rates(config):
    horizon = setup.horizon_of(ml_collections.ConfigDict(config))
    steps = np.unique(np.linspace(0, max(step - 1, 0), 999).round())
    return np.array([np.broadcast_to(schedules.make(horizon, **rule)(steps), steps.shape)
                     for _, rule in new["optimizer"]["schedule"] if rule])
  try:
    return np.allclose(rates(old), rates(new), rtol=1e-5, atol=0)
  except (ValueError, KeyError, TypeError, AttributeError):  # of an older version
    return False
