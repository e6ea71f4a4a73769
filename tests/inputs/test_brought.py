"""Folders as people bring them: subsets and wrappers above the people, and files whose names say little."""

from __future__ import annotations

import io
import os
import unicodedata

import av
import numpy as np
import pytest
from PIL import Image
from skimage import data

from facepipe.config import ExtractConfig
from facepipe.errors import InputError
from facepipe.inputs import describe, list_sources
from facepipe.storage import place

KEEP = "; `facepipe split --keep-subsets` keeps these subsets"


def write(folder, names, content=b"picture"):
    for name in names:
        path = os.path.join(os.fspath(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def listed(folder, **options):
    config = ExtractConfig(input=str(folder), **options)
    listing = list_sources(place(str(folder)), config)
    return {source.path: source.identity for source in listing.sources()}, describe(listing, config)


def people(*folders):
    """Two pictures in each folder, and the person by the last one's name."""
    return {f"{folder}/{i}.jpg": folder.rpartition("/")[2] for folder in folders for i in (0, 1)}


ABOVE = {
    "train, val, test": (people("train/p0", "train/p1", "val/p2", "test/p3"), f"test, train and val{KEEP}"),
    "train alone": (people("train/p0", "train/p1"), f"train{KEEP}"),
    "words and case": (people("Training Set/a", "VALIDATION/b", "test_images/c"), f"VALIDATION, test_images and Training Set{KEEP}"),
    "years": (people("train2017/a", "val2017/b"), f"train2017 and val2017{KEEP}"),
    "dev and eval": (people("dev/a", "eval/b", "train/c"), f"dev, eval and train{KEEP}"),
    "a wrapper": (people("images/a", "images/b"), "images"),
    "a wrapper above": (people("data/train/a", "data/valid/b"), f"data/train and data/valid{KEEP}"),
    "a wrapper below": (people("train/images/a", "test/images/b"), f"test/images and train/images{KEEP}"),
    "wrappers in a row": (people("dataset/raw/a", "dataset/raw/b"), "dataset/raw"),
    "a set of another name": (people("train/a", "val/b", "distractors/c"), f"train, val and distractors{KEEP}"),
    "notes beside": ({**people("train/a", "val/b")}, f"train and val{KEEP}"),
    "written together": (people("TrainImages/a", "TestSet/b"), f"TrainImages and TestSet{KEEP}"),
    "counted": (people("01_train/a", "02_val (20%)/b", "test_v2/c"), f"01_train, 02_val (20%) and test_v2{KEEP}"),
    "frames": (people("raw_frames/a", "raw_frames/b"), "raw_frames"),
    "as they came, and cut": (people("original/a", "JPEGImages/b"), "original and JPEGImages"),
    "data sets with subsets": (people("celebs/train/a", "celebs/test/b", "more/trn/c", "more/tst/d"), f"celebs/train, celebs/test, more/trn and more/tst{KEEP}"),
    "gallery and probe": (people("gallery/a", "probe/b"), "gallery and probe"),
}  # fmt: skip


@pytest.mark.parametrize("layout", ["auto", "identity"])
@pytest.mark.parametrize("case", ABOVE)
def test_people_are_found_below_subsets_and_wrappers(tmp_path, case, layout):
    """Folders called train, val, images and the like are nobody: people are those below, and a line says so."""
    expected, tops = ABOVE[case]
    write(tmp_path, expected)
    if case == "notes beside":
        write(tmp_path, ["annotations/a.xml", "readme.txt"])
    found, notes = listed(tmp_path, layout=layout)
    assert found == expected
    told = notes[1].removesuffix(KEEP).removeprefix("people are taken from ")
    assert sorted(told.replace(" and ", ", ").split(", ")) == sorted(
        tops.removesuffix(KEEP).replace(" and ", ", ").split(", ")
    )
    assert notes[1].endswith(KEEP) == tops.endswith(KEEP)


ALIKE = {
    "people called so": people("test1", "test2", "Person"),
    "a person beside": people("Ann", "raw"),
    "numbered": people("1test", "test 1", "v1", "Val Kilmer"),
    "albums": {**people("Ann/paris", "Ann/rome"), **people("Bob")},
    "one subset beside a person's albums": {**people("train/x"), **people("Ann")},
}


@pytest.mark.parametrize("case", ALIKE)
def test_what_is_no_subset_stays_a_person(tmp_path, case):
    """A folder that only could be a subset's is a person like those beside it."""
    write(tmp_path, ALIKE[case])
    found, notes = listed(tmp_path)
    assert found == {path: path.partition("/")[0] for path in ALIKE[case]}
    assert not any("taken from" in note for note in notes)
    advised = f"train is read as one person, like Ann beside it; if it holds people, give --input {tmp_path}/train"
    assert (advised in notes) == ("train/x/0.jpg" in found)


def test_pictures_in_no_person_s_folder_are_told(tmp_path):
    """train/*.jpg is no person called train: each picture is somebody, told apart from the one of that name in val.

    A loose picture beside the folders is a person of its own, and not in silence.
    """
    write(tmp_path / "sets", ["train/1.jpg", "train/2.jpg", "val/1.jpg"])
    found, notes = listed(tmp_path / "sets")
    assert found == {"train/1.jpg": "train/1", "train/2.jpg": "train/2", "val/1.jpg": "val/1"}
    assert any(note.startswith("3 files lie in no person's folder (train/1.jpg): taken as a person") for note in notes)
    write(tmp_path / "loose", ["Ann/1.jpg", "group.jpg"])
    found, notes = listed(tmp_path / "loose")
    assert found == {"Ann/1.jpg": "Ann", "group.jpg": "group"}
    assert notes[1].startswith("1 file lies in no person's folder (group.jpg): taken as a person of its own")


def test_one_person_in_two_subsets(tmp_path):
    """The same name in train and val is one person, whose videos stay apart, and a line says so."""
    write(tmp_path, ["train/Ann/1.jpg", "train/Ann/v/1.jpg", "val/Ann/v/1.jpg", "val/Bob/1.jpg"])
    config = ExtractConfig(input=str(tmp_path))
    listing = list_sources(place(str(tmp_path)), config)
    assert [(s.identity, s.video) for s in listing.sources()] == [
        ("Ann", ""), ("Ann", "train/v"), ("Ann", "val/v"), ("Bob", ""),
    ]  # fmt: skip
    assert "1 person is in more than one of these folders; taken as the same" in listing.notes


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({"a": 30, "b": 7, "c": 5}, "3 of 3 people have many subfolders (a 30, b 7, c 5): if those are the people, give --input {}/a"),
        ({"a": 6, "b": 9, "c": 0}, "2 of 3 people have many subfolders (a 6, b 9): if those are the people, give --input {}/b"),
        ({"a": 2}, "one person, a, in 2 subfolders: if these are people, give --input {}/a"),
        ({"a": 2, "b": 3}, ""), ({"a": 9, "b": 0, "c": 0}, ""), (dict.fromkeys(map(str, range(30)), 6), ""),
    ],
)  # fmt: skip
def test_an_input_one_folder_too_high(tmp_path, sets, said):
    """Few folders with many folders each are told apart from people with some videos, with what to give instead."""
    for name, count in sets.items():
        write(tmp_path, [f"{name}/{i}/1.jpg" for i in range(count)] or [f"{name}/1.jpg"])
    notes = listed(tmp_path)[1]
    assert notes[1:] == ([said.format(tmp_path)] if said else [])


@pytest.mark.parametrize(
    ("layout", "files", "said"),
    [
        ("youtube-faces", people("Ann", "Bob"), "expected frame_images_DB, or <Name>/<video>/<video>.<frame>.jpg. It looks like identity"),
        ("youtube-faces", ["Ann_B/Ann_B_0001.jpg"], "It looks like lfw: give `facepipe extract --layout lfw`"),
        ("lfw", people("Ann/v", "Bob/v"), "expected <Name>/<Name>_0001.jpg. It looks like identity"),
        ("vggface2", ["1.jpg"], "expected <subset>/n000001/*.jpg. It looks like flat: give `facepipe extract --layout flat`"),
        ("celeba", people("Ann"), "identity_CelebA.txt"),
        ("lfw", ["sets/lfw/Ann_B/Ann_B_0001.jpg", "x/1.jpg"], "give --input {}/sets"),
    ],
)  # fmt: skip
def test_a_layout_that_does_not_fit_is_refused(tmp_path, layout, files, said):
    """Who names a layout that the input hasn't is told what is missing and what to give."""
    write(tmp_path, files)
    with pytest.raises(InputError) as caught:
        listed(tmp_path, layout=layout)
    assert f"{tmp_path} is not laid out as {layout}" in str(caught.value)
    assert said.format(tmp_path) in str(caught.value)


def test_names_equal_after_normalisation_are_one_person(tmp_path):
    """A person whose folders came from two file systems, one of which decomposes letters, is one, and a line says so."""
    forms = [unicodedata.normalize(form, "Émile") for form in ("NFC", "NFD")]
    write(tmp_path, [f"{name}/{i}.jpg" for i, name in enumerate(forms)])
    if len(os.listdir(tmp_path)) < 2:
        pytest.skip("this file system normalises names")
    found, notes = listed(tmp_path)
    assert set(found.values()) == {forms[0]}
    assert notes[1:] == ["folders whose names differ only in Unicode form are one person: Émile"]


def encoded(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()[:64, :64]).save(buffer, kind, **options)
    return buffer.getvalue()


def film(kind, codec="mpeg4"):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 64
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


FILES = {
    **dict.fromkeys(
        [
            "photo.jpg_large",
            "photo.jpg?w=640&h=480",
            "photo.jpg.1",
            "photo.jpeg~orig",
            "IMG_20180722_120942",
            "photo.mp4",
        ],
        ("image", lambda: encoded("JPEG")),
    ),
    "0": ("image", lambda: encoded("PNG")),
    "avatar.php": ("image", lambda: encoded("GIF")),
    "pic.webp@2x": ("image", lambda: encoded("WEBP")),
    "scan.image": ("image", lambda: encoded("TIFF")),
    "shot.fpx": ("image", lambda: encoded("BMP")),
    "new.avif-1": ("image", lambda: encoded("AVIF")),
    "clip": ("video", lambda: film("mp4")),
    "clip.mp4?dl=1": ("video", lambda: film("mp4")),
    "clip.qt": ("video", lambda: film("mov")),
    "clip.divx": ("video", lambda: film("avi")),
    "clip.matroska": ("video", lambda: film("matroska")),
    "clip.ts": ("video", lambda: film("mpegts")),
    "clip.vob": ("video", lambda: film("mpeg", "mpeg2video")),
    "notes": ("", lambda: b"words"),
    "list.txt": ("", lambda: encoded("JPEG")),
    "raw.nef": ("", lambda: encoded("TIFF")),
    "empty": ("", lambda: b""),
}


def test_files_are_known_by_their_first_bytes(tmp_path):
    """Scraped, exported and misnamed files are taken for what they hold; what is none is counted by reason."""
    for name, (_, make) in FILES.items():
        write(tmp_path, [f"Ann/{name}"], make())
    config = ExtractConfig(input=str(tmp_path))
    listing = list_sources(place(str(tmp_path)), config)
    found = {s.path.removeprefix("Ann/"): "video" if s.is_video else "image" for s in listing.sources()}
    assert found == {name: kind for name, (kind, _) in FILES.items() if kind}
    assert {s.identity for s in listing.sources()} == {"Ann"}
    assert listing.notes == ["left out: 1 .nef (no reader); 2 without an extension, 1 .txt (neither picture nor video)"]
