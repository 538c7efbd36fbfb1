"""Asks a model about one image or many: python -m tools.predict W --image cat.png --prompt ocr

Prints the answer as it is decoded and writes a picture of it: the image with the boxes and masks
that the answer names and how sure the model is of them. With --interactive the prompts come from
the standard input, one a line, and each answer leaves a picture of its own, overlay_1.png, ...

  python -m tools.predict W --input my/photos --prompt "detect cat" --out answers.jsonl

asks about all files of a folder or of a pattern, or the lines of a JSONL, in batches: see
predict_input.py. The same command resumes after a kill. In several processes it runs as a training
does.
"""
import dataclasses
import functools
import pathlib
import sys

import big_vlm
from big_vlm import attention_map, cli, compilation, distributed, model_flags, presets
from big_vlm.data import jsonl
from big_vlm.decode import samplers
from big_vlm.decode.search import Sample
from big_vlm.decode.session import GenerationConfig
from big_vlm.families import paligemma, vqvae
from pp import locations, ops_image
from tools import overlay

VQVAE = "gs://big_vision/paligemma/vae-oid.npz"
GRAMMARS = {"auto": "auto", "detect": "detect", "segment": "segment", "none": None}


def read_image(path):
  """uint8 [H, W, 3] of a PNG, JPEG, GIF, BMP or WebP file."""
  try:
    data = pathlib.Path(path).read_bytes()
  except OSError as e:
    raise OSError(f"Cannot read the image {path}: {e.strerror}.") from e
  try:
    return ops_image.decode_image(data, exif=True)
  except ValueError as e:
    raise ValueError(f"{path}: {e}") from e


def read_vqvae(path):
  """Parameters of the VQ-VAE of masks from a vae-oid.npz; None without a path."""
  try:
    return vqvae.load(path) if path else None
  except OSError as e:
    raise OSError(f"Cannot read the decoder of masks {path}: {e.strerror or e}. It is the file "
                  f"{VQVAE}.") from e


@functools.cache
def load(source, dtype="auto", adapter=None, quantize=None):
  """from_preset(source, dtype=dtype), with adapters and quantized if told so; ValueError if that
  cannot answer a text about an image."""
  if preset := presets.resolve(source):  # before anything is downloaded
    check_config(source, paligemma.config(**preset.config))
  vlm = big_vlm.from_preset(source, dtype=dtype)
  check_config(source, vlm.config)
  model_flags.check_tokenizer(vlm, source)
  return model_flags.adapted(vlm, adapter, quantize)


def check_config(source, config):
  """Raises ValueError if a model lacks what sees or what answers."""
  if not config.img or not config.llm:
    lacks = "image tower: it reads text alone" if config.llm else "decoder: it cannot answer"
    raise ValueError(f"{source} has no {lacks}. Give a model of the PaliGemma family; "
                     "`python -m big_vlm.presets` lists the released ones.")


def decode(vlm, prompt, image, show, *, sampler="greedy", max_new_tokens=None, **settings):
  """The Generation; show gets its text in pieces, or at once from a search such as a beam, which
  changes its mind.

  max_new_tokens: see limit().
  """
  search = samplers.build(sampler)
  settings["max_new_tokens"] = limit(vlm, max_new_tokens)
  if not isinstance(search, Sample) or search.n > 1:
    generation, = vlm.generate(prompt, image, sampler=sampler, **settings)
    show(generation.text)
    return generation
  pieces = vlm.stream(prompt, image, sampler=sampler, **settings)
  while True:
    try:
      show(next(pieces))
    except StopIteration as end:
      return end.value[0]


def limit(vlm, max_new_tokens=None):
  """The most tokens of an answer: by default as many as a training reads, as in an evaluation."""
  if max_new_tokens is not None:
    return max_new_tokens
  return vlm.text_len or GenerationConfig.max_new_tokens


@dataclasses.dataclass(frozen=True)
class Reply:
  generation: object  # big_vlm's Generation
  found: list  # of the objects that it names, in pixels
  notes: list  # of str, for the user


def respond(vlm, prompt, image, *, decoder=None, show, **settings):
  """The Reply to a prompt about an image, uint8 [H, W, 3].

  decoder: parameters of the VQ-VAE of masks. show: called with each piece of the answer as it is
  decoded. settings: of vlm.generate.
  """
  generation = decode(vlm, prompt, image, show, **settings)
  found = vlm.detections(generation, image, decoder)
  notes = []
  if generation.finish_reason == "length":
    notes.append(f"cut after {len(generation.tokens)} tokens; max_new_tokens allows more")
  if decoder is None and any(o.seg for o in locations.parse_objects(generation.text)):
    notes.append("masks are not drawn: their decoder is missing; --vqvae names the "
                 f"file, {VQVAE}")
  return Reply(generation, found, notes)


def answer(vlm, prompt, image, out, attention=False, **settings):
  """Prints the answer and writes its picture to out; attention: also where its tokens look."""
  reply = respond(vlm, prompt, image, show=lambda s: print(s, end="", flush=True), **settings)
  print()
  if any(o.score is not None for o in reply.found):
    print("confidence: " + ", ".join(map(overlay.confidence, reply.found)))
  for note in reply.notes:
    print(f"({note})")
  text = overlay.caption(prompt, reply.generation.text, reply.found)
  if unseen := overlay.unseen(text):
    print(f"(no installed font has {unseen[:20]}: the picture shows empty boxes instead)")
  save(overlay.draw(image, reply.found, text), out, "overlay")
  if attention:
    heat = attention_map.attention_map(vlm, prompt, image, reply.generation)
    titles = [spelling(vlm.tokenizer, t) for t in reply.generation.tokens]
    save(overlay.draw_attention(image, heat, titles, text), numbered(out, "attention"),
         "attention map")


def spelling(tokenizer, token):
  """A token as a person reads it; a lone space is "␣"."""
  return tokenizer.piece(token).replace("▁", " ").replace("Ġ", " ").strip() or "␣"


def numbered(path, suffix):
  """"a/overlay.png", 2 -> "a/overlay_2.png"."""
  path = pathlib.Path(path)
  return path.with_name(f"{path.stem}_{suffix}{path.suffix}")


def save(page, path, what):
  try:
    page.save(path)
  except (OSError, ValueError) as e:  # Pillow knows no format of that name: ValueError
    raise type(e)(f"Cannot write the picture {path}: {e}. --out names a file such as "
                  "overlay.png in a folder that exists.") from e
  print(f"{what}: {path}")


def converse(answer_one, prompts, out):
  """Answers prompts one after another; an error is printed, and the next prompt asked."""
  for i, prompt in enumerate(prompts, 1):
    try:
      answer_one(prompt, numbered(out, i))
    except ValueError as e:
      print(f"error: {e}")


def typed(first=None):
  """The prompt `first`, if there is one, then the lines of the standard input to its end."""
  if first:
    yield first
  sign = "prompt> " if sys.stdin.isatty() else ""
  while True:
    try:
      line = input(sign).strip()
    except (EOFError, KeyboardInterrupt):
      print()
      return
    if line:
      yield line


# Flags of --image alone and of --input alone, with what stands in for them.
ONE = dict(interactive=False, attention=False)
MANY = dict(format="jsonl", html=None, on_error="raise", batch_size=32, num_frames=16)
LINES = dict(root=None, allow=())  # of a JSONL


def main(argv=None):
  parser = cli.Parser(__doc__, distributed=True)
  parser.add_argument("source", help="a preset, a handle (hf://...), a checkpoint or a work folder")
  parser.add_argument("--image")
  parser.add_argument("--input", help="a folder, a pattern, a .jsonl, .parquet or .tar, "
                                      "instead of --image")
  parser.add_argument("--prompt", help='e.g. "detect 3 ; 7", "segment cat", "caption en", "ocr"')
  parser.add_argument("--interactive", action="store_true", help="prompts from standard input")
  parser.add_argument("--out", help="picture to write (default: overlay.png), or the answers to "
                                    "--input")
  parser.add_argument("--max_new_tokens", type=int,
                      help="limit of an answer (default: the text_len of the model's training, as "
                           "in its evals; 64 where that is not known)")
  parser.add_argument("--sampler", default="greedy", help='e.g. "beam(n=4)", "top_p(p=0.9, t=0.7)"')
  parser.add_argument("--seed", type=int, default=0, help="of a sampler that draws")
  parser.add_argument("--grammar", default="auto", choices=GRAMMARS,
                      help="well-formed answers: auto goes by the first word of the prompt")
  model_flags.add(parser, "auto")
  parser.add_argument("--vqvae", help="vae-oid.npz: decodes the masks of `segment`")
  parser.add_argument("--attention", action="store_true",
                      help="also writes where on the image each token of the answer looked")
  many = parser.add_argument_group("with --input")
  many.add_argument("--format", choices=("jsonl", "coco"), help="of --out (default: jsonl)")
  many.add_argument("--html", help="also writes a page of the pictures with their answers")
  many.add_argument("--on_error", choices=("raise", "skip"),
                    help="skip leaves out images that cannot be read, and counts them")
  many.add_argument("--batch_size", type=int, help="requests side by side (default: 32)")
  many.add_argument("--num_frames", type=int, help="of a video (default: 16)")
  many.add_argument("--root", help="folder that paths in a .jsonl are relative to")
  many.add_argument("--allow", nargs="*", choices=jsonl.ALLOW, metavar="WHAT",
                    help=f"allow in a .jsonl, which is refused otherwise: {', '.join(jsonl.ALLOW)}")
  args = parser.parse_args(argv)
  compilation.cache()
  _check(parser, args)
  samplers.build(args.sampler)  # an error in it shows now
  if args.input:
    cli.start(args)
    return ask_all(args)
  image = read_image(args.image)
  decoder = read_vqvae(args.vqvae)
  vlm = load(args.source, args.dtype or "auto", args.adapter, args.quantize)
  one = lambda prompt, out: answer(
      vlm, prompt, image, out, decoder=decoder, attention=args.attention, sampler=args.sampler,
      max_new_tokens=args.max_new_tokens, seed=args.seed, grammar=GRAMMARS[args.grammar])
  out = args.out or "overlay.png"
  if args.interactive:
    converse(one, typed(args.prompt), out)
  else:
    one(args.prompt, out)


def _check(parser, args):
  """Ends the command where flags do not go together."""
  if bool(args.image) == bool(args.input):
    parser.error("give --image, or --input for many")
  mine, others = ("input", ONE) if args.input else ("image", MANY | LINES)
  if odd := [name for name in others if getattr(args, name)]:
    parser.error(f"--{odd[0]} does not go with --{mine}")
  if args.input and not args.out:
    parser.error("--input needs --out, the file of the answers")
  if args.image and not args.prompt and not args.interactive:
    parser.error("give --prompt, or --interactive for prompts from the standard input")
  if args.html and args.html in (args.out, args.input, f"{args.out}.partial"):
    parser.error("--html is the file of --out or --input: give it a name of its own")
  for name in ("batch_size", "num_frames"):
    if (value := getattr(args, name)) is not None and value < 1:
      parser.error(f"--{name} is 1 or more")


def ask_all(args):
  """The requests of --input."""
  # Here: reports and the loader, slow to import.
  from tools import answers_file, predict_input, predict_many
  distributed.broadcast_from_primary(lambda: answers_file.check_new(args.out))
  requests = predict_input.open_input(
      args.input, args.prompt, root=args.root, allow=args.allow or (),
      check=args.on_error != "skip",
      own=[path for path in (args.out, answers_file.partial(args.out), args.html) if path])
  decoder = read_vqvae(args.vqvae)
  vlm = load(args.source, args.dtype or "auto", args.adapter, args.quantize)
  config = GenerationConfig(limit(vlm, args.max_new_tokens), sampler=args.sampler, seed=args.seed,
                            grammar=GRAMMARS[args.grammar])
  predict_many.write(vlm, requests, config, args.out, decoder=decoder,
                     **{name: getattr(args, name) or default for name, default in MANY.items()})


if __name__ == "__main__":
  cli.run(main)
