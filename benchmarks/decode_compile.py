"""Compiles generate(), its prefill and its rounds, with the TPU's or the GPU's own compiler.

  python -m benchmarks.decode_compile [--models google/paligemma-3b-pt-224]
    [--weights bfloat16 int8 int4] [--batches 1 8 32] [--topologies v5e:1x1] [--devices h100]

A row is a model, the kind of its weights, the number of prompts (an image and 16 text tokens each,
64 new ones, greedy) and chips, over which the weights are tensor-parallel. Per chip:

  prefill  milliseconds, and MFU: the FLOPs that the model needs over the peak
  round    milliseconds of one token more of each request
  floor    milliseconds to read the decoder's weights and the cache once; share: of that in a round
  GiB      of the larger of the two programs: arguments + temporaries + outputs - aliased
  compile  processor seconds of both programs
  moved    of a GPU: bytes that a round reads and writes, over those of the floor; the copies and
           conversions of more than 1 MiB are in the file

Times of a TPU are its compiler's own estimate of cycles, those of a GPU a roofline over the program
(tools/planning/decoding.py). Neither compiler needs the device:

  pip install --no-deps --target .libtpu -r requirements-tpu-compiler.txt
  pip install --target .jax-cuda -r requirements-gpu-compiler.txt

A row takes half a minute to two on 2 cores.
"""
import argparse
import datetime
import json
import pathlib
import subprocess

from big_vlm.planning.devices import GIB
from tools.planning import child, gpu

OUT = pathlib.Path(__file__).parent / "results" / "decode_compile.json"
HEAD = (f"{'model':<28} {'weights':<8} {'batch':>5} {'chips':<8} {'prefill':>8} {'MFU':>6} "
        f"{'round':>7} {'floor':>6} "
        f"{'share':>6} {'tokens/s':>8} {'GiB':>6} {'compile':>7} "
        f"{'moved':>6}")


def line(row, result):
  """A row of the printed table."""
  prefill, step = result["prefill"], result["round"]
  took = sum(part["compile_seconds"] for part in (prefill, step))
  where = row.get("topology") or row["device"]
  return (f"{row['model']:<28} {row['weights']:<8} {row['batch']:>5} {where:<8} "
          f"{1e3 * prefill['seconds']:8.2f} {prefill['mfu']:6.1%} {1e3 * step['seconds']:7.3f} "
          f"{1e3 * step['floor_seconds']:6.3f} {step['bandwidth_share']:6.1%} "
          f"{step['tokens_per_second']:8,.0f} {result['total'] / GIB:6.2f} "
          f"{took:7.0f} "
          + (f"{step['bytes'] / step['floor_bytes']:5.2f}x" if "bytes" in step else "")
          + "  does not fit" * (not result["fits"]))


def main():
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--models", nargs="+", default=["google/paligemma-3b-pt-224"],
                      help="names of released models, which say the image size too")
  parser.add_argument("--weights", nargs="+", default=["bfloat16", "int8", "int4"])
  parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
  parser.add_argument("--topologies", nargs="*", default=["v5e:1x1"])
  parser.add_argument("--devices", nargs="*", default=[], choices=gpu.TARGETS)
  parser.add_argument("--out", type=pathlib.Path, default=OUT)
  parser.add_argument("--save", help="prefix of files for the texts of the programs")
  args = parser.parse_args()
  kept = json.loads(args.out.read_text())["rows"] if args.out.exists() else {}
  commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                          text=True, cwd=child.ROOT).stdout.strip()
  print(HEAD)
  where = [dict(topology=t) for t in args.topologies] + [dict(device=d) for d in args.devices]
  for row in (dict(model=model, weights=weights, batch=batch, **place)
              for place in where for model in args.models
              for weights in args.weights for batch in args.batches):
    # bfloat16 is the dtype of activations too; a T4 has float16 alone
    dtype = "float16" if row.get("device") == "t4" else "bfloat16"
    quantized = None if row["weights"] == "bfloat16" else row["weights"]
    result = child.run("decoding", save=args.save, dtype=dtype, **row | {"weights": quantized})
    print(line(row, result), flush=True)
    kept[" ".join(map(str, row.values()))] = {
        "date": datetime.date.today().isoformat(), "commit": commit, **row, **result}
    args.out.write_text(json.dumps({"rows": kept}, indent=1) + "\n")


if __name__ == "__main__":
  main()
