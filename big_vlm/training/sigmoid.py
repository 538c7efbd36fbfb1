"""SigLIP's loss (arXiv 2303.15343): does each image belong together with each text of a batch?

  loss = mean over images of the sum over texts of softplus(-z * logits)
  logits = zi zt^T exp(t) + b,  z = 1 for an image and its own text, -1 for all others

All B texts are in the sum, of all devices and processes together. A device has R of the B rows. The
texts, and what has been summed of their gradients, go round the devices; each compares its images
with the texts that it holds, a chunk at a time, and takes the gradient while the chunk's logits
exist. Memory thus grows with B, and no logits are computed twice.

B batch, R rows of a device, C of a chunk, I images, T texts, D width.
"""
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from big_vlm.nn.partitioning import BATCH_AXES, batch_rows

CHUNK = 1024  # images and texts whose logits exist at once: 4 MiB
SCOPE = "sigmoid_loss"  # name in a compiled program


class Pairs(NamedTuple):
  """What is known of each image, float32 [B]; 0 for padding rows."""
  loss: jax.Array  # the sum over the texts
  positive: jax.Array  # the logit of its own text
  negative: jax.Array  # the sum of the logits of all others


def chunk_size(rows, devices):
  """Rows of a chunk of `rows`, those of a device: on one alone at most half of the batch."""
  return min(CHUNK, rows if devices > 1 else -(-rows // 2))


def _block(zi, zt, t, b, z):
  """(sum of losses, (loss, positive, negative) [I]) of images zi [I, D] and texts zt [T, D]; z [I,
  T] is 1, -1, or 0 for padding."""
  dots = jnp.einsum("ID,TD->IT", zi, zt, precision="highest")
  logits = dots * jnp.exp(t)[None] + b[None]
  losses = jnp.sum(jnp.where(z == 0, 0., jax.nn.softplus(-z * logits)), axis=1)
  of = lambda sign: jnp.sum(jnp.where(z == sign, logits, 0.), axis=1)
  return jnp.sum(losses), (losses, of(1), of(-1))


def _local(images, texts, scale, *, devices, differentiate):
  """Of one device's rows: ((Pairs, gradient of zi), gradient of zt, those of t and b).

  images, texts: (vectors [R, D], float32 [R]: 1, or 0 for padding). scale: (t, b). devices: around
  which the texts go.
  """
  rows = len(images[0])
  chunk = chunk_size(rows, devices)
  pad = lambda x: jnp.pad(x, ((0, -rows % chunk),) + ((0, 0),) * (x.ndim - 1))
  (zi, real_i), texts = jax.tree.map(pad, (images, texts))
  chunks = len(zi) // chunk
  mine = jax.lax.axis_index(BATCH_AXES) if devices > 1 else 0
  at = lambda x, i: jax.lax.dynamic_slice_in_dim(x, i * chunk, chunk)
  add_at = lambda x, i, y: jax.lax.dynamic_update_slice_in_dim(x, at(x, i) + y, i * chunk, 0)

  def add(source, number, carry):
    """Adds a chunk of images with one of the texts, which are those of the device `source`."""
    (pairs, of_zi), (zt, real_t, of_zt), of_scale = carry
    i, j = number // chunks, number % chunks
    own = (source == mine) & (i == j) & jnp.eye(chunk, dtype=bool)
    z = jnp.where(own, 1., -1.) * at(real_i, i)[:, None] * at(real_t, j)[None]
    args = (at(zi, i), at(zt, j), *scale, z)
    if differentiate:
      (_, found), (dzi, dzt, *dscale) = jax.value_and_grad(_block, (0, 1, 2, 3), has_aux=True)(
          *args)
      of_zi, of_zt = add_at(of_zi, i, dzi), add_at(of_zt, j, dzt)
      of_scale = jax.tree.map(jnp.add, of_scale, tuple(dscale))
    else:
      _, found = _block(*args)
    pairs = Pairs(*(add_at(x, i, y) for x, y in zip(pairs, found)))
    return (pairs, of_zi), (zt, real_t, of_zt), of_scale

  def compare(turn, carry):
    source = (mine + turn) % devices
    here, texts, of_scale = jax.lax.fori_loop(
        0, chunks * chunks, lambda number, carry: add(source, number, carry), carry)
    if devices > 1:  # those of the next device come in; after the last turn each is back home
      texts = jax.lax.ppermute(texts, BATCH_AXES, [(d, (d - 1) % devices) for d in range(devices)])
    return here, texts, of_scale

  nothing = jnp.zeros_like
  here = (Pairs(*[nothing(real_i)] * 3), nothing(zi))
  here, (_, _, of_zt), of_scale = jax.lax.fori_loop(
      0, devices, compare, (here, (*texts, nothing(texts[0])), jax.tree.map(nothing, scale)))
  if devices > 1:
    of_scale = jax.lax.psum(of_scale, BATCH_AXES)
  return (*jax.tree.map(lambda x: x[:rows], (*here, of_zt)), of_scale)


def _compared(zi, zt, t, b, real=None, differentiate=False):
  """(Pairs, gradients of the sum of their losses (zi, zt, t, b)) over the devices of the mesh that
  is set; gradients are 0 unless wanted."""
  devices = batch_rows(jax.sharding.get_abstract_mesh())
  real = jnp.ones(len(zi), jnp.float32) if real is None else real.astype(jnp.float32)
  run = lambda images, texts, scale: _local(images, texts, scale, devices=devices,
                                            differentiate=differentiate)
  if devices > 1:
    rows, whole = PartitionSpec(BATCH_AXES), PartitionSpec()
    # check_vma=False: the loops' carries begin as constants, the same on all devices.
    run = jax.shard_map(run, in_specs=(rows, rows, whole), out_specs=(rows, rows, rows, whole),
                        check_vma=False)
  with jax.named_scope(SCOPE):
    pairs, of_zi, of_zt, of_scale = run((zi, real), (zt, real), (t, b))
  return pairs, (of_zi, of_zt, *of_scale)


def pairs(zi, zt, t, b, real=None):
  """The Pairs of vectors of length 1, float32 [B, D]; t, b [1].

  real: bool [B], False for padding rows, which count in no sum.
  """
  return _compared(zi, zt, t, b, real)[0]


def value_and_gradients(zi, zt, t, b):
  """((loss [], metrics), gradients of the loss (zi, zt, t, b)) of vectors of length 1 [B, D].

  metrics: the mean logits of "positives" and of "negatives".
  """
  found, gradients = _compared(zi, zt, t, b, differentiate=True)
  batch = len(zi)
  metrics = {"positives": jnp.mean(found.positive),
             "negatives": jnp.sum(found.negative) / max(batch * (batch - 1.), 1.)}
  return (jnp.mean(found.loss), metrics), jax.tree.map(lambda x: x / batch, gradients)


@jax.custom_vjp
def loss(zi, zt, t, b):
  """(loss, metrics) as value_and_gradients(); the loss can be differentiated."""
  return value_and_gradients(zi, zt, t, b)[0]


loss.defvjp(value_and_gradients,
            lambda gradients, g: jax.tree.map(lambda x: g[0] * x, gradients))
