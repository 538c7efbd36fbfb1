"""Writes vqvae.npz: a small VQ-VAE in PyTorch modules, with its codes and decoded masks.

Needs torch. The layers are those of big_vision's segmentation code, in a Sequential each, so that
PyTorch names them as vae-oid.npz does.

  params/NAME  float16    masks  uint8 0..255 [B, 64, 64, 1]    codes  int32 [B, 16]
  decoded      float32 [B, 64, 64, 1]: the decoder on `codes`
"""
import pathlib

import numpy as np
import torch
from torch import nn

BATCH, WIDTH, CODES, DIM = 3, 12, 32, 16


class Residual(nn.Module):

  def __init__(self, channels, hidden):
    super().__init__()
    self.net = nn.Sequential(nn.Conv2d(channels, hidden, 3, padding=1), nn.ReLU(),
                             nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(),
                             nn.Conv2d(hidden, channels, 1))

  def forward(self, x):
    return x + self.net(x)


class VQVAE(nn.Module):

  def __init__(self):
    super().__init__()
    down = lambda i, o: [nn.Conv2d(i, o, 4, stride=2, padding=1), nn.ReLU()]
    up = lambda i, o: [nn.ConvTranspose2d(i, o, 4, stride=2, padding=1), nn.ReLU()]
    self.encoder = nn.Sequential(
        *down(1, 4), *down(4, 8), *down(8, 10), *down(10, WIDTH),
        Residual(WIDTH, 8), Residual(WIDTH, 8), nn.Conv2d(WIDTH, DIM, 1))
    self.decoder = nn.Sequential(
        nn.Conv2d(DIM, WIDTH, 1), nn.ReLU(), Residual(WIDTH, WIDTH), Residual(WIDTH, WIDTH),
        *up(WIDTH, WIDTH), *up(WIDTH, 8), *up(8, 6), *up(6, 4), nn.Conv2d(4, 1, 1))


def nchw(x):
  return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)))


@torch.no_grad()
def main():
  torch.manual_seed(0)
  rng = np.random.default_rng(0)
  model = VQVAE().eval()
  for part, scale in ((model.encoder, 1.7), (model.decoder, 3.0)):  # PyTorch's init fades out
    for p in part.parameters():
      p.copy_((p * scale).half().float())
  y, x = np.mgrid[:64, :64]
  discs = [(y - a)**2 + (x - b)**2 < r**2 for a, b, r in ((30, 20, 18), (50, 40, 25), (10, 60, 30))]
  masks = np.where(np.stack(discs), 255, 0)[..., None] * rng.random((BATCH, 64, 64, 1)) ** 0.1
  masks = masks.astype(np.uint8)
  z = model.encoder(2 * (nchw(masks.astype(np.float32) / 255) - 0.5))
  z = z.permute(0, 2, 3, 1).reshape(-1, DIM)
  # A codebook near some outputs, so that many codes are in use.
  codebook = z[rng.choice(len(z), CODES, replace=False)]
  codebook = (codebook + 0.02 * torch.randn(CODES, DIM)).half().float()
  distance = torch.cdist(z, codebook) ** 2
  nearest = distance.sort(dim=1).values
  codes = distance.argmin(1).reshape(BATCH, 16)
  assert len(codes.unique()) > 12, len(codes.unique())
  margin = (nearest[:, 1] - nearest[:, 0]).min()
  assert margin > 1e-4, f"two rows are {margin} apart: rounding could tell another code"
  decoded = model.decoder(codebook[codes].reshape(BATCH, 4, 4, DIM).permute(0, 3, 1, 2))
  decoded = decoded.permute(0, 2, 3, 1)
  assert decoded.std() > 0.01, decoded.std()
  params = {**model.state_dict(), "_vq_vae._embedding": codebook}
  np.savez_compressed(
      pathlib.Path(__file__).with_name("vqvae.npz"), masks=masks,
      codes=codes.numpy().astype(np.int32), decoded=decoded.numpy(),
      **{f"params/{k}": v.numpy().astype(np.float16) for k, v in params.items()})
  print(f"{len(codes.unique())} codes, margin {margin:.1e}, decoded std {decoded.std():.2f}")


if __name__ == "__main__":
  main()
