"""Asks transformers the probes of a folder; runs in any Python that has it, without big_vlm.

  python ask_transformers.py FOLDER DTYPE

Prints one JSON object a line: first {"versions", "missing"}, then for each probe {"tokens",
"logprobs", "prompt_ids"}. The road is a user's: AutoProcessor (or AutoTokenizer), generate().
"""
import base64
import io
import json
import pathlib
import sys


def main():
  folder, dtype = pathlib.Path(sys.argv[1]), sys.argv[2]
  model, reader, about = read(folder, dtype)
  print(json.dumps(about), flush=True)
  with open(folder / "probes.jsonl", encoding="utf-8") as lines:
    for line in filter(str.strip, lines):
      print(json.dumps(answer(json.loads(line), model, reader)), flush=True)


def read(folder, dtype):
  """(the model, its processor or tokenizer, {"versions", "missing"}) of a folder."""
  import torch
  import transformers
  transformers.logging.set_verbosity_error()
  sees = json.loads((folder / "config.json").read_text())["model_type"] == "paligemma"
  kind = transformers.PaliGemmaForConditionalGeneration if sees else (
      transformers.AutoModelForCausalLM)
  major, minor = map(int, transformers.__version__.split(".")[:2])
  named = "dtype" if (major, minor) >= (4, 56) else "torch_dtype"
  model, info = kind.from_pretrained(folder, local_files_only=True, output_loading_info=True,
                                     **{named: getattr(torch, dtype)})
  reader = (transformers.AutoProcessor if sees else transformers.AutoTokenizer).from_pretrained(
      folder, local_files_only=True)
  return model.eval(), reader, {
      "versions": f"transformers {transformers.__version__}, torch {torch.__version__}, {dtype}",
      "missing": sorted(map(str, info["missing_keys"]))}


def answer(probe, model, reader):
  import torch
  from PIL import Image
  sees = "image" in probe
  if sees:
    image = Image.open(io.BytesIO(base64.b64decode(probe["image"].partition(",")[2])))
    inputs = reader(images=image.convert("RGB"), text="<image>" + probe["prompt"],
                    return_tensors="pt").to(model.dtype)
  else:
    inputs = reader(probe["prompt"], return_tensors="pt")
  ids = inputs["input_ids"][0].tolist()
  with torch.no_grad():
    out = model.generate(**inputs, max_new_tokens=probe["max_new_tokens"], do_sample=False,
                         output_logits=True, return_dict_in_generate=True)
  tokens = out.sequences[0, len(ids):].tolist()
  image_id = getattr(model.config, "image_token_id", getattr(
      model.config, "image_token_index", None)) if sees else None
  # Without <image> and the 63 rows after it, which are no tokens of an answer: of a model that is
  # unsure, they take 4 % of the probability.
  logprobs = [torch.log_softmax(x[0, :image_id].float(), -1)[t].item()
              for x, t in zip(out.logits, tokens)]
  return {"tokens": tokens, "logprobs": logprobs,
          "prompt_ids": [i for i in ids if i != image_id]}


if __name__ == "__main__":
  main()
