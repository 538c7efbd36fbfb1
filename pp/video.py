"""Selects and decodes frames of video files.

  stride    frames 0, stride, 2 stride, ...
  fps       the frames on screen at 0, 1/fps, 2/fps, ... seconds
  neither   the middles of num_frames equally long parts of the video

A random offset moves the start of the first two, as far as the video is long enough, and the place
within the parts of the third. A video that is too short is repeated: a b c a b c a.
"""

import io
import re

import numpy as np

from pp.decode import MAX_PIXELS

FORMATS = {"mov": "MP4 or QuickTime", "matroska": "WebM or Matroska", "avi": "AVI", "gif": "GIF"}
STARTS = {"mov": b"....(ftyp|moov|mdat|wide|free|skip)", "matroska": b"\x1a\x45\xdf\xa3",
          "avi": b"RIFF....AVI ", "gif": b"GIF"}
MAX_FRAME_PIXELS = 8192 * 4320  # 8K video
MAX_FRAMES = 1_000_000  # of a file: nine hours at 30 per second


def frame_indices(times, num_frames, stride=None, fps=None, rng=None):
  """Returns the indices of frames to take, int [num_frames].

  Args:
    times: seconds [N] of the video's frames.
    num_frames: the number of frames to take.
    stride, fps: at most one of them; see the module's docstring.
    rng: np.random.Generator of the offset; None for no offset.
  """
  times = np.asarray(times, np.float64)
  total = len(times)
  if fps:
    end = times[-1] * total / max(total - 1, 1)  # the last frame lasts as long as the others
    spare = end - (num_frames - 1) / fps
    start = rng.uniform(0, spare) if rng is not None and spare > 0 else 0.0
    at = start + np.arange(num_frames) / fps
    at = at[:max(np.searchsorted(at, end - 1e-6), 1)]
    chosen = np.searchsorted(times, at + 1e-6, side="right") - 1  # 1e-6 covers rounded times
  elif stride:
    spare = total - 1 - (num_frames - 1) * stride
    start = int(rng.integers(spare + 1)) if rng is not None and spare > 0 else 0
    chosen = np.arange(start, total, stride)[:num_frames]
  elif total <= num_frames:
    chosen = np.arange(total)
  else:
    place = 0.5 if rng is None else rng.random()
    chosen = ((np.arange(num_frames) + place) * (total / num_frames)).astype(int)
  return np.resize(chosen, num_frames)  # resize repeats


def between(times, start=None, end=None):
  """Returns the indices, int [N], of the frames on screen from `start` to `end` seconds; N >= 1."""
  times = np.asarray(times, np.float64)
  first = 0 if start is None else max(np.searchsorted(times, start + 1e-6, side="right") - 1, 0)
  last = len(times) if end is None else np.searchsorted(times, end - 1e-6)
  return np.arange(first, max(last, first + 1))


def read_video(data, choose):
  """Decodes frames of a video file to uint8 [I,H,W,3], turned upright as players do.

  Args:
    data: bytes of an MP4, WebM, AVI or GIF file.
    choose: function from the times of all frames, seconds [N], to the indices to take, ints [I].

  Raises:
    ValueError: another format, a broken file, or one that is too large.
  """
  import av  # here: only videos need it, and it loads all of FFmpeg
  kind = _format(data)
  try:
    with av.open(io.BytesIO(data), format=kind) as container:
      times = _times(container)
    while True:
      indices = choose(times)
      with av.open(io.BytesIO(data), format=kind) as container:
        frames, count = _decode(container, set(indices.tolist()))
      if max(indices) in frames:
        return np.stack([frames[i] for i in indices.tolist()])
      if not count:
        raise ValueError("it has no frame that can be decoded")
      times = times[:count]  # some packets hold no frame of their own
  except (av.error.FFmpegError, ValueError, IndexError, OSError) as e:
    raise ValueError(f"cannot decode video: {len(data)} bytes of {FORMATS[kind]}, {e}") from e


def _format(data):
  """FFmpeg's name of the format, from the first bytes.

  FFmpeg's own guess could be a playlist, which reads other files.
  """
  for name, begins in STARTS.items():
    if re.match(begins, data, re.DOTALL):
      return name
  raise ValueError(f"cannot decode video: {len(data)} bytes, none of "
                   f"{', '.join(FORMATS.values())}; it starts with {data[:12]!r}.")


def _times(container):
  """Seconds [N] of all frames, counted from the first, from the container's packets alone."""
  stream = _stream(container)
  stamps = []
  for packet in container.demux(stream):
    if packet.size:
      stamps.append(packet.pts)
    if len(stamps) > MAX_FRAMES:
      raise ValueError(f"it has more than the {MAX_FRAMES:,} frames allowed")
  if not stamps:
    raise ValueError("it has no frames")
  if None in stamps:
    return np.arange(len(stamps)) / float(stream.average_rate or 25)
  seconds = np.sort(np.array(stamps, np.float64)) * float(stream.time_base)
  return seconds - seconds[0]


def _decode(container, wanted):
  """({index: uint8 [H,W,3]} of the wanted frames, the number of frames decoded)."""
  frames, count = {}, 0
  for frame in container.decode(_stream(container)):
    _check_size(frame.width, frame.height)
    if len(wanted) * frame.width * frame.height > MAX_PIXELS:
      raise ValueError(f"{len(wanted)} frames of {frame.width}x{frame.height} pixels are more than "
                       f"the {MAX_PIXELS:,} pixels allowed; scale the video down first")
    if count in wanted:
      frames[count] = _upright(frame.to_ndarray(format="rgb24"), frame.rotation)
    count += 1
    if len(frames) == len(wanted):
      break
  return frames, count


def _upright(pixels, rotation):
  """A frame as players show it; phones store portraits on their side. rotation: degrees."""
  return np.rot90(pixels, round(rotation / 90) % 4)


def _stream(container):
  if not container.streams.video:
    raise ValueError("it has no video stream")
  stream = container.streams.video[0]
  if stream.codec_context is None:
    raise ValueError("its codec is unknown")
  _check_size(stream.codec_context.width, stream.codec_context.height)
  return stream


def _check_size(width, height):
  if width * height > MAX_FRAME_PIXELS:
    raise ValueError(f"frames of {width}x{height} pixels are more than the {MAX_FRAME_PIXELS:,} "
                     "allowed; scale the video down first")
