"""Damaged bytes for the fuzz tests of readers."""


def mutated(data, rng, pieces):
  """Bytes with one to three places of up to eight bytes replaced, removed, repeated or cut off.

  pieces: what may be put there, beside random bytes.
  """
  for _ in range(rng.integers(1, 4)):
    at = int(rng.integers(len(data) + 1))
    end = at + int(rng.integers(9))
    piece = [pieces[rng.integers(len(pieces))], rng.bytes(3), data[at:end] * 2][rng.integers(3)]
    data = data[:at] + piece + (data[end:] if rng.integers(20) else b"")
  return data
