"""Frames of video files."""

from __future__ import annotations

import os
import pickle
import re
import struct
import subprocess
import sys
from itertools import accumulate, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from facepipe.errors import ImageError
from facepipe.media.video import iter_frames
from facepipe.records import Status

FRAMES = 40
LIMIT = 1_000_000
CODECS = [("mp4", "mp4v"), ("avi", "MJPG"), ("avi", "XVID"), ("mov", "mp4v"), ("webm", "VP80"), ("mkv", "mp4v")]


@pytest.fixture(scope="module")
def shots(astronaut):
    """A real photograph that moves: FRAMES pictures, (160, 208, 3) uint8 RGB."""
    return [astronaut[i : i + 160, 120 + i : 328 + i] for i in range(FRAMES)]


@pytest.fixture(scope="module")
def film(shots, tmp_path_factory):
    """(container, codec) -> a file of the shots."""
    made = {}

    def make(container, codec):
        if (container, codec) not in made:
            path = str(tmp_path_factory.mktemp("film") / f"{codec}.{container}")
            writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*codec), 25, (208, 160))
            if not writer.isOpened():
                pytest.skip(f"this OpenCV writes no {codec} in {container}")
            for shot in shots:
                writer.write(np.ascontiguousarray(shot[..., ::-1]))
            writer.release()
            made[container, codec] = path
        return made[container, codec]

    return make


def difference(image, expected):
    assert (image.dtype, image.shape) == (np.uint8, expected.shape)
    return float(np.abs(image.astype(int) - expected).mean())


@pytest.mark.parametrize(("container", "codec"), CODECS)
def test_every_frame(film, shots, container, codec):
    """Each container gives every frame, in order and in RGB."""
    found = list(iter_frames(film(container, codec), 1, LIMIT))
    assert [index for index, _ in found] == list(range(FRAMES))
    assert max(difference(image, shot) for (_, image), shot in zip(found, shots, strict=True)) < 12


@pytest.mark.parametrize("every", [2, 7, 100])
def test_every_nth_frame(film, shots, every):
    """`--every` leaves frames out and keeps the others' numbers."""
    found = list(iter_frames(film("mp4", "mp4v"), every, LIMIT))
    assert [index for index, _ in found] == list(range(0, FRAMES, every))
    assert max(difference(image, shots[index]) for index, image in found) < 12


def rotated(path, angle):
    """The MP4's bytes with the rotation of a telephone held upright, in its track header's matrix."""
    data = bytearray(Path(path).read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = (1 << 16).to_bytes(4, "big")
    minus = (-1 << 16).to_bytes(4, "big", signed=True)
    none, unit = bytes(4), (1 << 30).to_bytes(4, "big")
    matrix = {
        0: [one, none, none, none, one],
        90: [none, one, none, minus, none],
        180: [minus, none, none, none, minus],
        270: [none, minus, none, one, none],
    }
    data[at : at + 36] = b"".join([*matrix[angle], none, none, none, unit])
    return bytes(data)


@pytest.mark.parametrize(("angle", "turns"), [(90, -1), (180, 2), (270, 1)])
def test_rotation(film, shots, tmp_path, angle, turns):
    """A film's rotation is undone."""
    path = tmp_path / "film.mp4"
    path.write_bytes(rotated(film("mp4", "mp4v"), angle))
    _, image = next(iter_frames(str(path), 1, LIMIT))
    assert difference(image, np.rot90(shots[0], turns)) < 12


@pytest.mark.parametrize(
    "name", ["new\nline.mp4", "caf\udce9.mp4", "100%d.mp4", "中文 'x'.mp4", "http:.mp4", "no extension"]
)
def test_odd_names(film, tmp_path, name):
    """A film opens under any name."""
    path = os.path.join(tmp_path, name)
    with open(film("mp4", "mp4v"), "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    assert len(list(iter_frames(path, 1, LIMIT))) == FRAMES


def read(path, limit=LIMIT):
    """How many frames came, and the error that ended it."""
    count = 0
    try:
        for _ in iter_frames(str(path), 1, limit):
            count += 1
    except ImageError as error:
        return count, error
    return count, None


@pytest.mark.parametrize(("container", "codec"), [("avi", "MJPG"), ("avi", "XVID"), ("webm", "VP80"), ("mkv", "mp4v")])
def test_a_film_that_breaks_off(film, tmp_path, container, codec):
    """A film cut in the middle gives the frames before, then says that it breaks off."""
    path = tmp_path / f"half.{container}"
    whole = Path(film(container, codec)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    count, error = read(path)
    assert 5 < count < FRAMES
    assert error is None or error.status == Status.DECODE_ERROR
    if container == "avi":
        assert f"breaks off after {count} frames" in error.message


def test_a_film_that_breaks_off_says_at_which_frame(film, tmp_path):
    """The first frame that is missing, in the film's own numbers, also where only some of its frames were asked for."""
    path = tmp_path / "half.avi"
    whole = Path(film("avi", "MJPG")).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    there, _ = read(path)
    assert there % 7 != 1  # else the frame after the last one that is given would be the same
    with pytest.raises(ImageError, match=f"breaks off after {there} frames, .* of 1.6 seconds") as caught:
        list(iter_frames(str(path), 7, LIMIT))
    assert caught.value.frame_index == pickle.loads(pickle.dumps(caught.value)).frame_index == there


def frames_of(path):
    """Where each frame lies in an AVI or MP4 file of ours: start and end."""
    data = Path(path).read_bytes()
    if path.endswith(".avi"):
        starts = [match.end() + 4 for match in re.finditer(b"00dc", data[: data.index(b"idx1")])][-FRAMES:]
        return [(at, at + int.from_bytes(data[at - 4 : at], "little")) for at in starts]
    at = data.index(b"stsz") + 16
    sizes = [int.from_bytes(data[i : i + 4]) for i in range(at, at + 4 * FRAMES, 4)]
    return list(pairwise(accumulate(sizes, initial=data.index(b"mdat") + 4)))


@pytest.mark.parametrize(("container", "codec"), [("avi", "MJPG"), ("mp4", "mp4v")])
def test_a_damaged_frame_costs_itself(film, shots, tmp_path, container, codec):
    """What follows frames that can't be decoded is kept, and the end says how many are missing."""
    path = film(container, codec)
    data = bytearray(Path(path).read_bytes())
    for start, end in frames_of(path)[12:14]:
        data[start:end] = bytes(end - start)
    (tmp_path / "damaged").write_bytes(data)
    images = []
    with pytest.raises(ImageError, match="damaged: 2 of its frames") as caught:
        for _, image in iter_frames(str(tmp_path / "damaged"), 1, LIMIT):
            images.append(image)
    assert len(images) == caught.value.frame_index == FRAMES - 2
    assert difference(images[-1], shots[-1]) < 12


def trimmed(path, share):
    """The MP4's bytes with an edit list that shows the last part of it alone, as telephones trim films."""
    data = bytearray(Path(path).read_bytes())
    movie, edits = data.index(b"mvhd") + 20, data.index(b"elst") + 12
    length, rate = (int.from_bytes(data[at : at + 4]) for at in (movie, movie - 4))
    at = data.index(b"mdhd") + 16
    media_rate = int.from_bytes(data[at : at + 4])
    shown = round(length * share)
    data[movie : movie + 4] = data[edits : edits + 4] = shown.to_bytes(4)
    data[edits + 4 : edits + 8] = round((length - shown) / rate * media_rate).to_bytes(4)
    return bytes(data)


def test_a_trimmed_film_is_whole(film, shots, tmp_path):
    """What was trimmed away is still counted in the file's header: that is not a film that breaks off."""
    path = tmp_path / "trimmed.mp4"
    path.write_bytes(trimmed(film("mp4", "mp4v"), 0.5))
    found = list(iter_frames(str(path), 1, LIMIT))
    assert [index for index, _ in found] == list(range(FRAMES // 2))
    assert difference(found[0][1], shots[FRAMES // 2]) < 12


def test_a_trimmed_film_that_breaks_off(film, tmp_path):
    """Of a trimmed film, too, a missing end is noticed."""
    path, whole = tmp_path / "trimmed.mp4", film("mp4", "mp4v")
    data = bytearray(trimmed(whole, 0.9))
    for start, end in frames_of(whole)[20:]:
        data[start:end] = bytes(end - start)
    path.write_bytes(data)
    count, error = read(path)
    assert count == 16
    assert "breaks off after 16" in error.message


def chunk(name, *parts):
    """A piece of an AVI file."""
    content = b"".join(parts)
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def jpeg(picture):
    return cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]))[1].tobytes()


def avi(frames, packets):
    """An AVI of 208 x 160 px of JPEGs, with so many packets of sound after each but the last."""
    video = struct.pack("<4s4s10I8x", b"vids", b"MJPG", 0, 0, 0, 1, 1, 0, len(frames), 0, 0, 0)
    sound = struct.pack("<4s4s10I8x", b"auds", bytes(4), 0, 0, 0, 1, 8000, 0, packets, 0, 0, 1)
    streams = (
        chunk(
            b"LIST",
            b"strl",
            chunk(b"strh", video),
            chunk(b"strf", struct.pack("<IiiHH4s20x", 40, 208, 160, 1, 24, b"MJPG")),
        ),
        chunk(
            b"LIST", b"strl", chunk(b"strh", sound), chunk(b"strf", struct.pack("<HHIIHHH", 1, 1, 8000, 8000, 1, 8, 0))
        ),
    )
    header = struct.pack("<10I16x", 10**6, 0, 0, 0x10, len(frames), 0, 2, 0, 208, 160)
    frames = [chunk(b"00dc", frame) for frame in frames]
    between = chunk(b"01wb", b"\x80\x80") * packets
    movie = chunk(b"LIST", b"movi", between.join(frames))
    return chunk(b"RIFF", b"AVI ", chunk(b"LIST", b"hdrl", chunk(b"avih", header), *streams), movie)


def test_a_picture_that_stands_still_while_sound_goes_on(shots, tmp_path):
    """A slideshow's next picture is found, however much sound lies before it."""
    path = tmp_path / "slides.avi"
    path.write_bytes(avi([jpeg(shot) for shot in shots[:3]], 5000))
    found = [image for _, image in iter_frames(str(path), 1, LIMIT)]
    assert len(found) == 3
    assert difference(found[-1], shots[2]) < 12


@pytest.fixture(scope="module")
def camcorder(astronaut, tmp_path_factory):
    """Container -> a DV film in it, which is interlaced, its pixels 16:15."""

    def make(container):
        path = tmp_path_factory.mktemp("camcorder") / f"dv.{container}"
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"dvsd"), 25, (720, 576))
        if not writer.isOpened():
            pytest.skip("this OpenCV writes no DV")
        for brightness in (40, 55, 70, 85, 100):
            writer.write(cv2.resize(astronaut[..., ::-1], (720, 576)) // 100 * brightness)
        writer.release()
        return path

    return make


@pytest.mark.parametrize("every", [1, 2])
def test_an_interlaced_film(camcorder, astronaut, every):
    """Each frame is there once, in order, its pixels square."""
    pytest.importorskip("av")
    found = list(iter_frames(str(camcorder("avi")), every, LIMIT))
    assert [index for index, _ in found] == list(range(0, 5, every))
    for index, image in found:
        shown = cv2.resize(cv2.resize(astronaut, (720, 576)) // 100 * (40 + 15 * index), (768, 576))
        assert difference(image, shown) < 6


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_an_interlaced_film_that_was_turned(camcorder, tmp_path, angle):
    """The rotation that the file states is applied, as OpenCV does it for other films."""
    pytest.importorskip("av")
    path = tmp_path / "turned.mov"
    film = camcorder("mov")
    path.write_bytes(rotated(str(film), angle))
    (_, upright), (_, turned) = (next(iter_frames(str(name), 1, LIMIT)) for name in (film, path))
    assert difference(turned, np.rot90(upright, -angle // 90)) < 3


def test_an_interlaced_film_that_breaks_off(camcorder):
    """The frames before are kept, and the row says how many there should be."""
    pytest.importorskip("av")
    path = camcorder("avi")
    os.truncate(path, path.stat().st_size // 3)
    count, error = read(str(path))
    assert (count, error.status, error.frame_index) == (1, Status.DECODE_ERROR, 1)
    assert error.message == "the video breaks off after 1 frames, 0.0 of 0.2 seconds"


def test_what_ffmpeg_says_stays_off_the_terminal(film, tmp_path):
    """Neither damaged nor interlaced films, nor FFmpeg's own settings in the environment, write anything there."""
    data = bytearray(Path(film("mp4", "mp4v")).read_bytes())
    for start, end in frames_of(film("mp4", "mp4v"))[12:14]:
        data[start:end] = bytes(end - start)
    (tmp_path / "damaged.mp4").write_bytes(data)
    writer = cv2.VideoWriter(str(tmp_path / "dv.avi"), cv2.VideoWriter_fourcc(*"dvsd"), 25, (720, 576))
    writer.write(np.zeros((576, 720, 3), np.uint8))
    writer.release()
    code = """
import sys
from facepipe.errors import ImageError; from facepipe.media.video import iter_frames
for path in sys.argv[1:]:
    try:
        for _ in iter_frames(path, 1, 10**6): pass
    except ImageError:
        pass
"""
    command = [sys.executable, "-c", code, tmp_path / "damaged.mp4", tmp_path / "dv.avi"]
    environment = os.environ | {"OPENCV_FFMPEG_LOGLEVEL": "32"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("angle", [0, 90])
@pytest.mark.parametrize(("wide", "high"), [(3, 2), (3, 4)])
def test_pixels_that_are_not_square(film, shots, tmp_path, wide, high, angle):
    """A film whose pixels are wide or tall, as DV's and DVDs', is stretched to what a player shows."""
    data = bytearray(rotated(film("mp4", "mp4v"), angle))
    at = data.index(b"tkhd") + 4 + 76
    data[at : at + 4] = (208 * wide // high << 16).to_bytes(4)
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    _, image = next(iter_frames(str(path), 1, LIMIT))
    size = (round(208 * max(wide / high, 1)), round(160 * max(high / wide, 1)))
    assert difference(image, np.rot90(cv2.resize(shots[0], size), -angle // 90)) < 12


BROKEN = {
    "empty.mp4": (b"", Status.DECODE_ERROR, "empty"),
    "text.mp4": (b"hello" * 100, Status.DECODE_ERROR, "not a video"),
    "playlist.mp4": (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n", Status.DECODE_ERROR, "not a video"),
    "concat.avi": (b"ffconcat version 1.0\nfile /etc/passwd\n", Status.DECODE_ERROR, "not a video"),
    "head.mp4": (b"\0\0\0\x18ftypmp42" + bytes(5000), Status.DECODE_ERROR, "can't be opened"),
    "head.avi": (b"RIFF\0\0\0\0AVI LIST" + bytes(5000), Status.DECODE_ERROR, "can't be opened"),
    "head.webm": (b"\x1a\x45\xdf\xa3" + bytes(5000), Status.DECODE_ERROR, "can't be opened"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_film(tmp_path, name):
    """What is no film, or only the start of one, is an error in a sentence."""
    data, status, said = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    count, error = read(tmp_path / name)
    assert (count, error.status) == (0, status)
    assert said in error.message


def test_an_mp4_without_its_end(film, tmp_path):
    """An MP4 whose index was cut off can't be opened, and says so."""
    whole = Path(film("mp4", "mp4v")).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    count, error = read(tmp_path / "cut.mp4")
    assert (count, error.status) == (0, Status.DECODE_ERROR)


def test_what_is_no_file(tmp_path):
    """A folder, a FIFO, a broken link and a missing file are read errors, at once."""
    os.mkdir(tmp_path / "folder.mp4")
    os.mkfifo(tmp_path / "fifo.mp4")
    os.symlink("nowhere", tmp_path / "link.mp4")
    for name in ("folder.mp4", "fifo.mp4", "link.mp4", "missing.mp4"):
        count, error = read(tmp_path / name)
        assert (count, error.status) == (0, Status.READ_ERROR), name


def test_too_large(film):
    """Frames above `--max-pixels` are refused before one is decoded."""
    count, error = read(film("mp4", "mp4v"), limit=208 * 160 - 1)
    assert (count, error.status) == (0, Status.TOO_LARGE)


def test_nothing_on_the_terminal(film, tmp_path):
    """FFmpeg says nothing of broken films, and no descriptor stays open."""
    whole = Path(film("avi", "MJPG")).read_bytes()
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
    names = [tmp_path / "half.avi", tmp_path / "head.mp4", film("mp4", "mp4v")]
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("name", "frames", "shape"), [("one_face.mp4", 275, (360, 640, 3)), ("one_face_320x240.avi", 1066, (240, 320, 3))]
)
def test_real_films(shared_data, name, frames, shape):
    """The real films give all their frames."""
    found = [image.shape for _, image in iter_frames(str(shared_data / "video" / name), 1, LIMIT)]
    assert (len(found), set(found)) == (frames, {shape})
