"""Ops on videos and on several images: [I,H,W,C], the frames of one example.

The ops of ops_image.py and ops_crop.py take such arrays too. A model reads each frame as a separate
image, so that N frames cost N times the tokens.
"""

import numpy as np

from pp.decode import MAX_PIXELS, decode_image
from pp.ops_general import take
from pp.ops_image import pair
from pp.registry import OPS, rng_of, with_keys
from pp.resampling import resize_image
from pp.video import between, frame_indices, read_video


@OPS.register("decode_video", images=lambda arguments: arguments["num_frames"],
              random=lambda arguments: arguments["random_offset"])
def decode_video(num_frames, stride=None, fps=None, random_offset=False, start=None, end=None,
                 key=None, inkey="video", outkey="image"):
  """Reads frames of a video, uint8 [I,H,W,3]; repeats a video that has too few.

  The video is the bytes of an MP4, WebM, AVI or GIF file, or a list of encoded images. A list of
  images of different sizes gives a list. Without stride and fps, the frames are spread evenly over
  the video.

  Args:
    num_frames: the number of frames, I.
    stride: take every stride-th frame from the start.
    fps: take so many frames per second; a list of images does not have times.
    random_offset: start at a random frame if the video is long enough; shift evenly spread frames.
    start, end: keys of a part of the video, in seconds from the first frame.
  """
  pair(num_frames, "decode_video")
  if (stride and fps) or (stride or 1) < 1 or (fps or 1) <= 0:
    raise ValueError(f"decode_video: stride={stride} and fps={fps} exclude each other, and must "
                     "be positive.")

  def op(example):
    video = example[key or inkey]
    rng = rng_of(example, "decode_video(random_offset=True)") if random_offset else None

    def choose(times):
      inside = between(times, *(float(example[k]) if k else None for k in (start, end)))
      times = times[inside]
      return inside[frame_indices(times - times[0], num_frames, stride, fps, rng)]
    if isinstance(video, np.ndarray) and video.ndim == 0:
      video = video.item()
    if isinstance(video, (bytes, bytearray)):
      return {**example, key or outkey: read_video(bytes(video), choose)}
    if not isinstance(video, (list, tuple, np.ndarray)) or not len(video):
      raise ValueError("decode_video needs the bytes of a video file or a list of encoded images, "
                       f"got {type(video).__name__} of length {np.size(video)}.")
    if fps or start or end:
      raise ValueError("decode_video: a list of images has no times; use stride= instead of fps=, "
                       "and neither start= nor end=.")
    indices = choose(np.arange(len(video))).tolist()
    frames = {i: decode_image(video[i]) for i in set(indices)}
    frames = [frames[i] for i in indices]
    same = len({f.shape for f in frames}) == 1
    return {**example, key or outkey: np.stack(frames) if same else frames}
  return op


@OPS.register("video_decode", takes={"res": "image_size"})
def video_decode(res):
  """Decodes the images at "episodic_images" to float32 [I,res,res,3] in [-1, 1] at "image".

  Resizes bilinearly without antialias and without a cast to uint8. value_range must not follow.
  """
  size = pair(res, "video_decode")

  def op(example):
    frames = [resize_image(decode_image(f).astype(np.float32), size)
              for f in example["episodic_images"]]
    if not frames:
      raise ValueError("'episodic_images' is empty.")
    return {**example, "image": 2 * (np.stack(frames) / np.float32(255)) - 1}
  return op


@OPS.register("video_replicate_img", images=lambda arguments: arguments["num_frames"])
def video_replicate_img(replicas, num_frames):
  """Repeats the frames at "image" `replicas` times and takes num_frames: a b c -> a b c a b.

  Raises ValueError if that gives fewer frames; replicas = num_frames always suffices.
  """
  def op(example):
    frames = example["image"]
    if len(frames) * replicas < num_frames:
      raise ValueError(f"{len(frames)} frames, {replicas} times, are fewer than {num_frames}.")
    indices = np.resize(np.arange(len(frames)), num_frames)
    return {**example, "image": take(frames, indices)}
  return op


@OPS.register("video_ensure_shape")
def video_ensure_shape(key, shape):
  """Raises ValueError unless the array at `key` has this shape; None fits any size."""
  def op(example):
    have = np.shape(example[key])
    if len(have) != len(shape) or any(s not in (None, h) for s, h in zip(shape, have)):
      raise ValueError(f"{key!r} has the shape {list(have)}, not {list(shape)}.")
    return example
  return op


@OPS.register("video_choice", random=True)
def video_choice(empty_fallback=None, key=None, inkey="image", outkey="image"):
  """Picks a random entry of a flattened list or array; of an empty one empty_fallback, "" or 0."""
  def op(example):
    value = example[key or inkey]
    flat = np.ravel(np.array(value, object) if isinstance(value, (list, tuple)) else value)
    if flat.size > 1:
      picked = flat[int(rng_of(example, "video_choice").integers(flat.size))]
    elif flat.size:
      picked = flat[0]
    else:
      text = flat.dtype.kind in "OSU"
      picked = ("" if text else flat.dtype.type(0)) if empty_fallback is None else empty_fallback
    return {**example, key or outkey: picked}
  return op


@OPS.register("stack_images", images=lambda arguments: len(arguments["inkeys"]))
def stack_images(inkeys=(), outkey="image"):
  """Stacks images [H,W,C] of one size at several keys to [I,H,W,C]."""
  if not inkeys:
    raise ValueError("stack_images needs inkeys=['a', 'b'].")

  def op(example):
    shapes = {k: np.shape(example[k]) for k in inkeys}
    if len(set(shapes.values())) > 1:
      raise ValueError(f"the images must be of one size, got {shapes}; put `resize` before it.")
    return {**example, outkey: np.stack([example[k] for k in inkeys])}
  return op


@OPS.register("convert_to_video", images=lambda arguments: arguments["num_frames"])
@with_keys("image")
def convert_to_video(num_frames):
  """Turns an image [H,W,C] into [num_frames,H,W,C]; the frames after the first are zeros."""
  pair(num_frames, "convert_to_video")

  def fn(image):
    if num_frames * np.size(image) > 4 * MAX_PIXELS:
      raise ValueError(f"{num_frames} frames of {np.shape(image)} are too many.")
    return np.pad(image[None], [(0, num_frames - 1), (0, 0), (0, 0), (0, 0)])
  return fn
