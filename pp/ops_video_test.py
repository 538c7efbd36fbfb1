import io

import av
import numpy as np
import pytest
from PIL import Image

from pp.builder import get_preprocess_fn
from pp.video import frame_indices

FORMATS = [("mp4", "libx264", "yuv420p"), ("mp4", "mpeg4", "yuv420p"),
           ("webm", "libvpx-vp9", "yuv420p"), ("avi", "mjpeg", "yuvj420p"), ("gif", "gif", "rgb8"),
           ("matroska", "ffv1", "yuv420p")]
STEP = 8  # levels from frame to frame


def video(format="mp4", codec="libx264", pixels="yuv420p", frames=30, rate=10, size=(64, 48),
          times=None):
  """The bytes of a video whose frame n is a flat gray of level STEP n."""
  data = io.BytesIO()
  with av.open(data, "w", format=format) as container:
    stream = container.add_stream(codec, rate=rate)
    stream.width, stream.height, stream.pix_fmt = *size, pixels
    for n in range(frames):
      frame = av.VideoFrame.from_ndarray(
          np.full((size[1], size[0], 3), STEP * n, np.uint8), format="rgb24")
      frame.pts = n if times is None else times[n]
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return data.getvalue()


MP4 = video()


def run(pp, value, **more):
  return get_preprocess_fn(pp)({"video": value, **more})["image"]


def numbers(frames):
  """Which frames these are, by their level."""
  return np.round(np.asarray(frames).mean((1, 2, 3)) / STEP).astype(int).tolist()


@pytest.mark.parametrize("format, codec, pixels", FORMATS)
def test_every_format(format, codec, pixels):
  data = video(format, codec, pixels)
  frames = run("decode_video(5)", data)
  assert frames.dtype == np.uint8 and frames.shape == (5, 48, 64, 3)
  assert numbers(frames) == [3, 9, 15, 21, 27]
  assert numbers(run("decode_video(5, stride=6)", data)) == [0, 6, 12, 18, 24]
  assert numbers(run("decode_video(5, fps=2)", data)) == [0, 5, 10, 15, 20]


def test_a_portrait_of_a_phone_is_upright():
  identity = np.array([1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30], ">i4").tobytes()
  data = np.full((48, 64, 3), 40, np.uint8)
  data[:24] = 200  # the upper half as it is stored
  still = io.BytesIO()
  with av.open(still, "w", format="mp4") as container:
    stream = container.add_stream("libx264", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for packet in (*stream.encode(av.VideoFrame.from_ndarray(data)), *stream.encode()):
      container.mux(packet)
  whole = still.getvalue()
  at = whole.index(identity, whole.index(b"tkhd"))
  for matrix, half in [((0, 1, -1, 0), np.s_[:, 24:]), ((0, -1, 1, 0), np.s_[:, :24]),
                       ((-1, 0, 0, -1), np.s_[24:])]:  # turned right, left, upside down
    a, b, c, d = (x * (1 << 16) for x in matrix)
    turn = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    frame, = run("decode_video(1)", whole[:at] + turn + whole[at + 36:])
    assert frame.shape[:2] == ((48, 64) if a else (64, 48)) and frame[half].min() > 150


EVEN = np.arange(30) / 10


@pytest.mark.parametrize("times, rule, want", [
    (EVEN, dict(num_frames=4, stride=7), [0, 7, 14, 21]),
    (EVEN, dict(num_frames=4, stride=14), [0, 14, 28, 0]),  # too short: repeated
    (EVEN, dict(num_frames=5, stride=30), [0, 0, 0, 0, 0]),
    (EVEN, dict(num_frames=3, fps=1), [0, 10, 20]),
    (EVEN, dict(num_frames=4, fps=1), [0, 10, 20, 0]),
    (EVEN, dict(num_frames=4, fps=20), [0, 0, 1, 1]),  # faster than the video
    ([0, .5, 3, 3.1], dict(num_frames=4, fps=1), [0, 1, 1, 2]),  # what is on screen then
    (EVEN, dict(num_frames=3), [5, 15, 25]),
    (EVEN, dict(num_frames=30), list(range(30))),
    (EVEN[:3], dict(num_frames=7), [0, 1, 2, 0, 1, 2, 0]),
    ([0], dict(num_frames=2), [0, 0]),
])
def test_which_frames(times, rule, want):
  assert frame_indices(times, **rule).tolist() == want


def test_random_offsets_keep_the_rule_and_the_length():
  for rule, step in [(dict(num_frames=4, stride=7), 7), (dict(num_frames=3, fps=1), 10),
                     (dict(num_frames=3), 10)]:
    draws = [frame_indices(EVEN, **rule, rng=np.random.default_rng(s)) for s in range(200)]
    assert {tuple(np.diff(d)) for d in draws} == {(step,) * (rule["num_frames"] - 1)}
    last = 29 - step * (rule["num_frames"] - 1)
    assert {int(d[0]) for d in draws} == set(range(last + 1))
  short = frame_indices(EVEN, 4, stride=14, rng=np.random.default_rng(3))
  assert short.tolist() == [0, 14, 28, 0]


def test_random_offset_needs_the_examples_generator():
  pp = "decode_video(4, stride=7, random_offset=True)"
  got = {tuple(numbers(run(pp, MP4, _rng=np.random.default_rng(s)))) for s in range(12)}
  assert len(got) > 4 and all(np.diff(g).tolist() == [7, 7, 7] for g in got)
  with pytest.raises(ValueError, match="random op 'decode_video\\(random_offset=True\\)'"):
    run(pp, MP4)


def test_times_are_those_of_the_file():
  slow = [n if n < 5 else 20 * n for n in range(10)]  # in tenths: five frames, then long ones
  data = video("matroska", "ffv1", times=slow, frames=10)
  assert numbers(run("decode_video(4, fps=0.5)", data)) == [0, 4, 4, 4]


@pytest.mark.parametrize("pp, at, want", [
    ("decode_video(3, start='from', end='to')", (1.0, 1.6), [11, 13, 15]),
    ("decode_video(3, stride=2, start='from', end='to')", (1.0, 1.6), [10, 12, 14]),
    ("decode_video(3, fps=5, start='from', end='to')", (1.0, 1.6), [10, 12, 14]),
    ("decode_video(4, stride=2, start='from', end='to')", (1.0, 1.4), [10, 12, 10, 12]),
    ("decode_video(2, start='from')", (2.0, 0), [22, 27]),
    ("decode_video(2, stride=1, end='to')", (0, 0.2), [0, 1]),
    ("decode_video(2, start='from', end='to')", (99.0, 100.0), [29, 29]),  # after its end
    ("decode_video(2, start='from', end='to')", (1.02, 1.03), [10, 10]),  # between two frames
])
def test_a_segment_of_a_video(pp, at, want):
  assert numbers(run(pp, MP4, **{"from": np.float32(at[0]), "to": np.float32(at[1])})) == want


def test_a_list_of_images_is_a_video_too():
  def encoded(level, size):
    data = io.BytesIO()
    Image.new("RGB", size, (level,) * 3).save(data, "PNG")
    return data.getvalue()
  frames = [encoded(STEP * n, (9, 7)) for n in range(10)]
  for value in (frames, np.array(frames, object)):
    assert numbers(run("decode_video(3, stride=4)", value)) == [0, 4, 8]
    assert run("decode_video(12)", value).shape == (12, 7, 9, 3)
  mixed = run("decode_video(2)", [frames[0], encoded(9, (5, 5))])
  assert [f.shape for f in mixed] == [(7, 9, 3), (5, 5, 3)]
  assert run("decode_video(2)|resize(4)", [frames[0], encoded(9, (5, 5))]).shape == (2, 4, 4, 3)


def test_the_ops_of_images_take_frames():
  got = run("decode_video(3)|resize(16, antialias=True)|central_crop(8)|value_range", MP4)
  assert got.shape == (3, 8, 8, 3) and got.dtype == np.float32


CUT = [MP4[:n] for n in (0, 4, 12, 100, len(MP4) // 2, len(MP4) - 300)]


@pytest.mark.parametrize("data, complaint", [
    *((data, "cannot decode video: [0-9]+ bytes") for data in CUT[1:]),
    (CUT[0], "cannot decode video: 0 bytes"),
    (b"#EXTM3U\nfile:///etc/passwd\n", "none of MP4 or QuickTime, WebM"),
    (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "none of MP4"),
    ([], "got list of length 0"),
    ("a.mp4", "got str"),
    ([b"no image"], "cannot decode image: 8 bytes"),
])
def test_what_cannot_be_decoded_gives_one_clear_error(data, complaint):
  with pytest.raises(ValueError, match=complaint):
    run("decode_video(4)", data)


def test_damaged_files_raise_nothing_but_value_error():
  rng = np.random.default_rng(0)
  for format, codec, pixels in FORMATS[:5]:
    clean = video(format, codec, pixels, frames=6)
    for _ in range(15):
      data = bytearray(clean)
      for at in rng.integers(12, len(data), 8):
        data[at] = rng.integers(256)
      try:
        assert run("decode_video(3)", bytes(data)).shape[0] == 3
      except ValueError as e:
        assert "cannot decode video" in str(e)


def test_too_large_frames_are_refused_before_any_is_decoded(monkeypatch):
  monkeypatch.setattr("pp.video.MAX_FRAME_PIXELS", 48 * 64 - 1)
  with pytest.raises(ValueError, match="frames of 64x48 pixels are more than the 3,071 allowed"):
    run("decode_video(1)", MP4)


def test_too_many_large_frames_are_refused(monkeypatch):
  monkeypatch.setattr("pp.video.MAX_PIXELS", 5 * 48 * 64)
  assert run("decode_video(5)", MP4).shape[0] == 5
  with pytest.raises(ValueError, match="6 frames of 64x48 pixels are more than"):
    run("decode_video(6)", MP4)


@pytest.mark.parametrize("pp, complaint", [
    ("decode_video(0)", "is not a positive int"),
    ("decode_video(4, stride=2, fps=1)", "exclude each other"),
    ("decode_video(4, stride=-1)", "must be positive"),
    ("stack_images", "needs inkeys"),
])
def test_errors_when_building(pp, complaint):
  with pytest.raises(ValueError, match=complaint):
    get_preprocess_fn(pp)


def test_a_list_has_no_times():
  with pytest.raises(ValueError, match="use stride= instead of fps="):
    run("decode_video(2, fps=1)", [b"x"])


FRAMES = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)


@pytest.mark.parametrize("args, want", [("7, 7", [0, 1, 2, 0, 1, 2, 0]), ("1, 2", [0, 1])])
def test_video_replicate_img(args, want):
  for frames in (FRAMES, list(FRAMES)):
    got = get_preprocess_fn(f"video_replicate_img({args})")({"image": frames})["image"]
    assert [int(f[0, 0, 0]) for f in got] == want
  with pytest.raises(ValueError, match="3 frames, 2 times, are fewer than 7"):
    get_preprocess_fn("video_replicate_img(2, 7)")({"image": FRAMES})


def test_video_ensure_shape():
  fn = get_preprocess_fn("video_ensure_shape('image', (3, None, 2, 3))")
  assert fn({"image": FRAMES})["image"] is FRAMES
  with pytest.raises(ValueError, match=r"shape \[2, 2, 2, 3\], not \[3, None, 2, 3\]"):
    fn({"image": FRAMES[:2]})


@pytest.mark.parametrize("value, fallback, want", [
    (["a", "b"], None, {"a", "b"}), (np.array([["a"], ["b"]]), None, {"a", "b"}),
    (["a"], "no", {"a"}), ([], None, {""}), ([], "no", {"no"}), (np.zeros(0, np.int32), None, {0}),
    (np.zeros((2, 0), object), "no", {"no"}),
])
def test_video_choice(value, fallback, want):
  fn = get_preprocess_fn(f"video_choice({fallback!r}, key='a')")
  assert {fn({"a": value, "_rng": np.random.default_rng(s)})["a"] for s in range(30)} == want


def test_stack_images_and_convert_to_video():
  image = FRAMES[0]
  got = get_preprocess_fn("stack_images(['a', 'b'])")({"a": image, "b": image + 1})["image"]
  assert got.shape == (2, 2, 2, 3) and got[1].max() == 1
  with pytest.raises(ValueError, match="of one size"):
    get_preprocess_fn("stack_images(['a', 'b'])")({"a": image, "b": image[:1]})
  got = get_preprocess_fn("convert_to_video(3)")({"image": FRAMES[2]})["image"]
  assert got.shape == (3, 2, 2, 3) and got[0].min() == 2 and not got[1:].any()
