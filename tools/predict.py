"""Asks a model about one image: python -m tools.predict W --image cat.png --prompt "detect cat"

Prints the answer and writes a picture of it: the image with the boxes that the answer names.
"""
import argparse
import pathlib

from PIL import Image, ImageDraw, ImageFont

import big_vlm
from big_vlm import reporting
from pp import locations, ops_image

COLOURS = ("#e6550d", "#3182bd", "#31a354", "#756bb1", "#d62728", "#17becf")
SIDE = 512  # least width of the picture in pixels: small images are scaled up


def overlay(image, prompt, answer):
  """uint8 [H, W, 3] -> PIL image: boxes of the answer drawn, prompt and answer written below."""
  scale = max(1, -(-SIDE // image.shape[1]))
  width, height = image.shape[1] * scale, image.shape[0] * scale
  font = ImageFont.load_default(18)
  objects = locations.parse_objects(answer)
  said = " ; ".join(o.label for o in objects) or answer
  text = wrap(f"{prompt}:  {said}", font, width - 16)
  page = Image.new("RGB", (width, height + 24 * len(text) + 12), "white")
  page.paste(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST))
  draw = ImageDraw.Draw(page)
  for i, o in enumerate(objects):
    y0, x0, y1, x1 = (v * s for v, s in zip(o.box, (height, width) * 2))
    colour = COLOURS[i % len(COLOURS)]
    draw.rectangle(sorted_box(x0, y0, x1, y1), outline=colour, width=3)
    left, top, right, bottom = draw.textbbox((x0 + 4, max(y0 - 22, 0)), o.label, font=font)
    draw.rectangle((left - 4, top - 2, right + 4, bottom + 2), fill=colour)
    draw.text((x0 + 4, max(y0 - 22, 0)), o.label, fill="white", font=font)
  for i, line in enumerate(text):
    draw.text((8, height + 8 + 24 * i), line, fill="black", font=font)
  return page


def sorted_box(x0, y0, x1, y1):
  return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def wrap(text, font, width):
  """Lines of text no wider than width pixels; a longer word stays whole."""
  lines = [""]
  for word in text.split(" "):
    longer = f"{lines[-1]} {word}".strip()
    if lines[-1] and font.getlength(longer) > width:
      lines.append(word)
    else:
      lines[-1] = longer
  return lines


def predict(source, image, prompt, out, max_new_tokens):
  """Prints the answer, writes the overlay to out; returns the Generation."""
  try:
    data = pathlib.Path(image).read_bytes()
  except OSError as e:
    raise OSError(f"Cannot read the image {image}: {e.strerror}.") from e
  try:
    pixels = ops_image.decode_image(data)
  except ValueError as e:
    raise ValueError(f"{image}: {e}") from e
  vlm = big_vlm.from_preset(source)
  answer = vlm.generate(prompt, pixels, max_new_tokens=max_new_tokens)[0]
  print(answer.text)
  if answer.finish_reason == "length":
    print(f"(cut after {max_new_tokens} tokens; --max_new_tokens allows more)")
  overlay(pixels, prompt, answer.text).save(out)
  print(f"overlay: {out}")
  return answer


def main(argv=None):
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("source", help="a preset, a handle (hf://...), a checkpoint or a work folder")
  parser.add_argument("--image", required=True)
  parser.add_argument("--prompt", required=True, help='e.g. "detect 3 ; 7", "caption en"')
  parser.add_argument("--out", default="overlay.png", help="picture to write")
  parser.add_argument("--max_new_tokens", type=int, default=64)
  args = parser.parse_args(argv)
  predict(args.source, args.image, args.prompt, args.out, args.max_new_tokens)


if __name__ == "__main__":
  reporting.run(main)
