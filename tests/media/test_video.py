"""Frames of video files, made by PyAV."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from fractions import Fraction
from itertools import accumulate, pairwise, product
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from facepipe.errors import ImageError
from facepipe.media.video import iter_frames
from facepipe.records import Status

FRAMES = 40
LIMIT = 1_000_000
TICK = Fraction(1, 1000)
CODECS = [
    ("mp4", "libx264"), ("mp4", "libx265"), ("mp4", "mpeg4"), ("mov", "mpeg4"), ("avi", "mjpeg"), ("avi", "mpeg4"), ("webm", "libvpx"),
    ("webm", "libvpx-vp9"), ("matroska", "libx264"), ("flv", "flv"), ("asf", "wmv2"), ("mpegts", "mpeg2video"), ("mpeg", "mpeg1video"),
]  # fmt: skip


@pytest.fixture(scope="module")
def shots(astronaut):
    """A real photograph that moves: FRAMES pictures, (160, 208, 3) uint8 RGB."""
    return [astronaut[i : i + 160, 120 + i : 328 + i] for i in range(FRAMES)]


def write(path, shots, container, codec, times_s=None, *, matrix=None, sound_s=0.0, sar=None, interlaced=False):
    """Writes a video of the shots, which may be of several sizes, shown at these times (default: 25 a second)."""
    times_s = times_s or [i / 25 for i in range(len(shots))]
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        prepare(stream, shots[0], codec, sar, interlaced)
        if matrix:
            a, b, c, d = (number * 65536 for number in matrix)
            stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        if sound_s:
            sound = file.add_stream("mp2", rate=44100)
            silence = av.AudioFrame.from_ndarray(np.zeros((1, int(44100 * sound_s)), np.int16), "s16", "mono")
            silence.rate = 44100
            file.mux(sound.encode(silence))
            file.mux(sound.encode())
        for shot, time_s in zip(shots, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(shot))
            frame.pts, frame.time_base = round(time_s * 1000), TICK
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return str(path)


def prepare(stream, shot, codec, sar=None, interlaced=False):
    context = getattr(stream, "codec_context", stream)
    context.height, context.width = shot.shape[:2]
    context.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24", "dvvideo": "yuv420p"}.get(codec, "yuv420p")
    context.time_base = Fraction(1, 25) if codec in ("mpeg1video", "mpeg2video", "dvvideo", "mpeg4", "flv") else TICK
    context.bit_rate = 4_000_000
    context.options = {"flags": "+ildct+ilme"} if interlaced else {}
    if sar:
        context.sample_aspect_ratio = sar


@pytest.fixture(scope="module")
def video(shots, tmp_path_factory):
    """(container, codec) -> a file of the shots, the same one each time."""
    made = {}

    def make(container, codec):
        if (container, codec) not in made:
            path = tmp_path_factory.mktemp("video") / f"{codec}.{container}"
            made[container, codec] = write(path, shots, container, codec)
        return made[container, codec]

    return make


def difference(image, expected):
    assert (image.dtype, image.shape) == (np.uint8, expected.shape)
    return float(np.abs(image.astype(int) - expected).mean())


def read(path, limit=LIMIT):
    """How many frames came, and the error that ended it."""
    count = 0
    try:
        for _ in iter_frames(str(path), 1, limit):
            count += 1
    except ImageError as error:
        return count, error
    return count, None


@pytest.mark.parametrize(("container", "codec"), CODECS)
def test_every_frame(video, shots, container, codec):
    """Each container gives every frame, in order and in RGB."""
    found = list(iter_frames(video(container, codec), 1, LIMIT))
    assert [index for index, _ in found] == list(range(FRAMES))
    assert max(difference(image, shot) for (_, image), shot in zip(found, shots, strict=True)) < 12


@pytest.mark.parametrize("every", [2, 7, 100])
def test_every_nth_frame(video, shots, every):
    """`--every` leaves frames out and keeps the others' numbers."""
    found = list(iter_frames(video("mp4", "mpeg4"), every, LIMIT))
    assert [index for index, _ in found] == list(range(0, FRAMES, every))
    assert max(difference(image, shots[index]) for index, image in found) < 12


FAST_THEN_SLOW = [*(i / 30 for i in range(30)), *(1 + i / 5 for i in range(10))]
DROPPED = [i / 25 for i in range(FRAMES + 2) if i % 20 != 10]
SLIDES = [0.0, 0.04, *(10.0 * i for i in range(1, FRAMES - 1))]
SLOW_THEN_FAST = [*(i / 5 for i in range(10)), *(2 + i / 50 for i in range(30))]
VARIABLE = [
    ("matroska", "libx264", FAST_THEN_SLOW, 0), ("webm", "libvpx", FAST_THEN_SLOW, 0), ("webm", "libvpx-vp9", DROPPED, 0),
    ("asf", "wmv2", FAST_THEN_SLOW, 0), ("flv", "libx264", FAST_THEN_SLOW, 0), ("mpegts", "libx264", FAST_THEN_SLOW, 0),
    ("matroska", "libx264", DROPPED, 0), ("matroska", "mjpeg", SLIDES, 0), ("matroska", "libx264", FAST_THEN_SLOW, 30.0), ("asf", "wmv2", [5 + i / 25 for i in range(FRAMES)], 45.0),
    ("mp4", "libx264", FAST_THEN_SLOW, 0), ("mov", "libx264", SLIDES, 0), ("matroska", "libx264", SLOW_THEN_FAST, 0),
    ("mp4", "libx264", SLOW_THEN_FAST, 9.0), ("mpegts", "libx264", DROPPED, 0), ("asf", "wmv2", SLIDES, 0),
]  # fmt: skip


@pytest.mark.parametrize(("container", "codec", "times_s", "sound_s"), VARIABLE)
def test_variable_frame_rates(shots, tmp_path, container, codec, times_s, sound_s):
    """A whole video is whole whatever its frames' times, and however much longer its sound lasts."""
    path = write(tmp_path / "video", shots, container, codec, times_s, sound_s=sound_s)
    found = list(iter_frames(path, 1, LIMIT))
    assert [index for index, _ in found] == list(range(FRAMES))
    assert difference(found[-1][1], shots[-1]) < 12


def sized(path, shots, container, codec):
    """Writes one stream whose packets come from an encoder for each size."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=25)
        prepare(stream, shots[0], codec)
        for number, shot in enumerate(shots):
            if number == 0 or shot.shape != shots[number - 1].shape:
                encoder = av.CodecContext.create(codec, "w")
                prepare(encoder, shot, codec)
                encoder.options = {"bf": "0"} if codec == "libx264" else {}
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(shot))
            frame.pts, frame.time_base = number * 40, TICK
            last = number + 1 == len(shots) or shots[number + 1].shape != shot.shape
            for packet in [*encoder.encode(frame), *(encoder.encode() if last else [])]:
                packet.stream = stream
                file.mux(packet)
    return str(path)


WIDE, TALL, NEARLY, SMALL = (160, 208), (208, 160), (160, 176), (80, 104)
SIZED = [
    ("avi", "mjpeg", WIDE, TALL), ("matroska", "mjpeg", WIDE, TALL), ("mov", "mjpeg", TALL, WIDE), ("mov", "png", WIDE, TALL),
    ("mov", "png", NEARLY, WIDE), ("mpegts", "libx264", WIDE, TALL), ("mpegts", "libx265", WIDE, SMALL), ("webm", "libvpx", WIDE, TALL),
    ("matroska", "libvpx-vp9", SMALL, TALL), ("matroska", "libvpx", WIDE, NEARLY), ("mpegts", "libx264", TALL, SMALL),
    ("mpegts", "mpeg2video", WIDE, TALL), ("mpeg", "mpeg1video", TALL, SMALL),
]  # fmt: skip


@pytest.mark.parametrize(("container", "codec", "before", "after"), SIZED)
def test_a_picture_that_changes_size(astronaut, tmp_path, container, codec, before, after):
    """Each frame keeps its own shape, back and forth."""
    sizes = [before] * 5 + [after] * 5 + [before] * 5
    shots = [astronaut[i : i + h, 120 : 120 + w] for i, (h, w) in enumerate(sizes)]
    found = list(iter_frames(sized(tmp_path / "video", shots, container, codec), 1, LIMIT))
    assert [image.shape[:2] for _, image in found] == sizes
    assert max(difference(image, shot) for (_, image), shot in zip(found, shots, strict=True)) < 12


def displayed(image, a, b, c, d):
    """What a display matrix makes of a picture: the pixel at x, y is shown at ax + cy, bx + dy."""
    y, x = np.indices(image.shape[:2])
    across, down = a * x + c * y, b * x + d * y
    across, down = across - across.min(), down - down.min()
    shown = np.zeros((down.max() + 1, across.max() + 1, 3), np.uint8)
    shown[down, across] = image
    return shown


TURNS = [turn for a, d in product((1, -1), repeat=2) for turn in ((a, 0, 0, d), (0, a, d, 0))]


@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize("turn", TURNS)
def test_display_matrices(shots, tmp_path, container, turn):
    """All four rotations, plain and mirrored, come out as a player shows them."""
    path = write(tmp_path / "video", shots[:3], container, "mpeg4", matrix=turn)
    _, image = next(iter_frames(path, 1, LIMIT))
    assert difference(image, displayed(shots[0], *turn)) < 12


@pytest.mark.parametrize(
    ("options", "turn"),
    [("flip=horizontal", (-1, 0, 0, 1)), ("rotate=90", (0, -1, 1, 0)), ("rotate=180", (-1, 0, 0, -1))],
)
def test_orientation_in_the_stream_itself(shots, tmp_path, options, turn):
    """H.264 may tell each frame's orientation where the container has no place for it (90: against the clock)."""
    plain = write(tmp_path / "plain", shots[:3], "mpegts", "libx264")
    with av.open(plain) as source, av.open(str(tmp_path / "turned"), "w", format="mpegts") as file:
        [encoded] = source.streams.video
        stream = file.add_stream_from_template(encoded)
        turner = av.BitStreamFilterContext(f"h264_metadata=display_orientation=insert:{options}", encoded)
        for packet in source.demux():
            for out in turner.filter(packet if packet.size else None):
                out.stream = stream
                file.mux(out)
    _, image = next(iter_frames(str(tmp_path / "turned"), 1, LIMIT))
    assert difference(image, displayed(shots[0], *turn)) < 12


@pytest.mark.parametrize("name", ["new\nline.mp4", "caf\udce9.mp4", "100%d.mp4", "中文 'x'.mp4", "http:.mp4", "none"])
def test_odd_names(video, tmp_path, name):
    """A video opens under any name."""
    path = os.path.join(tmp_path, name)
    with open(video("mp4", "mpeg4"), "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    assert len(list(iter_frames(path, 1, LIMIT))) == FRAMES


CUT = [("avi", "mjpeg"), ("avi", "mpeg4"), ("matroska", "libx264"), ("webm", "libvpx"), ("flv", "flv"), ("asf", "wmv2")]


@pytest.mark.parametrize(("container", "codec"), CUT)
@pytest.mark.parametrize("share", [0.45, 0.7])
def test_a_video_that_breaks_off(video, tmp_path, container, codec, share):
    """A video that is cut gives the frames before, then says at which one it breaks off, of all or of every seventh."""
    whole = Path(video(container, codec)).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: int(len(whole) * share)])
    count, error = read(tmp_path / "cut")
    assert 3 < count < FRAMES
    assert f"breaks off after {count} frames" in error.message
    assert pickle.loads(pickle.dumps(error)).frame_index == count
    with pytest.raises(ImageError) as caught:
        list(iter_frames(str(tmp_path / "cut"), 7, LIMIT))
    assert (caught.value.message, caught.value.frame_index) == (error.message, count)


def frames_of(path):
    """Where each frame lies in an AVI or MP4 file of ours: start and end."""
    data = Path(path).read_bytes()
    if path.endswith(".avi"):
        starts = [match.end() for match in re.finditer(rb"00dc....(?=\xff\xd8)", data, re.DOTALL)]
        return [(at, at + int.from_bytes(data[at - 4 : at], "little")) for at in starts]
    at = data.index(b"stsz") + 16
    sizes = [int.from_bytes(data[i : i + 4]) for i in range(at, at + 4 * FRAMES, 4)]
    return list(pairwise(accumulate(sizes, initial=data.index(b"mdat") + 4)))


@pytest.mark.parametrize(("container", "codec"), [("avi", "mjpeg"), ("mp4", "mpeg4")])
def test_a_damaged_frame_costs_itself(video, shots, tmp_path, container, codec):
    """What follows frames that can't be decoded is kept, and the end says how many are missing."""
    path = video(container, codec)
    data = bytearray(Path(path).read_bytes())
    for start, end in frames_of(path)[12:14]:
        data[start:end] = b"x" * (end - start)
    (tmp_path / "damaged").write_bytes(data)
    images = []
    with pytest.raises(ImageError, match="damaged: 2 of its frames") as caught:
        for _, image in iter_frames(str(tmp_path / "damaged"), 1, LIMIT):
            images.append(image)
    assert len(images) == caught.value.frame_index == FRAMES - 2
    assert difference(images[-1], shots[-1]) < 12


def trimmed(path, share):
    """The MP4's bytes with an edit list that shows the last part of it alone, as telephones trim them."""
    data = bytearray(Path(path).read_bytes())
    movie, edits = data.index(b"mvhd") + 20, data.index(b"elst") + 12
    length, rate = (int.from_bytes(data[at : at + 4]) for at in (movie, movie - 4))
    at = data.index(b"mdhd") + 16
    media_rate = int.from_bytes(data[at : at + 4])
    shown = round(length * share)
    data[movie : movie + 4] = data[edits : edits + 4] = shown.to_bytes(4)
    data[edits + 4 : edits + 8] = round((length - shown) / rate * media_rate).to_bytes(4)
    return bytes(data)


def test_a_trimmed_video_is_whole(video, shots, tmp_path):
    """What was trimmed away is still counted in the file's header: it does not break off, unless its end is missing."""
    path, whole = tmp_path / "trimmed.mp4", video("mp4", "mpeg4")
    path.write_bytes(trimmed(whole, 0.5))
    found = list(iter_frames(str(path), 1, LIMIT))
    assert [index for index, _ in found] == list(range(FRAMES // 2))
    assert difference(found[0][1], shots[FRAMES // 2]) < 12
    data = bytearray(trimmed(whole, 0.9))
    for start, end in frames_of(whole)[20:]:
        data[start:end] = bytes(end - start)
    path.write_bytes(data)
    count, error = read(path)
    assert count == 16
    assert "breaks off after 16" in error.message


def test_a_picture_that_stands_still_while_sound_goes_on(shots, tmp_path):
    """A slideshow's next picture is found, however much sound lies before it."""
    path = write(tmp_path / "slides.avi", shots[:3], "avi", "mjpeg", [0, 40, 80], sound_s=90)
    found = [image for _, image in iter_frames(path, 1, LIMIT)]
    assert difference(found[-1], shots[2]) < 12


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize(("container", "turn"), [("avi", (1, 0, 0, 1)), ("mov", (0, 1, -1, 0)), ("mov", (-1, 0, 0, 1))])
def test_an_interlaced_video(astronaut, tmp_path, container, turn, every):
    """DV: each frame is there once, in order, upright, its pixels (16:15) square."""
    shots = [cv2.resize(astronaut, (720, 576)) // 100 * brightness for brightness in (40, 55, 70, 85, 100)]
    matrix = turn if container == "mov" else None
    path = write(tmp_path / "dv", shots, container, "dvvideo", matrix=matrix, sar=Fraction(16, 15), interlaced=True)
    found = list(iter_frames(path, every, LIMIT))
    assert [index for index, _ in found] == list(range(0, 5, every))
    for index, image in found:
        assert difference(image, displayed(cv2.resize(shots[index], (768, 576)), *turn)) < 6
    os.truncate(path, os.path.getsize(path) // 3)
    count, error = read(path)
    if container == "avi":
        assert (count, error.frame_index) == (1, 1)
        assert error.message == "the video breaks off after 1 frames, 0.0 of 0.2 seconds"


@pytest.mark.parametrize("turn", [(1, 0, 0, 1), (0, 1, -1, 0)])
@pytest.mark.parametrize(("wide", "high"), [(3, 2), (3, 4)])
def test_pixels_that_are_not_square(shots, tmp_path, wide, high, turn):
    """A video whose pixels are wide or tall is stretched to what a player shows."""
    path = write(tmp_path / "video", shots[:3], "mov", "mpeg4", matrix=turn, sar=Fraction(wide, high))
    _, image = next(iter_frames(path, 1, LIMIT))
    size = (round(208 * max(wide / high, 1)), round(160 * max(high / wide, 1)))
    assert difference(image, displayed(cv2.resize(shots[0], size), *turn)) < 12


BROKEN = {
    "empty.mp4": (b"", "empty"),
    "text.mp4": (b"hello" * 100, "not a video"),
    "playlist.mp4": (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n", "not a video"),
    "concat.avi": (b"ffconcat version 1.0\nfile /etc/passwd\n", "not a video"),
    "head.mp4": (b"\0\0\0\x18ftypmp42" + bytes(5000), "can't be opened"),
    "head.avi": (b"RIFF\0\0\0\0AVI LIST" + bytes(5000), "can't be opened"),
    "head.webm": (b"\x1a\x45\xdf\xa3" + bytes(5000), "can't be opened"),
    "cut.mp4": (None, "can't be opened"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_video(video, tmp_path, name):
    """What is no video, only the start of one, or an MP4 without its index, is an error in a sentence."""
    data, said = BROKEN[name]
    if data is None:
        whole = Path(video("mp4", "mpeg4")).read_bytes()
        data = whole[: len(whole) * 2 // 3]
    (tmp_path / name).write_bytes(data)
    count, error = read(tmp_path / name)
    assert (count, error.status) == (0, Status.DECODE_ERROR)
    assert said in error.message


def test_what_can_not_be_read_or_is_too_large(video, shots, tmp_path):
    """A folder, a FIFO, a link or a missing file is a read error, at once; a picture by a video's name one frame."""
    os.mkdir(tmp_path / "folder.mp4")
    os.mkfifo(tmp_path / "fifo.mp4")
    os.symlink("nowhere", tmp_path / "link.mp4")
    for name in ("folder.mp4", "fifo.mp4", "link.mp4", "missing.mp4"):
        count, error = read(tmp_path / name)
        assert (count, error.status) == (0, Status.READ_ERROR), name
    count, error = read(video("mp4", "mpeg4"), limit=208 * 160 - 1)
    assert (count, error.status) == (0, Status.TOO_LARGE)
    (tmp_path / "photograph.mp4").write_bytes(cv2.imencode(".png", shots[0][..., ::-1])[1].tobytes())
    ((index, image),) = iter_frames(str(tmp_path / "photograph.mp4"), 3, LIMIT)
    assert (index, difference(image, shots[0])) == (0, 0)


def test_nothing_on_the_terminal(video, tmp_path):
    """FFmpeg says nothing of broken videos, and no descriptor stays open."""
    whole = Path(video("avi", "mjpeg")).read_bytes()
    (tmp_path / "half.avi").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "head.mp4").write_bytes(BROKEN["head.mp4"][0])
    code = """
import os, sys
from facepipe.media.video import iter_frames
from facepipe.errors import ImageError
counts = []
for name in sys.argv[1:] * 2:
    try:
        list(iter_frames(name, 1, 10**6))
    except ImageError:
        pass
    counts.append(len(os.listdir("/dev/fd")))
assert len(set(counts)) == 1, counts
"""
    names = [tmp_path / "half.avi", tmp_path / "head.mp4", video("mp4", "mpeg4")]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("name", "frames", "shape"),
    [
        ("video/one_face.mp4", 275, (360, 640, 3)),
        ("video/one_face_320x240.avi", 1066, (240, 320, 3)),
        ("cases/vfr_mkv/in/P/vfr.mkv", 90, (384, 320, 3)),
    ],
)
def test_real_videos(shared_data, name, frames, shape):
    """The real videos give all their frames."""
    found = [image.shape for _, image in iter_frames(str(shared_data / name), 1, LIMIT)]
    assert (len(found), set(found)) == (frames, {shape})
