"""Pictures of answers: boxes, masks and text on the image; the attention of each token.

Coordinates are pixels of the image as it was given. The page is the image scaled up by a whole
number, or down, so that its longer side is 512 to 1600 pixels, with the text below it.
"""
import functools

import numpy as np
from etils import epy
from PIL import Image, ImageDraw, ImageFont

with epy.lazy_imports():  # slow to import
  import matplotlib
  from matplotlib import font_manager, ft2font

COLOURS = ("#d1495b", "#00798c", "#b5651d", "#5f4bb6", "#2e7d32", "#0b5394", "#a61e69", "#6b6b00")
SMALL, LARGE = 512, 1600  # longer side of the drawn image in pixels
PANEL = 180  # longer side of a picture of attention
TEXT = 18  # font size in pixels
MARGIN = 8


def draw(image, found=(), text=""):
  """uint8 [H, W, 3] or PIL, objects, text -> PIL page.

  found: objects with .box (ymin, xmin, ymax, xmax), .label, .mask (bool [H, W] or None) and
    .score (0..1 or None). text: below the image; its first line grey.
  """
  image = Image.fromarray(np.asarray(image)).convert("RGB")
  scale = _scale(image.size)
  size = tuple(max(1, round(side * scale)) for side in image.size)
  how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
  lines = wrap(text, TEXT, max(size[0], SMALL) - 2 * MARGIN) if text else []
  step = round(TEXT * 1.4)
  page = Image.new(
      "RGB", (max(size[0], SMALL), size[1] + bool(lines) * 2 * MARGIN + step * len(lines)), "white")
  picture = image.resize(size, how)
  for i, o in enumerate(found):
    if o.mask is not None:
      picture = _tint(picture, o.mask, COLOURS[i % len(COLOURS)])
  outlines = ImageDraw.Draw(picture)
  for i, o in enumerate(found):
    outlines.rectangle(_corners(o.box, scale), outline=COLOURS[i % len(COLOURS)], width=3)
  page.paste(picture)
  pen = ImageDraw.Draw(page)
  _tags(pen, found, scale, (page.width, size[1]))
  grey = len(wrap(text.split("\n")[0], TEXT, max(size[0], SMALL) - 2 * MARGIN))
  for i, line in enumerate(lines):
    pen.text((MARGIN, size[1] + MARGIN + step * i), line, font=font(TEXT, line),
             fill="#666666" if i < grey else "black")
  return page


def draw_attention(image, heat, titles, text="", most=32):
  """uint8 [H, W, 3] or PIL, heat [N, G, G], N titles, text -> PIL page: a picture for each title.

  See attention_pictures(). most: titles beyond it are only counted.
  """
  pictures = attention_pictures(image, heat[:most])
  size = pictures[0].size if pictures else (PANEL, PANEL)
  columns = max(3, min(len(titles), (LARGE - MARGIN) // (size[0] + MARGIN), 8))
  cell = (max(size[0], PANEL // 2) + MARGIN, size[1] + TEXT + 2 * MARGIN)
  width = columns * cell[0] + MARGIN
  if len(titles) > most:
    text += f"\n(the first {most} of {len(titles)} tokens)"
  lines, step = wrap(text.strip(), TEXT, width - 2 * MARGIN), round(TEXT * 1.4)
  rows = -(-min(len(titles), most) // columns)
  page = Image.new("RGB", (width, len(lines) * step + rows * cell[1] + 3 * MARGIN), "white")
  pen = ImageDraw.Draw(page)
  for i, line in enumerate(lines):
    pen.text((MARGIN, MARGIN + step * i), line, font=font(TEXT, line), fill="black")
  for i, (picture, title) in enumerate(zip(pictures, titles)):
    x, y = MARGIN + i % columns * cell[0], 2 * MARGIN + len(lines) * step + i // columns * cell[1]
    face = font(TEXT - 2, title := plain(title))
    pen.text((x, y), _shorten(title, face, cell[0] - MARGIN), font=face, fill="black")
    page.paste(picture, (x, y + TEXT + MARGIN))
  return page


def attention_pictures(image, heat):
  """[PIL], PANEL pixels on the longer side, of uint8 [H, W, 3] or PIL and heat [N, G, G].

  Bright is where the heat is: from black at 0 to bright yellow at its own greatest value. A patch
  is drawn as it is, not smoothed.
  """
  image = Image.fromarray(np.asarray(image)).convert("L")
  size = tuple(max(1, round(PANEL * side / max(image.size))) for side in image.size)
  grey = image.resize(size, Image.Resampling.BILINEAR).convert("RGB")
  return [_glow(grey, one) for one in heat]


def _glow(picture, heat):
  """The picture seen through heat [G, G], which is stretched over it."""
  heat = np.asarray(heat, np.float32) / max(float(np.max(heat)), 1e-30)
  colour = Image.fromarray((matplotlib.colormaps["inferno"](heat)[..., :3] * 255).astype(np.uint8))
  return Image.blend(picture, colour.resize(picture.size, Image.Resampling.NEAREST), 0.6)


def caption(prompt, answer, found=()):
  """The text of a page: the prompt, and below it the answer or, of objects, their labels."""
  names = " ; ".join(o.label for o in found) if found else answer
  return f"{prompt}\n{names or '(an empty answer)'}"


def confidence(o):
  """"cat 93%", without a percentage where there is no score."""
  return f"{o.label} {percent(o.score)}".strip()


def percent(x):
  """0.934 -> "93%", 0.001 -> "<1%", None -> ""."""
  return "" if x is None else "<1%" if x < 0.005 else f"{x:.0%}"


def wrap(text, size, width):
  """Lines of text no wider than `width` pixels at a font size; too long a word is broken."""
  fits = lambda line: font(size, line).getlength(line) <= width
  lines = []
  for paragraph in map(plain, text.split("\n")):
    lines.append("")
    for word in paragraph.split(" "):
      longer = f"{lines[-1]} {word}" if lines[-1] else word
      if fits(longer):
        lines[-1] = longer
        continue
      if lines[-1]:
        lines.append("")
      for letter in word:  # most often in one piece
        if lines[-1] and not fits(lines[-1] + letter):
          lines.append("")
        lines[-1] += letter
  return lines


def plain(text):
  """Text with spaces for control characters, which no font can draw."""
  return "".join(c if c.isprintable() else " " for c in text)


def font(size, text):
  """The font of a text: DejaVu Sans, or an installed one that has more of its characters."""
  return _font(_font_file(frozenset(text)), size)


_font = functools.lru_cache(maxsize=64)(ImageFont.truetype)


def unseen(text):
  """The characters of a text that its font has no glyph for, in order."""
  text = plain(text)
  covered = _coverage(_font_file(frozenset(text)))
  return "".join(dict.fromkeys(c for c in text if c != " " and ord(c) not in covered))


@functools.lru_cache(maxsize=256)
def _font_file(characters):
  default = font_manager.findfont("DejaVu Sans")  # comes with matplotlib
  wanted = {ord(c) for c in characters - {" "}}
  if wanted <= _coverage(default):
    return default
  have = lambda path: len(wanted & _coverage(path))
  return max([default, *_installed()], key=have)  # the first of equals


@functools.cache
def _installed():
  return sorted(font_manager.findSystemFonts())


@functools.cache
def _coverage(path):
  """The code points that a font file has glyphs for."""
  try:
    return frozenset(ft2font.FT2Font(path).get_charmap())
  except (OSError, RuntimeError):  # fonts without outlines
    return frozenset()


def _scale(size):
  longer = max(size)
  return LARGE / longer if longer > LARGE else max(1, -(-SMALL // longer))


def _corners(box, scale):
  """(ymin, xmin, ymax, xmax) of the image -> (x0, y0, x1, y1) of the page, in order."""
  y0, x0, y1, x1 = (v * scale for v in box)
  return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _tint(picture, mask, colour):
  """The picture with a mask in translucent colour and its edge in full colour."""
  mask = Image.fromarray(np.asarray(mask, bool)).resize(picture.size, Image.Resampling.NEAREST)
  inside = np.pad(np.asarray(mask, bool), 2)
  near = [np.roll(inside, s, axis)[2:-2, 2:-2] for s in (-2, 2) for axis in (0, 1)]
  inside = inside[2:-2, 2:-2]
  edge = inside & ~np.logical_and.reduce(near)
  alpha = Image.fromarray(np.where(edge, 255, np.where(inside, 110, 0)).astype(np.uint8))
  return Image.composite(Image.new("RGB", picture.size, colour), picture, alpha)


def _tags(pen, found, scale, size):
  """Each label on its colour at its box, where it covers the fewest others, inside the picture."""
  room = (size[0] * size[1] / max(len(found), 1)) ** 0.5  # side of a square for each
  height, taken = round(min(max(room / 12, 11), TEXT)), []
  for i, o in enumerate(found):
    if not (label := plain(confidence(o))):
      continue
    face = font(height, label)
    label = _shorten(label, face, size[0] - 8)
    w, h = face.getlength(label) + 8, height + 6
    x0, y0, x1, y1 = _corners(o.box, scale)
    spots = [(x, y) for y in (y0 - h, y0, y1, y1 - h) for x in (x0, x1 - w)]
    spots = [(min(max(x, 0), size[0] - w), min(max(y, 0), size[1] - h)) for x, y in spots]
    boxes = [(x, y, x + w, y + h) for x, y in spots]
    best = min(boxes, key=lambda box: sum(_common(box, other) for other in taken))
    taken.append(best)
    pen.rectangle(best, fill=COLOURS[i % len(COLOURS)])
    pen.text((best[0] + 4, best[1] + h / 2), label, fill="white", font=face, anchor="lm")


def _shorten(label, face, width):
  if face.getlength(label) <= width:
    return label
  while label and face.getlength(label + "…") > width:
    label = label[:-1]
  return label + "…"


def _common(a, b):
  """Area that two boxes (x0, y0, x1, y1) share."""
  return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
