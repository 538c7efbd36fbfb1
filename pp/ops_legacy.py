"""Ops of big_vision that this project does not have: what to write instead, said at once."""

from pp.registry import OPS

INSTEAD = {
    "rag_tensor": "nothing: arrays of any length go through the pipeline as they are; pad with "
                  "`tolen` or `pad_to_shape` at its end",
    "tokenize": "`tok(key='text', model=\"sp('path/of.model')\", length=N, eos='yes')`, with "
                "`lower` before it for lower case",
    "clip_i1k_label_names": "`getidx` on a list of label names in the data, or labels as strings",
    "i21k_label_names": "`getidx` on a list of label names in the data, or labels as strings",
}


def _refuse(name):
  def factory(*args, **kwargs):
    raise ValueError(f"The pp op {name!r} of big_vision does not exist here. Write instead: "
                     f"{INSTEAD[name]}.")
  factory.__doc__ = f"Not here; instead: {INSTEAD[name]}."
  return factory


for _name in INSTEAD:
  OPS.register(_name)(_refuse(_name))
