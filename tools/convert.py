"""Converts a checkpoint: python -m tools.convert SOURCE DEST --format hf|npz|keras|native|openpi

SOURCE is what big_vlm.from_preset takes: a name, a URI, or a local checkpoint of any format.
Tensors pass one by one, so memory stays near the largest; DEST appears complete or not at all.
--verify runs the model from both sides on the same input and compares every layer.

--format hf also writes a README.md to complete, and probes.jsonl: requests with the model's own
answers, for tools.conform. Computing them loads the model in float32: above 500 M parameters only
where --probes N asks for it.

--part img, txt or llm takes a tower or the decoder alone, without the projector between them.

--adapter FOLDER merges LoRA adapters of PEFT into SOURCE first. --format peft writes those of a
training with config.lora, the workdir SOURCE, alone, as a folder of PEFT for --base.

--format openpi writes the .npz from which openpi's PaliGemmaWeightLoader starts; with --into STEP
DEST is the checkpoint STEP of openpi or LeRobot with SOURCE in the place of its PaliGemma.
"""
import dataclasses
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

import big_vlm
from big_vlm import cli, compilation, exporting, presets, reporting, sharding, trees
from big_vlm.adapt import materialize, peft
from big_vlm.checkpoints import load, openpi, save, uris
from big_vlm.families import paligemma
from big_vlm.formats.lazy_array import LazyArray
from pp.names import pick

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}
TEXT = 16  # tokens of the input that --verify runs


def convert(source, dest, format, dtype=None, verify=False, adapter=None, part=None, probes=None):
  """Writes the checkpoint `source` as `dest`; returns the largest difference, 0.0 unverified."""
  opened = load.open_source(uris.fetch(presets.uri(source)))
  print(f"{source}: {presets.describe(opened.config)}, {opened.nbytes / 2**30:.2f} GiB")
  if adapter:  # holds the model in memory
    base = big_vlm.from_preset(source, dtype=pick(DTYPES, opened.dtype, "dtype").__name__)
    opened = base.load_adapter(adapter).merge_lora().as_checkpoint()
  if part:
    opened = load.alone(opened, part)
  if dtype:
    opened = cast(opened, pick(DTYPES, dtype, "dtype"))
  if format in ("hf", "keras"):  # for --verify, as they write it
    opened = opened.with_text_head()
  if format == "hf" and probes is None and (reason := exporting.left_out(opened)):
    print(f"no probes: {reason}")
  written = exporting.export(opened, dest, format, reporting.counter(str(dest), "B"), probes)
  print(f"{written} written, peak memory {reporting.memory() / 2**30:.2f} GiB")
  if not verify:
    return 0.0
  return compare(opened, load.open_source(written))


def put_into(source, dest, full):
  """Writes the checkpoint `full` of openpi's as `dest`, with `source` as its PaliGemma."""
  opened, full = (load.open_source(uris.fetch(presets.uri(source))),
                  uris.fetch(presets.uri(full)))
  size = sum(x.nbytes for x in openpi.stored(full).values())
  with save.written_whole(pathlib.Path(dest).expanduser(), size) as partial:
    openpi.write_into(partial, opened, full, reporting.counter(str(dest), "B"))
  print(f"{dest} written: {full} with the PaliGemma of {source}, all else as it was")


def cast(source, dtype):
  """The Checkpoint with all leaves in another dtype."""
  def changed(leaf):
    return LazyArray(leaf.shape, np.dtype(dtype), lambda index=(): leaf.read(index).astype(dtype))
  return dataclasses.replace(
      source, leaves={name: changed(leaf) for name, leaf in source.leaves.items()}, stored=None)


def write_adapters(source, dest, base=None):
  """Writes the LoRA adapters of a work folder as a folder of PEFT."""
  opened = load.open_source(uris.fetch(presets.uri(source)))
  adapters = trees.nested(materialize.adapters(opened))
  peft.export(paligemma.PaliGemma(opened.config), adapters, dest, base)
  print(f"{dest} written; peft.PeftModel.from_pretrained(model, {str(dest)!r}) opens it over its "
        "base")


def compare(a, b):
  """Runs both on the same random input; prints and returns the largest difference."""
  dtype = "float32" if any(x.dtype == np.float32 for x in a.leaves.values()) else "bfloat16"
  left, right = outputs(a, a.config, dtype), outputs(b, a.config, dtype)
  worst = {name: float(np.max(np.abs(left[name] - right[name]))) for name in left}
  first = next((name for name, error in worst.items() if not error == 0), None)  # NaN differs too
  error = max(worst.values(), key=lambda e: (e != e, e))
  print(f"verify: {len(worst)} stages in {dtype}, max error {error:.3g}"
        + (f", first difference in {first} ({worst[first]:.3g})" if first else ", all equal"))
  return error


def outputs(source, config, dtype):
  """{stage: float32 array} of a checkpoint, as the model of `config` in dtype, on a random image
  and text, in the order of the layers."""
  c, rng = paligemma.with_dtype(config, dtype), np.random.default_rng(0)
  model, leaves = paligemma.PaliGemma(c), load.fit(source, c)
  shapes = trees.nested(paligemma.param_shapes(c))
  mesh = sharding.make_mesh(devices=jax.devices()[:1])
  params = load.params(leaves, sharding.tree_sharding(mesh, shapes), dtype)
  image, grid = paligemma.example_image(c.img) if c.img else (None, None)
  image = None if image is None else rng.uniform(-1, 1, image.shape).astype("float32")
  reader, length = c.llm or c.txt, c.txt.length if c.txt else TEXT
  text = reader and rng.integers(0, reader.vocab_size, (1, length)).astype(np.int32)

  @jax.jit
  def run(params, image, text):
    if c.llm is None:
      return paligemma.tower_outputs(model, params, text, image, grid)
    mask_ar = None if text is None else jnp.ones_like(text)
    out = paligemma.outputs(model, params, text, mask_ar, image)
    out = {k: out[k] for k in ("image_hidden", "image", "hidden") if k in out}
    if text is not None:
      hidden = model.apply({"params": params}, text, mask_ar, image)
      out["logits"] = model.apply({"params": params}, hidden, method="logits")
    return jax.tree.map(lambda x: x.astype(jnp.float32), out)

  found = {}
  for name, x in jax.device_get(run(params, image, text)).items():
    if name.endswith("hidden"):  # the input, then each block
      found |= {f"{name.replace('hidden', 'block')} {i}": y for i, y in enumerate(x)}
    else:
      found[name] = x
  order = ["image_block", "image", "text_block", "text", "block", "logits"]
  return dict(sorted(found.items(), key=lambda item: order.index(item[0].split()[0])))


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("source")
  parser.add_argument("dest")
  parser.add_argument("--format", required=True, choices=(*load.FORMATS, "peft"))
  parser.add_argument("--part", choices=("img", "txt", "llm"), help="a tower or the decoder alone")
  parser.add_argument("--dtype", help="of the tensors written; default: as they are")
  parser.add_argument("--verify", action="store_true")
  parser.add_argument("--adapter", help="a folder of PEFT, to be merged into the source")
  parser.add_argument("--probes", type=int, metavar="N",
                      help="with hf: requests that tools.conform replays; 0: none")
  parser.add_argument("--into", help="with openpi: the whole checkpoint that SOURCE is put into")
  parser.add_argument("--base", help="with peft: the Hugging Face model that the adapters are of")
  args = parser.parse_args(argv)
  compilation.cache()
  if args.into:
    if args.format != "openpi" or (
        args.dtype or args.verify or args.adapter or args.part or args.probes):
      parser.error("--into belongs to --format openpi, without --dtype, --verify, --part, "
                   "--adapter and --probes")
    put_into(args.source, args.dest, args.into)
  elif args.format == "peft":
    if args.dtype or args.verify or args.adapter or args.part or args.probes:
      parser.error("--format peft writes adapters as they are: leave out --dtype, --verify, "
                   "--part, --adapter and --probes")
    write_adapters(args.source, args.dest, args.base)
  elif args.base:
    parser.error("--base belongs to --format peft")
  elif convert(args.source, args.dest, args.format, args.dtype, args.verify, args.adapter,
               args.part, args.probes) != 0:
    sys.exit(1)


if __name__ == "__main__":
  cli.run(main)
