"""What the trainings of two towers share: the model of a release, its tokenizer, its data."""
from big_vlm import presets
from big_vlm.checkpoints import load, uris
from big_vlm.families import paligemma
from big_vlm.families.siglip.text.variants import SIGLIP2_VOCAB
from configs import common
from configs.transfers.common import arguments
from pp.names import near_miss

DEFAULTS = dict(model="siglip2_b16_256", res=0, length=0, tokenizer="", data_dir="", text="text")
# Kernels decay alone, as in big_vision: no table, probe, norm, scale or bias of the logits.
DECAYS = ((".*/kernel", 1.), (".*", 0.))


def parse(arg, **defaults):
  """The arguments of a config, as transfers/common.py reads them.

  model: a SigLIP of `python -m big_vlm.presets siglip`. res: pixels a side, length: tokens of a
  text; 0: those of the release. tokenizer: its file; not needed where it is Gemma's, as SigLIP 2's.
  data_dir: of data sets, or what paths in JSONL are relative to. text: field of the text, or texts.
  """
  return arguments(arg, {**DEFAULTS, **defaults})


def two_towers(a, source="", **changes):
  """The defaults of a training of two towers, randomly initialized; changes: of configs/common.py.

  source: what big_vlm.from_preset takes, whose towers and tokenizer it has; "": the release
  a.model. Every release has a vocabulary, a padding and a length of texts of its own.
  """
  c = common.train(**changes)
  c.model.img, c.model.txt, shipped = of_source(source) if source else of_release(a)
  if a.tokenizer:
    c.tokenizer = f"{'hf' if a.tokenizer.endswith('.json') else 'sp'}({a.tokenizer!r})"
  elif shipped:
    c.tokenizer = shipped
  else:
    raise ValueError(f"{source or a.model} needs tokenizer=PATH: its SentencePiece model, which is "
                     "spiece.model beside the weights on Hugging Face.")
  if a.res:
    c.model.img.image_size = a.res
  if a.length:
    c.model.txt.length = a.length
  c.loss.name = "sigmoid"
  c.optimizer.update(clip_norm=1., weight_decay_mults=DECAYS)
  return c


def of_release(a):
  """(image tower, text tower, tokenizer or None) of the release a.model, of which nothing is read.
  """
  preset = presets.resolve(a.model)
  if preset is None or not preset.config.get("txt"):
    raise ValueError(f"model={a.model} is no SigLIP with two towers."
                     f"{near_miss(a.model, presets.names('siglip'))} `python -m big_vlm.presets "
                     "siglip` lists them.")
  img, txt = preset.config["img"], preset.config["txt"]
  return img, txt, "gemma()" if txt["vocab_size"] == SIGLIP2_VOCAB else None


def of_source(source):
  """(image tower, text tower, tokenizer or None) of a checkpoint, which is opened."""
  opened = load.open_source(uris.fetch(presets.uri(source)))
  if not opened.config.logit_specs:
    raise ValueError(f"init={source} is {presets.describe(opened.config)}, no SigLIP with two "
                     "towers.")
  towers = paligemma.to_dict(opened.config)
  return towers["img"], towers["txt"], opened.tokenizer


def source(a, data, split="train", **kw):
  """JSONL files, where the name says so, or a split of a data set; kw: of JSONL."""
  if data.endswith(".jsonl"):
    return dict(name="jsonl", path=data, root=a.data_dir or None, **kw)
  return dict(name=data, split=split, data_dir=a.data_dir or None)


def pp(a, several, image="decode(exif=True)|resize"):
  """From an example to a pair: squashed without antialias, as SigLIP was trained and VLM.embed
  reads images; of several texts one is drawn, or the "first" taken."""
  return f"flatten|{image}|pair_layout(key={a.text!r}, several={several!r})"


def loss(c, data, pp, **often):
  """An eval of the loss on pairs that the training does not see; often: fraction=0.1."""
  return dict(type="sigmoid", data=data, pp=pp, batch_size=c.input.get_oneway_ref("batch_size"),
              **often)
