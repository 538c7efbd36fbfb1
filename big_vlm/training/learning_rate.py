"""The learning rate of a fine-tuning that names none, by the size of the model.

Adam's best rate falls with the size of a model. Rates of two sizes are known, with everything
trained and with adapters alone; between them the logarithm of the rate goes along a line, beyond
them the rate stays.
"""
import numpy as np

# (parameters, rate): the model digits, by configs/quickstart.py, and PaliGemma 3B, whose published
# transfers have 1e-5 (arXiv 2407.07726, appendix J) and which LoRA needs 2e-4 for.
FULL = ((1.3e6, 1e-3), (2.9e9, 1e-5))
ADAPTERS = ((1.3e6, 3e-3), (2.9e9, 2e-4))


def default(parameters, adapters=False):
  """The peak of AdamW's learning rate for a model of so many parameters, to two digits.

  adapters: LoRA alone trains.
  """
  sizes, rates = np.log(ADAPTERS if adapters else FULL).T
  return float(f"{np.exp(np.interp(np.log(parameters), sizes, rates)):.1e}")
