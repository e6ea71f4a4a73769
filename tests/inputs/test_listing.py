"""What is listed, in which order, and how it is cut into parts."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from facepipe.config import ExtractConfig
from facepipe.errors import InputError, UsageError
from facepipe.inputs import list_sources, tree
from facepipe.inputs.disk import LocalTree
from facepipe.inputs.listing import Group, ListingBuilder
from facepipe.inputs.plan import make_plan
from facepipe.inputs.store import StoreTree
from facepipe.storage import place
from facepipe.storage.parquet import PLAN
from facepipe.storage.schemas import UNKNOWN_SIZE

PEOPLE = ["Zoe", "ann", "Ann", "Émile", "9", "10", "J. R. Smith"]


def listed(folder, **options):
    return list_sources(place(str(folder)), ExtractConfig(input=str(folder), **options))


def make(folder, names):
    for name in names:
        path = os.path.join(os.fspath(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(name.encode("utf-8", "surrogateescape"))


def paths(listing):
    return [source.path for source in listing.sources()]


TREE = [f"{person}/{video}/{frame}.jpg" for person in PEOPLE for video in ("2", "10") for frame in (1, 2, 10, 9)]


def test_order_does_not_depend_on_creation(tmp_path):
    """Files made in any order are listed by person, video and frame, numbers by value; `Ann` and `ann` stay apart."""
    names = [*TREE, "Zoe/1.png", "Zoe/clip.mp4", "Ann/b.JPEG"]
    make(tmp_path / "a", names)
    random.Random(1).shuffle(names)
    make(tmp_path / "b", names)
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    found = paths(listed(tmp_path / "a"))
    assert found == paths(listed(tmp_path / "b")) == paths(listed(tmp_path / "c"))
    assert found[:8] == [f"9/{video}/{frame}.jpg" for video in (2, 10) for frame in (1, 2, 9, 10)]
    assert list(dict.fromkeys(path.partition("/")[0] for path in found)) == [
        "9",
        "10",
        "Ann",
        "J. R. Smith",
        "Zoe",
        "ann",
        "Émile",
    ]


def test_what_is_no_picture_is_left_out(tmp_path):
    """Hidden files, thumbnails, texts and other systems' folders are not listed; extensions count in any case."""
    kept = ["a/1.jpg", "a/2.JPG", "a/3.JpEg", "a/4.png", "a/5.WebP", "a/6.tiff", "a/7.bmp", "a/8.gif", "a/9.heic"]
    left = [
        "a/.1.jpg",
        ".hidden/1.jpg",
        "a/Thumbs.db",
        "a/readme.txt",
        "__MACOSX/a/1.jpg",
        "a/@eaDir/1.jpg",
        "a/jpg",
        "a/.DS_Store",
    ]
    make(tmp_path, kept + left)
    assert paths(listed(tmp_path)) == kept


def test_odd_names(tmp_path):
    """Odd names are listed as they are and open under them."""
    names = ["new\nline", "quote'\"", "-rf", "sp ace", "中文", "a" * 251, "%s{0}", "back\\slash", "$(id)"]
    make(tmp_path, [f"person/{name}.jpg" for name in names])
    sources = listed(tmp_path).sources()
    assert sorted(source.path for source in sources) == sorted(f"person/{name}.jpg" for name in names)
    for source in sources:
        assert place(str(tmp_path)).read(source.file) == source.path.encode()


def test_names_that_are_no_unicode(tmp_path):
    """Bytes that are no UTF-8 are shown escaped, differ from names that look so, and open as they are."""
    names = ["p\udce9/caf\udce9.jpg", "p\udce9/caf\\xe9.jpg"]
    try:
        make(tmp_path, names)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    sources = listed(tmp_path).sources()
    assert len({source.path for source in sources}) == 2
    assert {source.identity for source in sources} == {"p\\xe9"}
    for source in sources:
        source.path.encode()
        assert place(str(tmp_path)).read(source.file) == source.file.encode("utf-8", "surrogateescape")


@pytest.fixture
def deep_path(tmp_path):
    """A folder for nesting that Python's own removal, and so pytest's, fails on."""
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path], check=True)


def test_very_long_paths(deep_path):
    """A path of nearly 4,000 bytes opens; one too long for the system is listed at the folder where it ends."""
    folder = "person"
    while len(f"{deep_path}/{folder}") < 3700:
        folder += "/" + "d" * 200
    make(deep_path, [f"{folder}/1.jpg"])
    (source,) = listed(deep_path).sources()
    assert place(str(deep_path)).read(source.file) == f"{folder}/1.jpg".encode()
    descriptor = os.open(deep_path / folder, os.O_RDONLY)
    for _ in range(3):
        os.mkdir("e" * 200, dir_fd=descriptor)
        inner = os.open("e" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(os.open("2.jpg", os.O_CREAT, dir_fd=inner))
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    deep = listed(deep_path).sources()
    assert 2 <= len(deep) <= 4
    with pytest.raises(InputError, match="name too long"):
        place(str(deep_path)).read(deep[-1].file)


def read_errors(folder):
    """What reading each source gives: its bytes, or the error's sentence."""
    found = {}
    for source in listed(folder).sources():
        try:
            found[source.path] = place(str(folder)).read(source.file)
        except InputError as error:
            found[source.path] = str(error)
    return found


def test_what_only_looks_like_a_picture(tmp_path):
    """FIFOs, sockets, devices, broken and circular links and empty folders named like pictures are listed; reading
    them gives a sentence, at once.
    """
    make(tmp_path, ["p/real.jpg"])
    os.mkfifo(tmp_path / "p/fifo.jpg")
    os.symlink("nowhere", tmp_path / "p/broken.jpg")
    os.symlink("circle.jpg", tmp_path / "p/circle.jpg")
    os.symlink("/dev/zero", tmp_path / "p/device.jpg")
    os.mkdir(tmp_path / "p/folder.jpg")
    found = read_errors(tmp_path)
    assert found.pop("p/real.jpg") == b"p/real.jpg"
    assert sorted(found) == ["p/broken.jpg", "p/circle.jpg", "p/device.jpg", "p/fifo.jpg", "p/folder.jpg"]
    assert all(isinstance(said, str) and "\n" not in said for said in found.values())


def test_a_folder_named_like_a_picture_is_walked(tmp_path):
    """A folder called x.jpg with pictures in it is a folder."""
    make(tmp_path, ["x.jpg/1.png", "x.jpg/y.jpg/2.png"])
    assert [(s.path, s.identity, s.video) for s in listed(tmp_path).sources()] == [
        ("x.jpg/1.png", "x.jpg", ""), ("x.jpg/y.jpg/2.png", "x.jpg", "y.jpg"),
    ]  # fmt: skip


def test_links_are_followed_and_circles_noticed(tmp_path):
    """Links to files and folders are followed; one that leads back is noted and not entered."""
    make(tmp_path / "elsewhere", ["1.jpg", "2.jpg"])
    make(tmp_path / "input", ["a/1.jpg"])
    os.symlink(tmp_path / "elsewhere", tmp_path / "input/b")
    os.symlink(tmp_path / "elsewhere/2.jpg", tmp_path / "input/a/2.jpg")
    os.symlink("..", tmp_path / "input/a/up")
    os.symlink(".", tmp_path / "input/a/here")
    listing = listed(tmp_path / "input")
    assert paths(listing) == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]
    assert len(listing.notes) == 2
    assert all("circle" in note for note in listing.notes)


def test_pictures_and_films_that_nothing_reads_are_counted(tmp_path):
    """Cameras' own formats and archives are left out and told, of the whole tree together, on a store as on a disk."""
    kept, others = (
        ["a/1.jpg", "a/2.DNG", "a/3.dng"],
        ["film.ts", "film.vob", "MOV001.MOD", "tape.dv", "takeout.zip", "notes.txt"],
    )
    make(tmp_path, [*kept, "b/c/4.dng", *(f"b/{name}" for name in others), ".hidden/5.dng", "ts"])
    others = "1 .dv, 1 .mod, 1 .ts, 1 .txt, 1 .vob, 1 without an extension"
    told = [f"left out: 3 .dng, 1 .zip (no reader); {others} (neither picture nor video); 1 (hidden)"]
    assert listed(tmp_path).notes == told
    store = StoreTree(place(str(tmp_path)))
    assert [folder.files for folder in store.walk()] == [["1.jpg"]]
    assert store.left_out.tell() == told
    (tmp_path / "a/1.jpg").unlink()
    assert listed(tmp_path).notes == told


def test_links_to_folders_of_links_end(tmp_path):
    """A ladder of links with 2**40 ways through it is listed in an instant."""
    make(tmp_path, ["d40/1.jpg"])
    for i in range(40):
        os.makedirs(tmp_path / f"d{i}", exist_ok=True)
        os.symlink(f"../d{i + 1}", tmp_path / f"d{i}/x")
        os.symlink(f"../d{i + 1}", tmp_path / f"d{i}/y")
    listing = listed(tmp_path)
    assert 1 <= len(listing) < 2000
    assert listing.notes


def test_deep_folders(deep_path):
    """Nesting far beyond Python's recursion limit is no error."""
    folder = "p"
    os.mkdir(deep_path / folder)
    while folder.count("/") < 1200:
        folder += "/d"
        os.mkdir(deep_path / folder)
    make(deep_path, [f"{folder}/1.jpg"])
    assert paths(listed(deep_path)) == [f"{folder}/1.jpg"]


@pytest.fixture
def open_path():
    """A folder that everybody may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_folders_without_permission(open_path):
    """A folder that can't be entered is a source of its own: reading it says why."""
    names = ["p/secret", "p/secret.jpg"]
    make(open_path, ["p/1.jpg", *(f"{name}/2.jpg" for name in names)])
    for name in names:
        os.chmod(open_path / name, 0)
    code = """
import sys
from facepipe.inputs import list_sources, tree; from facepipe.storage import place; from facepipe.config import ExtractConfig
import os
here = place(sys.argv[1])
list_sources(here, ExtractConfig()), here.read("p/1.jpg")  # loads all modules
os.setuid(65534)
for source in list_sources(here, ExtractConfig()).sources():
    try:
        print(source.path, len(here.read(source.file)))
    except Exception as error:
        print(source.path, type(error).__name__, "permission denied" in str(error))
"""
    done = subprocess.run([sys.executable, "-c", code, open_path], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.splitlines()) == ["p/1.jpg 7", *(f"{name} InputError True" for name in names)]


def test_limit(tmp_path):
    """`--limit` takes the first files of the full order."""
    make(tmp_path, TREE)
    for limit in (1, 3, 4, 5, 100):
        assert paths(listed(tmp_path, limit=limit)) == paths(listed(tmp_path))[:limit]


def test_an_input_without_pictures(tmp_path):
    """One that is missing or a file is an error that says so, an empty one lists nothing; `--label` needs labels."""
    make(tmp_path, ["in/a/1.jpg", "file.jpg"])
    os.mkdir(tmp_path / "empty")
    for name, said in (
        ("missing", "is not a directory; expected"),
        ("file.jpg", "is a file; expected a directory of images"),
    ):
        with pytest.raises(InputError, match=said):
            listed(tmp_path / name)
    listing = listed(tmp_path / "empty")
    assert (len(listing), listing.parts(512), listing.to_arrow().schema) == (0, [], PLAN)
    with pytest.raises(UsageError, match="--manifest"):
        listed(tmp_path / "in", label="Smiling")


def built(*groups, limit=0):
    builder = ListingBuilder(limit)
    for group in groups:
        builder.add(group)
    return builder.finish("test", [])


def video(count, name="v"):
    return Group("p", name, "", [f"{name}/{i}.jpg" for i in range(count)])


def test_a_frame_more_changes_few_parts_of_folders_of_frames():
    """Videos are not cut: after one that grew, parts soon begin where they began before."""
    lengths = [random.Random(number).randrange(50, 250) for number in range(200)]
    before, after = (
        built(*(video(count + more * (number == 0), f"v{number}") for number, count in enumerate(lengths)))
        for more in (0, 1)
    )
    plans = [make_plan(one.to_arrow(), [len(rows) for rows in one.parts(512)], "s") for one in (before, after)]
    changed = set(plans[1].names) - set(plans[0].names)
    assert len(plans[0]) > 40
    assert len(changed) <= 3


@pytest.mark.parametrize("slow_s", [0.0, 60.0], ids=["many at once", "one after the other"])
def test_sizes_of_files_and_of_what_is_none(tmp_path, monkeypatch, slow_s):
    """In the order that was asked for, whether the disk is taken for a slow one or not."""
    monkeypatch.setattr(tree, "_SLOW_S", slow_s)
    names = [f"{i:03}.jpg" for i in range(300)]
    for i, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x" * i)
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("007.jpg")
    (tmp_path / "broken.jpg").symlink_to("nothing")
    none = ["folder.jpg", "pipe.jpg", "broken.jpg", "missing.jpg", "no\0name.jpg"]
    asked = [*none, "link.jpg", *reversed(names)]
    assert LocalTree(place(str(tmp_path))).sizes(asked) == [UNKNOWN_SIZE] * len(none) + [7, *range(299, -1, -1)]
