"""The README.md of a Hugging Face folder: what the model was trained on, its metrics, its prompts,
how to load it, its licence. What is not known is said to be so."""
import dataclasses
import json
import pathlib
import re

from big_vlm import metric_writer, presets
from big_vlm.formats import config_json
from pp.foreign import parse_json, read_bytes
from pp.printable import printable

MOST = 12  # prompts that are listed
LINES = 200  # of predictions that are read for prompts
NOTICE = ("Gemma is provided under and subject to the Gemma Terms of Use found at "
          "ai.google.dev/gemma/terms\n")
PIPELINES = {"paligemma": "image-text-to-text", "text": "text-generation",
             "towers": "zero-shot-image-classification", "image tower": "image-feature-extraction",
             "text tower": "feature-extraction"}
FIGURES = "figures.json"  # of the model in the package


@dataclasses.dataclass(frozen=True)
class Facts:
  """What is known of a model; empty where it is not."""
  source: str  # that it is exported from: a name, without folders of this machine
  base: str = ""  # that its training started from
  training: str = ""  # steps, batch, seed
  data: tuple = ()  # names
  metrics: dict = dataclasses.field(default_factory=dict)
  measured: str = ""  # what the metrics are of
  prompts: tuple = ()
  licence: str = ""  # an id of the Hugging Face hub


def facts(checkpoint, prompts=()):
  """The Facts of a Checkpoint: of a work folder from its config.json, metrics and predictions."""
  path = pathlib.Path(checkpoint.path)
  known = Facts(path.name, prompts=tuple(prompts), licence=_licence(checkpoint.config))
  try:
    if (path / FIGURES).is_file():
      return _of_package(known, json.loads((path / FIGURES).read_text()))
    if path.parent.name == "checkpoints" and path.name.isdigit():
      return _of_run(known, path.parent.parent, int(path.name))
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
    print(f"README.md says nothing of the training: {path} has no record of it that can be read "
          f"({printable(e)}).")
  return known


def _of_package(known, figures):
  return dataclasses.replace(
      known, training=f"{figures['steps']:,} steps, seed {figures['seed']}, {figures['config']}",
      data=(figures["data"].partition(",")[0],), metrics=figures["metrics"],
      measured=figures["data"], licence="apache-2.0", prompts=known.prompts or (
          "caption en", "ocr", "answer en how many digits are there ?", "detect 3"))


def _of_run(known, workdir, step):
  if workdir.name == "best" and not (workdir / "config.json").exists():
    workdir = workdir.parent
  file = workdir / "config.json"
  if not file.is_file():
    return known  # written by export, not by a training
  config = parse_json(read_bytes(file, config_json.MAX_BYTES), file)
  init = config.get("init") or {}
  entries = [*config["input"]["mixture"], *(config.get("evals") or {}).values()]
  asked = [p for text in (x.get("pp") for x in entries) if isinstance(text, str)
           for p in re.findall(r"strfmt\('([^']*)', *(?:outkey=)?'prefix'\)", text)]
  seen = [*asked, *_predicted(workdir)]
  metrics, at = _metrics(workdir, step)
  return dataclasses.replace(
      known, source=f"{workdir.name}, step {step:,}",
      base=", ".join(_name(x) for x in init.values() if x),
      training=f"{step:,} steps of {config['input']['batch_size']} examples, seed "
               f"{config['seed']}" + (f", LoRA of rank {rank}" if (
                   rank := (config.get("lora") or {}).get("rank")) else ""),
      data=tuple(dict.fromkeys(n for m in config["input"]["mixture"] for n in _data(m["data"]))),
      metrics=metrics, measured=f"validation data of the training, step {at:,}" if metrics else "",
      prompts=tuple(dict.fromkeys(seen))[:MOST] or known.prompts)


def _name(source):
  """A source without folders of this machine."""
  return source if re.match(r"[a-z]+://", source) or not source.startswith(("/", ".", "~")) else (
      pathlib.PurePath(source).name)


def _data(data):
  """Names of the data of a mixture's component."""
  paths = data.get("path")
  if not paths:
    return [f"{data['name']}, {data.get('split', 'train')}"]
  return [_name(str(p)) if "://" in str(p) else pathlib.PurePath(str(p)).name
          for p in (paths if isinstance(paths, list) else [paths])]


def _metrics(workdir, step):
  """({"val/acc": 0.9} of the newest rows up to a step, that step)."""
  path, found, at = workdir / "metrics.jsonl", {}, 0
  for row in metric_writer.read_metrics(path) if path.is_file() else []:
    evals = {k: v for k, v in row.items() if "/" in k and not k.startswith("examples/")}
    if evals and row["step"] <= step:
      found, at = ({} if row["step"] > at else found) | evals, row["step"]
  return found, at


def _predicted(workdir):
  """The prompts of a run's newest predictions."""
  newest = {}
  for file in (workdir / "predictions").glob("**/*.jsonl"):
    name, _, step = file.stem.rpartition("-")
    if step.isdigit():
      newest[name] = max(newest.get(name, (-1, file)), (int(step), file))
  for _, file in newest.values():
    with file.open(encoding="utf-8") as lines:
      for _, line in zip(range(LINES), lines):
        if isinstance(prompt := json.loads(line).get("prefix"), str):
          yield prompt


def _licence(config):
  """The id of the licence under which models of these sizes are released, "" for other sizes."""
  text = presets.describe(config)
  if " of width" in text:  # how sizes of no release are described
    return ""
  if config.llm is None:
    return "apache-2.0"  # SigLIP
  return "gemma" if "Gemma" in text else "other"


def files(checkpoint, facts, count):
  """{name: text} of what goes beside the weights; count: of probes."""
  return {"README.md": readme(checkpoint, facts, count)} | (
      {"NOTICE": NOTICE} if facts.licence == "gemma" else {})


def readme(checkpoint, facts, count):
  """The text of README.md."""
  config = checkpoint.config
  kind = ("paligemma" if config.img and config.llm else "text" if config.llm else
          "towers" if config.img and config.txt else "image tower" if config.img else "text tower")
  base = facts.base if re.fullmatch(r"[\w.-]+/[\w.-]+", facts.base) else ""
  head = ["---", *([f"license: {facts.licence}"] if facts.licence else []),
          "library_name: transformers", f"pipeline_tag: {PIPELINES[kind]}",
          *([f"base_model: {base}"] if base else []), "tags:", "- big_vlm", "---"]
  parts = [
      "\n".join(head), f"# {presets.describe(config)}",
      f"{presets.count(config):,} parameters, {checkpoint.dtype} weights, written by big_vlm from "
      f"`{_text(facts.source)}`.",
      "## Training", _training(facts)]
  if facts.metrics:
    rows = [f"| {_text(name)} | {value:.4g} |" for name, value in facts.metrics.items()]
    parts += ["## Metrics", f"Of {_text(facts.measured)}:",
              "\n".join(["| metric | value |", "|---|---|", *rows])]
  if config.llm:
    parts += ["## Prompts", _prompts(facts, kind)]
  there, here = USE[kind]
  parts += ["## How to load it", LOAD.format(there=there, here=here), OTHERS]
  if count:
    parts += ["## Is it right there?", CHECK.format(count=count)]
  return "\n\n".join([*parts, "## Licence", LICENCES[facts.licence]]) + "\n"


def _text(value):
  """Text of others in one line of Markdown."""
  return printable(re.sub(r"[`|\n\r]", " ", str(value)))[:200]


def _training(facts):
  lines = [f"Started from `{_text(facts.base)}`."] if facts.base else []
  if facts.training:
    lines.append(f"{_text(facts.training)}.")
  if facts.data:
    lines.append("Data: " + ", ".join(f"`{_text(name)}`" for name in facts.data) + ".")
  return " ".join(lines) or "Its source says nothing of its training: write here what it saw."


def _prompts(facts, kind):
  if not facts.prompts:
    return "Its source does not say with which prompts it was trained: write here what to ask it."
  form = (" A prompt follows the image, and ends in a newline, which the libraries below add."
          if kind == "paligemma" else "")
  return (f"It was trained with these; others may surprise it.{form}\n\n"
          + "\n".join(f"- `{_text(p)}`" for p in facts.prompts[:MOST]))


# How transformers opens the folder, and what ours is asked then.
USE = {
    "paligemma": ('''\
from PIL import Image
from transformers import AutoProcessor, PaliGemmaForConditionalGeneration

folder = "."  # this folder
processor = AutoProcessor.from_pretrained(folder)
model = PaliGemmaForConditionalGeneration.from_pretrained(folder)
image = Image.open("image.png").convert("RGB")
inputs = processor(images=image, text="<image>caption en", return_tensors="pt")
answer = model.generate(**inputs, max_new_tokens=20, do_sample=False)
print(processor.decode(answer[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
''', 'print(vlm.generate("caption en", "image.png", max_new_tokens=20)[0].text)'),
    "text": ('''\
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
inputs = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=20, do_sample=False)[0]))
''', 'print(vlm.generate("Once upon a time", max_new_tokens=20)[0].text)'),
    "towers": ('''\
from PIL import Image
from transformers import AutoModel, AutoProcessor

folder = "."  # this folder
processor, model = AutoProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder)
inputs = processor(text=["a cat", "a dog"], images=Image.open("image.png").convert("RGB"),
                   padding="max_length", return_tensors="pt")
print(model(**inputs).logits_per_image.sigmoid())
''', 'print(vlm.similarity("image.png", ["a cat", "a dog"], probabilities=True))'),
    "image tower": ('''\
from transformers import AutoImageProcessor, AutoModel

folder = "."  # this folder
processor, model = AutoImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder)
''', 'print(vlm.embed("image.png").shape)'),
    "text tower": ('''\
from transformers import AutoModel, AutoTokenizer

folder = "."  # this folder
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
''', 'print(vlm.embed(texts=["a cat"]).shape)')}
LOAD = """\
```python
{there}```

```python
import big_vlm

vlm = big_vlm.from_preset(".")
{here}
```"""
OTHERS = ("Over HTTP, as OpenAI's API: `python -m tools.serve FOLDER`. For KerasHub and "
          "big_vision: `python -m tools.convert FOLDER DEST --format keras` or `npz`. Both are "
          "commands of a checkout of big_vlm.")
CHECK = ("`probes.jsonl` has {count} requests with the answers and log-probabilities that these "
         "weights give in float32. `python -m tools.conform FOLDER --against transformers`, or the "
         "address of a server with OpenAI's API, asks the same there and names what differs.")
LICENCES = {
    "gemma": ("The sizes are those of a model that Google releases. Where the weights derive from "
              f"it: {NOTICE.strip()} These are modified files; whoever passes them on keeps the "
              "file NOTICE and adds a copy of the terms. Weights that were trained from scratch "
              "are under the licence that their author gives: change these lines."),
    "apache-2.0": "Apache 2.0, https://www.apache.org/licenses/LICENSE-2.0",
    "other": ("The sizes are those of a released model: where the weights derive from it, its "
              "licence holds. Write it here."),
    "": "None is stated. Write here, and as `license:` at the top, under which the weights are."}
