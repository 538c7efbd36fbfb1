"""Draws docs/mask.svg, which docs/batch.md shows: who sees whom in a row of a batch.

  python -m docs.draw_mask
"""
import pathlib

import jax.numpy as jnp
import numpy as np

from big_vlm.nn import attention

# (token, mask_ar, its part of the row); four image tokens stand for the 256 of 224 pixels.
TOKENS = (*[("img", 0, "image")] * 4, ("BOS", 0, "prefix"), ("how", 0, "prefix"),
          ("many", 0, "prefix"), ("?", 0, "prefix"), ("\\n", 0, "prefix"), ("three", 1, "suffix"),
          ("cats", 1, "suffix"), ("EOS", 1, "suffix"), ("PAD", 0, "padding"))
COLORS = {"image": "#5b8def", "prefix": "#3aa57a", "suffix": "#e08a3c", "padding": "#9aa0a6"}
CELL, LEFT, TOP = 26, 110, 74


def draw():
  """The picture as SVG text: a row for each query, a column for each key that it may see."""
  names, mask_ar, parts = zip(*TOKENS)
  valid = jnp.array([[part != "padding" for part in parts]])
  tokens = attention.prefix_lm(jnp.array([mask_ar]), valid)
  sees = np.asarray(attention.attention_mask(tokens, tokens))[0]
  size = CELL * len(TOKENS)
  text = lambda x, y, words, fill="#888", anchor="end", more="": (
      f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{fill}"{more}>{words}</text>')
  lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + size + 10} '
           f'{TOP + size + 46}" font-family="monospace" font-size="13">']
  for i, (name, part) in enumerate(zip(names, parts)):
    at = i * CELL + CELL // 2
    lines.append(text(LEFT - 26, TOP + at + 4, name, COLORS[part]))
    lines.append(text(LEFT - 8, TOP + at + 4, mask_ar[i]))
    lines.append(text(LEFT + at + 4, TOP - 8, name, COLORS[part], "start",
                      f' transform="rotate(-60 {LEFT + at + 4} {TOP - 8})"'))
    for j in range(len(TOKENS)):
      fill = COLORS[parts[j]] if sees[i, j] else "#8882"
      lines.append(f'<rect x="{LEFT + j * CELL + 1}" y="{TOP + i * CELL + 1}" '
                   f'width="{CELL - 2}" height="{CELL - 2}" rx="3" fill="{fill}"/>')
  for i, (part, color) in enumerate(COLORS.items()):
    lines.append(text(LEFT + i * 84, TOP + size + 22, part, color, "start"))
  lines.append(text(8, TOP + size + 40, "a row sees the coloured columns; mask_ar is beside it",
                    anchor="start"))
  return "\n".join([*lines, "</svg>\n"])


if __name__ == "__main__":
  (pathlib.Path(__file__).parent / "mask.svg").write_text(draw())
