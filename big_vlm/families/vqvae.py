"""The VQ-VAE behind the 128 <seg> tokens (arXiv 2301.02229): 16 codes -> a 64x64 mask.

Pure functions of the parameters in big_vision's `vae-oid.npz`, in that file's names and layout,
which are PyTorch's; pp/mask_codes.py has the encoder.

  encoder.{0,2,4,6}          convolutions of stride 2, SAME padding, each followed by a ReLU
  encoder.{8,9}.net.{0,2,4}  residual blocks: three convolutions, ReLU between, none after the sum
  encoder.10                 convolution to the width of the codebook
  _vq_vae._embedding         the codebook [K, D]: a code is the row nearest to the encoder's output
  decoder.0                  1x1 convolution, ReLU
  decoder.{2,3}.net.{0,2,4}  residual blocks as above
  decoder.{4,6,8,10}         transposed convolutions 4x4, stride 2, padding 1, ReLU
  decoder.12                 1x1 convolution to one channel

B batch, H and W mask rows and columns, C channels, K codes (128), D codebook width (512). The 16
codes are a 4x4 grid, row by row; channel counts and encoder kernels are the file's.
"""
import jax
import jax.numpy as jnp
import numpy as np

GRID = 4  # codes per side
_DOWN, _UP = (0, 2, 4, 6), (4, 6, 8, 10)
_CODEBOOK = "_vq_vae._embedding"
_TRAINING_ONLY = "_vq_vae._ema_"  # moving averages that the codebook was trained by


def _shapes():
  """{name: axes}, an axis being a size or a letter that stands for one size everywhere."""
  shapes = {_CODEBOOK: ("K", "D")}

  def conv(name, inputs, outputs, kernel=None):
    kernel = kernel or f"the kernel of {name}"
    shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
    shapes[f"{name}.bias"] = (outputs,)

  def residual(name, channels):
    conv(f"{name}.net.0", channels, f"{name} a")
    conv(f"{name}.net.2", f"{name} a", f"{name} b")
    conv(f"{name}.net.4", f"{name} b", channels)

  for n in _DOWN:
    conv(f"encoder.{n}", f"e{n - 2}" if n else 1, f"e{n}")
  for n in (8, 9):
    residual(f"encoder.{n}", "e6")
  conv("encoder.10", "e6", "D")
  conv("decoder.0", "D", "d2", 1)
  for n in (2, 3):
    residual(f"decoder.{n}", "d2")
  for n in _UP:
    conv(f"decoder.{n}", f"d{n}", f"d{n - 2}", 4)  # transposed: PyTorch has the inputs first
    shapes[f"decoder.{n}.weight"] = (f"d{n - 2}", f"d{n}", 4, 4)
    shapes[f"decoder.{n}.bias"] = (f"d{n}",)
  conv("decoder.12", "d10", 1, 1)
  return shapes


def load(path):
  """{name: float32 array} of a `vae-oid.npz`.

  Raises ValueError, which lists all that is missing, unexpected or of a wrong shape.
  """
  with np.load(path, allow_pickle=False) as file:
    params = {k: file[k].astype(np.float32) for k in file.files if not k.startswith(_TRAINING_ONLY)}
  expected, sizes, wrong = _shapes(), {}, []
  for name, axes in expected.items():
    if name not in params:
      wrong.append(f"missing {name}")
      continue
    shape = params[name].shape
    want = tuple(a if isinstance(a, int) else sizes.get(a) for a in axes)
    if len(shape) != len(want) or any(w not in (None, n) for w, n in zip(want, shape)):
      wanted = ", ".join("any" if w is None else str(w) for w in want)
      wrong.append(f"{name} is {list(shape)}, not [{wanted}]")
      continue
    for axis, n in zip(axes, shape):
      if sizes.setdefault(axis, n) != n:
        wrong.append(f"{name} is {list(shape)}, which is not square")
        break
  wrong += [f"unexpected {name}" for name in sorted(params.keys() - expected.keys())]
  if wrong:
    raise ValueError(f"{path} does not hold the VQ-VAE of segmentation masks: {'; '.join(wrong)}. "
                     "Give big_vision's vae-oid.npz.")
  return params


@jax.jit
def decode(params, codes):
  """Codes int32 [B, 16], each in 0..K-1 -> masks float32 [B, 64, 64, 1] in about [-1, 1].

  Above 0 is the object; (x + 1) / 2, clipped, is the mask in [0, 1].
  """
  if codes.shape[1:] != (GRID**2,):
    raise ValueError(f"The VQ-VAE takes {GRID**2} codes a mask, not {list(codes.shape)}.")
  x = jnp.asarray(params[_CODEBOOK])[codes].reshape(len(codes), GRID, GRID, -1)
  x = jax.nn.relu(_conv(params, "decoder.0", x))
  for n in (2, 3):
    x = _residual(params, f"decoder.{n}.net", x)
  for n in _UP:
    x = jax.nn.relu(_conv_transposed(params, f"decoder.{n}", x))
  return _conv(params, "decoder.12", x)


def _conv(params, name, x):
  return _add_bias(params, name, jax.lax.conv_general_dilated(
      x, params[f"{name}.weight"], (1, 1), "SAME", precision="highest",
      dimension_numbers=("NHWC", "OIHW", "NHWC")))


def _conv_transposed(params, name, x):
  """PyTorch's ConvTranspose2d(4, stride 2, padding 1): a convolution with the kernel turned round
  over x with zeros in between; 2 = 4 - 1 - padding."""
  kernel = params[f"{name}.weight"][:, :, ::-1, ::-1]
  return _add_bias(params, name, jax.lax.conv_general_dilated(
      x, kernel, (1, 1), [(2, 2), (2, 2)], lhs_dilation=(2, 2), precision="highest",
      dimension_numbers=("NHWC", "IOHW", "NHWC")))


def _add_bias(params, name, x):
  return x + params[f"{name}.bias"][None, None, None]


def _residual(params, name, x):
  y = jax.nn.relu(_conv(params, f"{name}.0", x))
  y = jax.nn.relu(_conv(params, f"{name}.2", y))
  return x + _conv(params, f"{name}.4", y)
