"""Does another framework give the answers of an export? python -m tools.conform FOLDER --against X

X is "transformers", or the address of a server with OpenAI's API, such as tools.serve's
http://127.0.0.1:8000/v1. FOLDER is a Hugging Face folder of vlm.export or tools.convert with its
probes.jsonl: images, prompts, and the tokens and log-probabilities of the model. They are asked
there; exit status 0 means that all agree. Where one does not, the answers are computed again with
our own model, read otherwise: a causal mask, no newline, another resize, logits without their cap,
another window, ... The change that gives the other side's numbers is named, or that none does.

transformers runs in this Python or in that of `make parity`; --python gives another one.
"""
import sys

from etils import epath

import big_vlm
from big_vlm import building, cli, compilation, model_flags, probes
from pp.printable import printable
from tools.conformance import readings, sides, verdict


def conform(folder, side, dtype=probes.DTYPE):
  """(the lines of a comparison of the export `folder` with a side, whether they agree).

  side: called with the folder's [Probe] and its tokenizer, gives (its name, [Reply]). dtype: in
  which it computes.
  """
  asked, vlm = probes.read(folder), big_vlm.from_preset(folder)
  model_flags.check_tokenizer(vlm, folder)
  size = vlm.config.llm.vocab_size
  if odd := next((p for p in asked if max(p.tokens + p.prompt_ids) >= size), None):
    raise ValueError(f"{folder}: the probe {odd.id} has tokens beyond the {size:,} of the model, "
                     "as another export may.")
  name, replies = side(asked, vlm.tokenizer)
  scorer = readings.Scorer(vlm, asked)
  if dtype != probes.DTYPE:
    asked = verdict.rounded(scorer, asked, dtype)
  explainer = verdict.Explainer(scorer, vlm.config, asked, replies)
  lines, differ = [f"{folder}: {len(asked)} probes, against {name}"], 0
  for i, (probe, reply) in enumerate(zip(asked, replies)):
    found = verdict.difference(probe, reply, vlm.tokenizer)
    if found is None:
      text = f"equal, {len(reply.tokens)} tokens within {verdict.largest(probe, reply):.1e}"
    elif found.other and explainer.tied(i) and not explainer.stale():
      text = f"equal up to token {found.at}, where two are as likely"
    else:
      text, differ = f"DIFFERS at token {found.at}: {found.text}", differ + 1
    lines.append(f"  {probe.id:3}  {probe.prompt:24.24}  {text}")
  if not differ:
    return [*lines, "all agree"], True
  return [*lines, f"{differ} of {len(asked)} differ", *reasons(asked, replies, explainer)], False


def reasons(asked, replies, explainer):
  """The lines that say what differs."""
  if explainer.stale():
    return ["Our own model, opened from this folder, does not give these probes either: the folder "
            "was changed after its export. Export it again."]
  lines = [f"probe {p.id}: its prompt is {r.prompt_ids} there, {p.prompt_ids} here"
           for p, r in zip(asked, replies) if r.prompt_ids not in (None, p.prompt_ids)][:1]
  tried = explainer.single()
  if fits := [reading for away, reading in tried if away <= 1]:
    lines.append(f"what differs is the {fits[0].kind}: {fits[0].name}. Read so, our own model "
                 "gives the other side's numbers.")
    return lines + [f"(It also does with the {r.kind}: {r.name}.)" for r in fits[1:]]
  if dtype := explainer.rounding():
    return [*lines, "what differs is the dtype, or something as small: the differences are no "
            f"larger than rounding to {dtype} makes them here. --dtype {dtype} allows for that."]
  if both := explainer.pair(tried):
    return [*lines, f"two things differ, the {both.kind}: {both.name}. Read so, our own model "
            "gives the other side's numbers."]
  near = "; ".join(f"{r.kind}: {r.name} ({away:.3g})" for away, r in tried[:3])
  return [*lines, "None of what was tried, alone or in pairs, gives the other side's numbers. The "
          f"nearest, in tolerances of a probe: {near}."]


def main(argv=None):
  parser = cli.Parser(__doc__)
  parser.add_argument("folder", help="an export, with its probes.jsonl")
  parser.add_argument("--against", required=True, help="transformers, or a server's address")
  parser.add_argument("--dtype", choices=building.DTYPES, default=probes.DTYPE,
                      help="in which the other side computes (default: %(default)s)")
  parser.add_argument("--python", help="an interpreter that has transformers")
  parser.add_argument("--model", help="a server's name of the model (default: its first one)")
  args = parser.parse_args(argv)
  folder = epath.Path(args.folder)
  if args.against == "transformers":
    if args.model:
      parser.error("--model is of a server")
    side = sides.transformers(folder, args.dtype, args.python)
  elif args.against.startswith(("http://", "https://")):
    if args.python:
      parser.error("--python is for --against transformers")
    side = sides.server(args.against, args.model)
  else:
    parser.error(f"--against is transformers, or the http(s) address of a server, not "
                 f"{printable(args.against)!r}")
  compilation.cache()
  lines, agree = conform(folder, side, args.dtype)
  print("\n".join(map(printable, lines)))
  if not agree:
    sys.exit(1)


if __name__ == "__main__":
  cli.run(main)
