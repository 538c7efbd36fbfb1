"""The fields of a config that ops take if the pipeline string does not give them."""

import dataclasses

from pp.tokenizer import difference

FIELDS = {"tokenizer": "config.tokenizer", "row_len": "config.text_len",
          "image_size": "config.model.img.image_size", "image_shape": "config.model.img.image_size"}
REACHES = {"row_len": "text", "image_size": "image", "image_shape": "image"}  # the model's inputs


@dataclasses.dataclass(frozen=True)
class Context:
  """The fields that all pipelines of a run share.

  "decode|resize|text_layout" takes all its arguments from here. An argument in the string wins, but
  `check` raises if it would silently give the model another input than the field says.
  """
  tokenizer: str | None = None  # as pp.tokenizer.get_tokenizer takes it
  text_len: int | None = None  # tokens that the model reads
  image_size: int | None = None  # pixels of a side
  train: bool = True  # rows have the suffix, with one token more, which is predicted only
  image: bool = True  # False: the model is text-only
  pad_token: int | None = None  # of a text tower, which reads it too

  @property
  def row_len(self):
    return self.text_len and self.text_len + self.train

  @property
  def image_shape(self):
    return self.image_size and (self.image_size, self.image_size, None)

  def check(self, calls):
    """Raises ValueError for an argument of `calls` that contradicts a field.

    calls: [(text, {field: value}, key that it writes)] of the ops in their order. Of several ops
    that resize the image only the last counts.
    """
    last = {}
    for text, given, key in calls:
      for field, value in given.items():
        if field in REACHES and REACHES[field] == key:
          last[key] = text, field, value
        elif field == "tokenizer":
          last[text] = text, field, value
    for text, field, value in last.values():
      if problem := self._contradicted(field, value):
        is_ = getattr(self, FIELDS[field].rpartition(".")[2])
        raise ValueError(f"The pp op `{text}` contradicts {FIELDS[field]}, which is {is_!r} here: "
                         f"{problem}. Leave the argument out, so that the field counts, or change "
                         "one of the two.")

  def _contradicted(self, field, value):
    """The change that an argument makes against the field, as text; "" if there is none."""
    want = getattr(self, field)
    if not want or not value:
      return ""
    if field == "tokenizer":
      return difference(value, want)
    if field == "row_len":
      return "" if value == want else f"rows would have {value} tokens, not {want}"
    height, width = (value,) * 2 if isinstance(value, int) else tuple(value)[-3:][:2]
    return "" if height == width == self.image_size else (
        f"images would have {height}x{width} pixels")
