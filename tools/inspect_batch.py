"""Shows a real batch of a config as the model gets it: pixels, tokens, masks, loss weights.

  python -m tools.inspect_batch --config configs/forkme.py --examples 4 --html batch.html
  python -m tools.inspect_batch --config configs/forkme.py --eval val

No model is built. Of each example: its tokens by their part (prefix, separator, suffix, eos, pad),
which of them see what follows (mask_ar 0) and which are supervised (mask_loss 1), what each weighs
in the loss of the batch, and whether the eos was cut off. Of a pair for two towers: its image, and
the tokens of its text.
"""
import dataclasses
import itertools
import sys
import time

import jax
import numpy as np
from markupsafe import Markup

from big_vlm import cli, reporting
from big_vlm.batch import BATCH, check_batch
from big_vlm.data import loader, mixture, packing, source
from big_vlm.training import losses, policy
from evaluators import common
from pp import builder, text_layout
from pp.locations import parse_objects
from pp.names import pick
from pp.printable import printable, raw
from pp.tokenizer import get_tokenizer
from tools import example_page
from tools.example_page import Card, Picture
from tools.importers.records import Annotation

SIDE = 320  # pixels of a picture on the page
SHOWN = 400  # characters of a field
PARTS = {  # of a row: (colour on a terminal, description)
    "prefix": ("36", "prompt, with bos"), "separator": ("35", "ends the prompt"),
    "suffix": ("32", "answer, supervised"), "eos": ("33", "ends the answer, supervised"),
    "text": ("32", "text of a pair"), "pad": ("90", "padding")}


@dataclasses.dataclass
class Row:
  """One example of a batch; lists are as long as its text."""
  title: str
  tokens: list  # ids
  parts: list  # of PARTS
  mask_ar: list  # [] of a pair
  mask: list  # mask_loss, or in an evaluation mask_input; [] of a pair
  weights: list  # of the loss; [] in an evaluation
  images: list  # uint8 [H, W, 3]
  note: str  # of the images' values
  texts: dict  # the other fields of the example
  problem: str

  def ids(self, *parts):
    return [t for t, part in zip(self.tokens, self.parts) if part in parts]


def make_batch(config, step=0, name=None):
  """(batch, its seconds): that of training step `step` + 1, or the first ones of an evaluation."""
  began = time.perf_counter()
  if name is None:
    stream, layout = mixture.from_config(config), packing.of_config(config)
    batches = loader.train_batches(stream, config.input.batch_size, step=step,
                                   rows=range(layout.rows), reader=layout.reader)
  else:
    entry = pick(config.evals.to_dict(), name, "evaluator of this config")
    if "pp" not in entry:
      raise ValueError(f"The evaluator {name!r} has no data of its own.")
    common.check_arguments(name, **entry)
    preprocess = builder.get_preprocess_fn(
        entry["pp"], common.context_for(mixture.context_of(config), **entry))
    batches, count = loader.eval_batches(
        source.get(**entry["data"]), preprocess, entry["batch_size"])
    if step >= count:
      raise ValueError(f"The evaluation {name!r} has {count} batches: --step={step} is beyond.")
    batches = itertools.islice(batches, step, None)
  batch = next(batches)
  if name is None:
    batch, host = loader.split_batch(batch)
    batch = layout.cut(batch) | host
  check_batch({k: v for k, v in batch.items() if k in BATCH}, train="mask_loss" in batch,
              pairs=bool(config.model.txt))
  return batch, time.perf_counter() - began


def rows(batch, tokenizer, count, mean):
  """[Row] of the first `count` examples of a batch."""
  if train := "mask_loss" in batch:
    weights = np.asarray(losses.batch_weights(jax.tree.map(jax.numpy.asarray, {
        k: batch[k] for k in ("mask_loss", "segment") if k in batch}), mean))
    batch = packing.unpacked(batch | {"weights": np.pad(weights, ((0, 0), (1, 0)))})
  return [_row(batch, i, tokenizer, train) for i in range(min(count, len(batch["text"])))]


def _row(batch, i, tokenizer, train):
  tokens = batch["text"][i].tolist()
  if "mask_ar" not in batch:
    cut = batch.get("_cut", [False] * len(batch["text"]))[i]
    return _about(batch, i, tokens, parts_of_pair(tokens, tokenizer),
                  problem="the end of its text is cut off" * bool(cut))
  mask = batch["mask_loss" if train else "mask_input"][i].tolist()
  parts = parts_of(tokens, mask, train, tokenizer)
  problem = ""
  if train and "suffix" not in parts and "eos" not in parts:
    problem = "nothing is supervised: no token is left of the answer"
  elif train and "eos" not in parts:
    problem = "its eos is cut off: text_len is too small, and the model would not learn to stop"
  elif not train and "separator" not in parts:
    problem = "its prompt is cut off: it has no separator"
  return _about(batch, i, tokens, parts, batch["mask_ar"][i].tolist(), mask,
                batch["weights"][i].tolist() if train else [], problem)


def _about(batch, i, tokens, parts, mask_ar=(), mask=(), weights=(), problem=""):
  """The Row of an example, with what else the batch has of it."""
  images, note = pixels(batch["image"][i]) if len(batch.get("image", ())) else ([], "")
  title = f"{batch['_id'][i]}" if "_id" in batch else f"example {i}"
  if "_source" in batch:
    title += f" of {batch['_source'][i]}"
  texts = {k: v[i] for k, v in batch.items()
           if k not in BATCH and k != "weights" and not k.startswith("_")}
  return Row(title, tokens, parts, list(mask_ar), list(mask), list(weights), images, note, texts,
             problem)


def parts_of_pair(tokens, tokenizer):
  """The part of PARTS of each token of a pair's text: the first eos ends it."""
  end = tokens.index(tokenizer.eos_token) if tokenizer.eos_token in tokens else len(tokens)
  return ["text" if i < end else "eos" if i == end else "pad" for i in range(len(tokens))]


def parts_of(tokens, mask, train, tokenizer):
  """The part of PARTS that each token belongs to.

  mask: in training mask_loss, which is 1 on the suffix; tokens before it are prefix, those after it
  padding. In an evaluation mask_input, which is 1 on the prefix.
  """
  found = np.flatnonzero(mask)
  if train:
    last = found[-1] if len(found) else max(np.flatnonzero(
        np.array(tokens) != tokenizer.pad_token), default=-1)
    parts = ["suffix" if m else "prefix" if i <= last else "pad" for i, m in enumerate(mask)]
    parts = ["eos" if p == "suffix" and t == tokenizer.eos_token else p
             for p, t in zip(parts, tokens)]
    end = found[0] if len(found) else last + 1
  else:
    parts = ["prefix" if m else "pad" for m in mask]
    end = found[-1] + 1 if len(found) else 0
  separator = tokenizer.to_int(text_layout.SEPARATOR)
  begin = end - len(separator)
  if begin >= 0 and tokens[begin:end] == separator:
    parts[begin:end] = ["separator"] * len(separator)
  return parts


def pixels(image):
  """([uint8 [H, W, 3]], note) of [H, W, 3] or [F, H, W, 3], uint8 or floats in [-1, 1]."""
  frames = image if image.ndim == 4 else image[None]
  if not len(frames):
    return [], ""
  if image.dtype == np.uint8:
    return list(frames), f"uint8 {image.min()}..{image.max()}"
  low, high = float(image.min()), float(image.max())
  note = f"{image.dtype} {low:.3g}..{high:.3g}" + (
      "" if -1.001 <= low and high <= 1.001 else ", not in -1..1")
  return list(np.clip(np.round((frames + 1) * 127.5), 0, 255).astype(np.uint8)), note


def table(batch):
  """Keys, shapes and dtypes of a batch as text."""
  lines = [("key", "shape", "dtype", "values")]
  for key in sorted(batch, key=lambda k: (k not in BATCH, k)):
    value = batch[key]
    if isinstance(value, np.ndarray):
      values = f"{value.min():.4g}..{value.max():.4g}" if value.size else ""
      lines.append((key, str(list(value.shape)), str(value.dtype), values))
    else:
      lines.append((key, f"[{len(value)}]", type(value[0]).__name__, ""))
  return reporting.columns(lines, left=(0, 1, 2, 3))


def facts(batch, tokenizer, layout=None):
  """Statements about the whole batch, [(level, text)]; layout: of a batch of training."""
  text = batch["text"]
  if "mask_ar" not in batch:
    used = np.array([len(row) - parts_of_pair(row.tolist(), tokenizer).count("pad")
                     for row in text])
    return [("note", f"texts of {used.min()} to {used.max()} tokens, {text.shape[1]} with padding; "
                     f"{sum(map(bool, batch.get('_cut', ())))} of {len(used)} were cut")]
  if "mask_loss" not in batch:
    used = batch["mask_input"].sum(axis=1)
    return [("note", f"prompts of {used.min()} to {used.max()} tokens in rows of {text.shape[1]}")]
  supervised, examples = batch["mask_loss"] > 0, packing.unpacked(batch)
  cut = sum(not ((tokens == tokenizer.eos_token) & (mask > 0)).any()
            for tokens, mask in zip(examples["text"], examples["mask_loss"]))
  if "segment" in batch:
    used, what = np.array(list(map(len, examples["text"]))), "examples"
  else:  # a pad token within a text is not padding
    used = text.shape[1] - np.argmax((supervised | (text != tokenizer.pad_token))[:, ::-1], axis=1)
    what = "rows"
  read = []
  if layout:
    tokens, real = layout.tokens({k: x for k, x in batch.items() if k in BATCH})
    read = [("note", f"{tokens:,} tokens in {len(text)} rows go through the decoder, "
                     f"{real / tokens:.1%} of them are not padding")]
  return [
      ("error" if cut else "note", f"{cut} of {len(used)} {what} without their eos"),
      ("note", f"{supervised.mean():.1%} of all positions are supervised, "
               f"{supervised.sum() / max(used.sum(), 1):.1%} of those that are not padding"),
      ("note", f"{what} of {used.min()} to {used.max()} tokens in {text.shape[1]}"), *read]


def runs(values):
  """[0, 0, 1, 1, 1] -> "0 x2, 1 x3"."""
  return ", ".join(f"{value:.4g} x{len(list(group))}" for value, group in itertools.groupby(values))


def weight_of(row):
  """The loss weights of the tokens of a Row, as text."""
  return (f"{runs(row.weights)}: {sum(row.weights):.2%} of the batch's loss, "
          f"{np.mean(row.mask):.0%} of its positions are supervised")


def spelled(tokenizer, token):
  """A piece as the vocabulary spells it, on one line."""
  if not 0 <= token < tokenizer.vocab_size:
    return f"<id {token}>"
  piece = tokenizer.piece(token)
  return piece if piece.isprintable() else repr(piece)[1:-1]


def describe(row, tokenizer, colours):
  """A Row as text: one line for each part, then its masks and weights."""
  lines = [printable(row.title) + (f"   {row.note} {row.images[0].shape}" if row.images else "")]
  if row.problem:
    lines.append(f"  ATTENTION: {printable(row.problem)}")
  at = 0
  for part, group in itertools.groupby(row.parts):
    n = len(list(group))
    words = " ".join(spelled(tokenizer, t) for t in row.tokens[at:at + n]) if part != "pad" else ""
    words = printable(words, None)
    words = f"\033[{PARTS[part][0]}m{words}\033[0m" if colours and words else words
    lines.append(f"  {part:10}{n:4}  {words}".rstrip())
    at += n
  if row.mask_ar:
    lines.append(f"  mask_ar         {runs(row.mask_ar)}")
    lines.append(f"  {'mask_loss ' if row.weights else 'mask_input'}      {runs(row.mask)}")
  if row.weights:
    lines.append(f"  loss weight     {weight_of(row)}")
  lines += [printable(f"  {key:16}{_shortened(value)}", None) for key, value in row.texts.items()]
  return "\n".join(lines)


def _shortened(value):
  text = " ".join(str(value.tolist() if isinstance(value, np.ndarray) else value).split())
  return text if len(text) <= SHOWN else text[:SHOWN] + " ..."


def card(row, tokenizer):
  """A Row as a Card of the page."""
  suffix = tokenizer.to_str(row.ids("suffix", "eos")) if row.weights else str(
      row.texts.get("suffix", ""))
  annotations = [Annotation(o.label, o.box) for o in parse_objects(suffix or "")]
  if len(row.images) == 1:
    h, w, _ = row.images[0].shape
    pictures = [Picture(row.images[0], annotations, f"{w}x{h}, {row.note}")]
  else:  # it is not known which of them the boxes are of
    pictures = [Picture(image, [], f"{n} of {len(row.images)}")
                for n, image in enumerate(row.images, 1)]
  texts = [("prompt", tokenizer.to_str(row.ids("prefix"), stop_at_eos=False))] if row.mask_ar else [
      ("text", tokenizer.to_str(row.ids("text")))]
  if row.weights:
    texts.append(("answer", suffix))
  texts += [(key, _shortened(value)) for key, value in row.texts.items()]
  texts.append(("tokens", _spans(row, tokenizer)))
  if row.mask_ar:
    texts.append(("mask_ar", runs(row.mask_ar)))
    texts.append(("mask_loss" if row.weights else "mask_input", runs(row.mask)))
  if row.weights:
    texts.append(("loss weight", weight_of(row)))
  problems = [("error", "cut", row.problem)] if row.problem else []
  return Card(row.title, pictures, texts, problems)


def _spans(row, tokenizer):
  """The tokens as Markup, each coloured by its part, with all its numbers in a tooltip."""
  spans, span = [], Markup('<span class="tok {}" title="{}">{}</span>').format
  for i, (token, part) in enumerate(zip(row.tokens, row.parts)):
    tip = f"position {i}, id {token}"
    if row.mask_ar:
      tip += f", mask_ar {row.mask_ar[i]}, " + (
          f"mask_loss {row.mask[i]}, weight {row.weights[i]:.4g}" if row.weights else
          f"mask_input {row.mask[i]}")
    if part != "pad":
      spans.append(span(part, tip, spelled(tokenizer, token)))
  if pads := row.parts.count("pad"):
    spans.append(span("pad", "", f"pad x {pads}"))
  return Markup('<bdi class="toks" dir="ltr">{}</bdi>').format(Markup().join(spans))


def inspect(config, step=0, examples=4, html=None, eval=None):
  """Prints a batch of the config, and writes it as a page."""
  jax.config.update("jax_platforms", "cpu")
  tokenizer = get_tokenizer(config.tokenizer)
  print("making a batch ...", flush=True)
  batch, seconds = make_batch(config, step, eval)
  size = len(packing.unpacked(batch)["text"])
  title = f"eval {eval}, batch {step}" if eval else f"the batch of step {step + 1}"
  print(f"{title}: {size} examples, made in {seconds:.1f} s\n\n{table(batch)}\n")
  known = facts(batch, tokenizer, None if eval else packing.of_config(config))
  print("\n".join(text for _, text in known) + "\n")
  found = rows(batch, tokenizer, examples, config.loss.loss_normalization)
  for row in found:
    print(describe(row, tokenizer, sys.stdout.isatty()) + "\n", file=raw(sys.stdout))
  if html:
    legend = Markup().join(Markup('<span class="tok {}">{}: {}</span>').format(part, part, what)
                           for part, (_, what) in PARTS.items()
                           if any(part in row.parts for row in found))
    legend = Markup('<div class="toks">{}</div><pre>{}</pre>').format(legend, table(batch))
    path = example_page.write_examples(
        html, title[0].upper() + title[1:], f"{len(found)} of {size} examples",
        [card(row, tokenizer) for row in found], known, side=SIDE, legend=legend)
    print(f"page: {path}")


def main(argv=None):
  parser = cli.Parser(__doc__, config=True)
  parser.add_argument("--step", type=int, default=0, help="steps before it: 0 (the default) is the "
                      "first batch; of an evaluation likewise")
  parser.add_argument("--examples", type=int, default=4, help="how many to show (default: 4)")
  parser.add_argument("--html", help="page to write, with the images")
  parser.add_argument("--eval", help="an evaluation of the config instead of its training")
  args = parser.parse_args(argv)
  if not args.eval:
    policy.refuse(args.config, "python -m tools.inspect_batch without --eval")
  inspect(args.config, args.step, args.examples, args.html, args.eval)


if __name__ == "__main__":
  cli.run(main)
