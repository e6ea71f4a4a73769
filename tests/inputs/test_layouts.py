"""Each data set, laid out as it is published."""

from __future__ import annotations

import os

import pytest

from facepipe.config import ExtractConfig
from facepipe.errors import InputError, UsageError
from facepipe.inputs import describe, list_sources
from facepipe.inputs.store import StoreTree
from facepipe.stages.output import open_output
from facepipe.storage import place


def write(folder, files):
    """Files by path: texts, or None for a picture (whose bytes do not matter here)."""
    for name, text in files.items():
        path = os.path.join(os.fspath(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"picture" if text is None else text.encode("utf-8", "surrogateescape"))


def listed(folder, **options):
    return list_sources(place(str(folder)), ExtractConfig(input=str(folder), **options))


def rows(listing):
    return [(s.path, s.identity, s.video, s.frame_index, s.box, s.label) for s in listing.sources()]


YTF = {
    "frame_images_DB/Ann_B/3/3.9.jpg": None,
    "frame_images_DB/Ann_B/3/3.10.jpg": None,
    "frame_images_DB/Ann_B/12/12.618.jpg": None,
    "frame_images_DB/Ann_B.labeled_faces.txt": "Ann_B\\3\\3.9.jpg,0,262,165,132,132,0.0,1\r\n"
    "Ann_B\\3\\3.10.jpg,0,263.5,165,131,130,0.0,1\r\nAnn_B\\3\\3.11.jpg,0,1,1,2,2,0,1\r\n",
    "frame_images_DB/Zed/0/0.1.jpg": None,
    "aligned_images_DB/Ann_B/3/aligned_detect_3.9.jpg": None,
    "headpose_DB/headorient_apirun_Ann_B_3.mat": "",
}
YTF_ROWS = [
    ("frame_images_DB/Ann_B/3/3.9.jpg", "Ann_B", "3", 9, (196.0, 99.0, 328.0, 231.0), None),
    ("frame_images_DB/Ann_B/3/3.10.jpg", "Ann_B", "3", 10, (198.0, 100.0, 329.0, 230.0), None),
    ("frame_images_DB/Ann_B/12/12.618.jpg", "Ann_B", "12", 618, None, None),
    ("frame_images_DB/Zed/0/0.1.jpg", "Zed", "0", 1, None, None),
]


@pytest.mark.parametrize("layout", ["auto", "youtube-faces"])
def test_youtube_faces(tmp_path, layout):
    """Frames by number, boxes from centre and size, the aligned copies left out."""
    write(tmp_path, YTF)
    listing = listed(tmp_path, layout=layout)
    assert (listing.layout, rows(listing)) == ("youtube-faces", YTF_ROWS)


@pytest.mark.parametrize("inner", ["frame_images_DB", "aligned_images_DB"])
def test_youtube_faces_in_parts(tmp_path, inner):
    """The folder of frames may be the input itself; the aligned pictures alone are read without boxes."""
    write(tmp_path, {name: text for name, text in YTF.items() if name.startswith(inner)})
    if inner == "frame_images_DB":
        expected = [(path.removeprefix(f"{inner}/"), *rest) for path, *rest in YTF_ROWS]
        assert rows(listed(tmp_path / inner)) == expected
    else:
        expected = [(f"{inner}/Ann_B/3/aligned_detect_3.9.jpg", "Ann_B", "3", 9, None, None)]
        assert rows(listed(tmp_path)) == expected


VGG_BOXES, YTF_BOXES = "bb_landmark/loose_bb_train.csv", "frame_images_DB/Ann_B.labeled_faces.txt"


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (YTF_BOXES, "Ann_B\\3\\3.9.jpg,0,262", "line 1: 3 fields"),
        (YTF_BOXES, "Ann_B\\3\\3.9.jpg,0,x,1,2,2,0,1", "line 1: a box field is 'x'"),
        (YTF_BOXES, "\nAnn_B\\3\\3.9.jpg,0,nan,1,2,2", "line 2: a box field is 'nan'"),
        (VGG_BOXES, 'NAME_ID,X,Y,W,H\n"n000002/0001_01",161,140\n', "line 2"),
        (VGG_BOXES, 'NAME_ID,X,Y,W,H\n"n000002/0001_01",161,140,inf,1\n', "line 2"),
    ],
)
def test_broken_boxes_name_the_line(tmp_path, file, text, said):
    """A label file that can't be read is named with its line."""
    write(tmp_path, (YTF if file == YTF_BOXES else VGG) | {file: text})
    with pytest.raises(UsageError, match=said) as caught:
        listed(tmp_path)
    assert file.rpartition("/")[2] in str(caught.value)


def test_labels_never_name_other_files(tmp_path):
    """Paths in a label file that lead outside, and empty boxes, change nothing."""
    text = "..\\..\\etc\\passwd,0,1,1,2,2,0,1\n/etc/passwd,0,1,1,2,2,0,1\nAnn_B\\3\\3.9.jpg,0,9,9,0,0,0,1\n"
    write(tmp_path, YTF | {"frame_images_DB/Ann_B.labeled_faces.txt": text})
    assert rows(listed(tmp_path)) == [(*row[:4], None, None) for row in YTF_ROWS]


@pytest.mark.parametrize(
    "wrapper", ["", "lfw", "LFW", "lfw_funneled", "lfw-deepfunneled/lfw-deepfunneled", "lfwa/lfw2"]
)
def test_lfw_as_unpacked_leaves_no_picture_out(tmp_path, wrapper):
    """In each archive's folder people are people, pictures by number; one that somebody put beside them has a row too."""
    top = f"{wrapper}/".lstrip("/")
    files = [f"{top}{name}/{name}_{i:04d}.jpg" for name in ("Ann_B", "Zed_C_D") for i in (1, 2, 10)]
    write(tmp_path, dict.fromkeys([*files, f"{top}extra.jpg", "cover.png"]) | {"pairs.txt": "10\t300\n"})
    listing = listed(tmp_path)
    assert listing.layout == "lfw"
    people = dict(zip(files, ["Ann_B"] * 3 + ["Zed_C_D"] * 3, strict=True))
    assert {row[0]: row[1] for row in rows(listing)} == people | {f"{top}extra.jpg": "extra", "cover.png": "cover"}
    assert [row[0] for row in rows(listing) if row[0] in people] == files


def test_one_persons_albums_are_no_lfw(tmp_path):
    """Albums whose pictures are named after them are that person's videos: the first level is the person."""
    write(tmp_path, dict.fromkeys(["anna/paris/paris_1.jpg", "anna/rome/rome_1.jpg"]))
    listing = listed(tmp_path)
    assert listing.layout == "identity"
    assert [row[1:3] for row in rows(listing)] == [("anna", "paris"), ("anna", "rome")]


def test_what_facepipe_wrote_into_the_input_is_nobody(tmp_path):
    """The pictures of `split --images` are left out and noted, on a disk and on a store; given as input they are read."""
    write(tmp_path, dict.fromkeys(["lfw/Ann_B/Ann_B_0001.jpg", "lfw/Zed/Zed_0001.jpg"]))
    with open_output(str(tmp_path / "png"), {"inputs": "1", "seed": 0}, False, lambda _: True) as out:
        out.write("train/Ann_B/features/1.png", b"picture")
        out.finish()
    listing = listed(tmp_path)
    assert (listing.layout, [row[1] for row in rows(listing)]) == ("lfw", ["Ann_B", "Zed"])
    assert listing.notes == ["the folder png is left out: facepipe wrote it"]
    assert [folder.path for folder in StoreTree(place(str(tmp_path))).walk()] == ["lfw/Ann_B", "lfw/Zed"]
    assert len(listed(tmp_path / "png")) == 1
    (tmp_path / "png" / "settings.json").write_text("{}")
    assert len(listed(tmp_path)) == 3


CELEBA = {
    "img_align_celeba/000001.jpg": None,
    "img_align_celeba/000002.jpg": None,
    "img_align_celeba/000003.jpg": None,
    "identity_CelebA.txt": "000001.jpg 2880\n000002.jpg 99\n000003.jpg 2880\n000004.jpg 5\n",
    "list_attr_celeba.txt": "3\n5_o_Clock_Shadow Smiling Young \n000001.jpg -1  1 -1\n000002.jpg  1 -1  1\n000003.jpg -1 -1  1\n",
    "list_eval_partition.txt": "000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n",
    "list_landmarks_align_celeba.txt": "3\nlefteye_x lefteye_y\n000001.jpg 69 109\n",
}


def celeba_rows(labels, prefix="img_align_celeba/", suffix=".jpg"):
    people = {"000002": "99", "000001": "2880", "000003": "2880"}
    return [(f"{prefix}{name}{suffix}", people[name], "", 0, None, labels.get(name)) for name in people]


@pytest.mark.parametrize("layout", ["auto", "celeba"])
@pytest.mark.parametrize(
    ("label", "labels"),
    [("label", {}), ("Smiling", {"000001": 1, "000002": 0, "000003": 0}), ("young", {"000001": 0, "000002": 1, "000003": 1}),
     ("5_o_Clock_Shadow", {"000001": 0, "000002": 1, "000003": 0}), ("partition", {"000001": 0, "000002": 1, "000003": 2})],
)  # fmt: skip
def test_celeba(tmp_path, layout, label, labels):
    """People by number from the identity file; an attribute's 1 and -1 become 1 and 0; the published split is a label."""
    write(tmp_path, CELEBA)
    listing = listed(tmp_path, layout=layout, label=label)
    assert (listing.layout, rows(listing)) == ("celeba", celeba_rows(labels))


def test_celeba_as_archived(tmp_path):
    """The archive's folders Img, Anno and Eval, with PNGs, and the CSV copies of the label files."""
    write(
        tmp_path,
        {
            **{f"Img/img_align_celeba_png/00000{i}.png": None for i in (1, 2, 3)},
            "Anno/identity_CelebA.txt": CELEBA["identity_CelebA.txt"],
            "Anno/list_attr_celeba.csv": "image_id,5_o_Clock_Shadow,Smiling\n000001.jpg,-1,1\n000002.jpg,1,-1\n000003.jpg,1,1\n",
            "Eval/list_eval_partition.csv": "image_id,partition\n000001.jpg,0\n000002.jpg,1\n000003.jpg,2\n",
        },
    )
    place_of = {"prefix": "Img/img_align_celeba_png/", "suffix": ".png"}
    smiling = celeba_rows({"000001": 1, "000002": 0, "000003": 1}, **place_of)
    assert rows(listed(tmp_path, label="Smiling")) == smiling
    partition = celeba_rows({"000001": 0, "000002": 1, "000003": 2}, **place_of)
    assert rows(listed(tmp_path, label="partition")) == partition


@pytest.mark.parametrize(
    ("changes", "label", "said"),
    [
        ({}, "Smilling", "no column 'Smilling'; did you mean Smiling"),
        ({"identity_CelebA.txt": "000001.jpg 1\n"}, "label", "does not say who is on 000002.jpg"),
        ({"identity_CelebA.txt": "000001.jpg 1\n000002.jpg\n"}, "label", "line 2: 1 fields, 2 are needed"),
        ({"identity_CelebA.txt": ""}, "label", "has no lines"),
        (
            {"list_attr_celeba.txt": "3\nSmiling\n000001.jpg 1\n000002.jpg 1\n"},
            "smiling",
            "has no smiling of 000003.jpg; is",
        ),
        ({"list_eval_partition.txt": "000001.jpg 0\n"}, "partition", "list_eval_partition.txt has no partition of"),
        ({"list_attr_celeba.txt": "1\nSmiling\n000001.jpg maybe\n"}, "Smiling", "Smiling of 000001 is 'maybe'"),
        ({"list_attr_celeba.txt": "1\nSmiling\n000001.jpg 9223372036854775808\n"}, "Smiling", "not a whole number"),
    ],
)
def test_celeba_mistakes(tmp_path, changes, label, said):
    """What is wrong with a label file is said in a line."""
    write(tmp_path, CELEBA | changes)
    with pytest.raises((UsageError, InputError), match=said):
        listed(tmp_path, layout="celeba", label=label)


WILD = {
    **{f"Img/img_celeba/00000{i}.jpg": None for i in (1, 2, 3)},
    "Anno/identity_CelebA.txt": CELEBA["identity_CelebA.txt"],
    "Anno/list_bbox_celeba.txt": "3\nimage_id x_1 y_1 width height\n000001.jpg    95  71 226 313\n"
    "000002.jpg  0 0 0 0\n000003.jpg -5 2 30.5 40\n",
}
WILD_BOXES = {"000001": (95.0, 71.0, 321.0, 384.0), "000002": None, "000003": (-5.0, 2.0, 25.5, 42.0)}


def told(folder, **options):
    config = ExtractConfig(input=str(folder), **options)
    return describe(list_sources(place(str(folder)), config), config)


@pytest.mark.parametrize("csv", [False, True])
def test_celeba_in_the_wild(tmp_path, csv):
    """The uncropped photographs are read with their boxes, corner and size, and it is told which folder was read."""
    files = dict(WILD)
    if csv:
        text = files.pop("Anno/list_bbox_celeba.txt").partition("\n")[2]
        lines = [",".join(line.split()) for line in text.splitlines()]
        files["list_bbox_celeba.csv"] = "\n".join(lines) + "\n"
    write(tmp_path, files)
    prefix = "Img/img_celeba/"
    expected = [(*row[:4], WILD_BOXES[row[0][len(prefix) : -4]], None) for row in celeba_rows({}, prefix)]
    assert rows(listed(tmp_path, layout="celeba")) == expected
    assert told(tmp_path) == ["layout celeba (found): 2 people, 3 files of Img/img_celeba, 2 with labelled boxes"]
    for name in files:
        if "bbox" in name:
            (tmp_path / name).unlink()
    found, note = told(tmp_path)
    assert found == "layout celeba (found): 2 people, 3 files of Img/img_celeba"
    assert note.startswith("img_celeba holds whole photographs; without list_bbox_celeba.txt the face near")


@pytest.mark.parametrize(
    "aligned", ["img_align_celeba/", "Img/img_align_celeba_png/", "img_align_celeba/img_align_celeba/"]
)
def test_celeba_s_aligned_pictures_come_first(tmp_path, aligned):
    """Where both are there, in whichever folders, the aligned ones are read, and the boxes belong to the others."""
    files = {name.removeprefix("Img/"): text for name, text in WILD.items()}
    write(tmp_path, files | {f"{aligned}00000{i}.jpg": None for i in (1, 2, 3)})
    assert rows(listed(tmp_path)) == celeba_rows({}, aligned)
    assert told(tmp_path) == [f"layout celeba (found): 2 people, 3 files of {aligned[:-1]}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("000001.jpg 1 2 3 4\n", r"has no box of 000002.jpg; is it complete\?"),
        ("000001.jpg 1 2 3\n", "line 3: 4 fields; expected file, x, y, width, height"),
        ("000001.jpg 1 2 x 4\n", "line 3: a box field is 'x'"),
        ("", "has no lines"),
    ],
)
def test_celeba_s_broken_boxes(tmp_path, text, said):
    """A file of boxes that ends early or can't be read is refused."""
    write(tmp_path, WILD | {"Anno/list_bbox_celeba.txt": f"3\nimage_id x_1 y_1 width height\n{text}"})
    with pytest.raises((UsageError, InputError), match=rf"Anno/list_bbox_celeba\.txt.*{said}"):
        listed(tmp_path)


def test_a_folder_too_high_is_told_the_inner_one(tmp_path):
    """Who gives the folder that holds the data set is told what to give."""
    for layout, files in (("celeba", CELEBA), ("vggface2", VGG), ("youtube-faces", YTF)):
        outer = tmp_path / layout
        write(outer, {f"a/notes/{layout}.txt": "", **{f"Set/{name}": text for name, text in files.items()}})
        with pytest.raises(InputError, match=rf"; give --input {outer}/Set$"):
            listed(outer, layout=layout)
        assert len(listed(outer / "Set", layout=layout)) > 2


def test_celeba_s_pictures_alone_are_pointed_out(tmp_path):
    """A thousand pictures 000001.jpg, everyone a person or all of them one, are told to be read with their people."""
    write(tmp_path, {f"img_align_celeba/{i:06d}.jpg": None for i in range(1, 1001)})
    for folder, layout in ((tmp_path, "identity"), (tmp_path / "img_align_celeba", "flat")):
        line, note = told(folder)
        assert line.startswith(f"layout {layout} (found)")
        assert "run the recipe `celeba`" in note
        assert "the folder that holds both img_align_celeba and identity_CelebA.txt" in note
    assert len(told(folder, layout="flat")) == 1
    write(tmp_path, {"img_align_celeba/extra.jpg": None})
    assert len(told(folder)) == 1


def test_celeba_without_identities(tmp_path):
    """Without the identity file nobody knows who is who: an error that says what to do."""
    write(tmp_path, {name: text for name, text in CELEBA.items() if "identity" not in name})
    with pytest.raises(InputError, match="--layout flat"):
        listed(tmp_path)


VGG = {
    "train/n000002/0001_01.jpg": None,
    "train/n000002/0010_01.jpg": None,
    "train/n000003/0001_01.jpg": None,
    "test/n000001/0001_01.jpg": None,
    "bb_landmark/loose_bb_train.csv": 'NAME_ID,X,Y,W,H\n"n000002/0001_01",161,140,224,324\n"n000003/0001_01",1,2,30,40\n'
    '"n000002/0010_01",-5,0,10.5,20\n',
    "identity_meta.csv": "Class_ID, Name, Sample_Num, Flag, Gender\nn000001, _14th_Dalai_Lama_, 424, 0, m\n",
}
VGG_ROWS = [
    ("test/n000001/0001_01.jpg", "n000001", "", 0, None, None),
    ("train/n000002/0001_01.jpg", "n000002", "", 0, (161.0, 140.0, 385.0, 464.0), None),
    ("train/n000002/0010_01.jpg", "n000002", "", 0, (-5.0, 0.0, 5.5, 20.0), None),
    ("train/n000003/0001_01.jpg", "n000003", "", 0, (1.0, 2.0, 31.0, 42.0), None),
]


def test_vggface2(tmp_path):
    """Both subsets, people by number, boxes from corner and size."""
    write(tmp_path, VGG)
    listing = listed(tmp_path)
    assert (listing.layout, rows(listing)) == ("vggface2", VGG_ROWS)
    expected = [(path.removeprefix("train/"), *rest[:3], None, None) for path, *rest in VGG_ROWS[1:]]
    assert rows(listed(tmp_path / "train", layout="vggface2")) == expected


def test_identity(tmp_path):
    """The first folder is the person, those below are videos; a video file is a video of its folder's person."""
    expected = [
        ("eve.jpg", "eve", "", 0),
        ("ann/1.jpg", "ann", "", 0),
        ("ann/clip.mp4", "ann", "clip.mp4", 0),
        ("ann/v/1.jpg", "ann", "v", 0),
        ("ann/v/2.jpg", "ann", "v", 1),
        ("ann/v/clip.mp4", "ann", "v/clip.mp4", 0),
        ("ann/v/w/1.jpg", "ann", "v/w", 0),
        ("bob/1.jpg", "bob", "", 0),
    ]
    write(tmp_path, dict.fromkeys(name for name, *_ in reversed(expected)))
    listing = listed(tmp_path)
    assert (listing.layout, [row[:4] for row in rows(listing)]) == ("identity", expected)
    assert [s.is_video for s in listing.sources()] == [name.endswith("mp4") for name, *_ in rows(listing)]


def test_flat(tmp_path):
    """Each file is its own person, however deep; files that share a stem are told apart."""
    expected = [
        ("9.jpg", "9", ""),
        ("10.jpg", "10", ""),
        ("b/11.jpg", "11", ""),
        ("film.mp4", "film", "film.mp4"),
        ("a/x.jpg", "a/x", ""),
        ("b/x.jpg", "b/x", ""),
        ("c/x.jpg", "c/x.jpg", ""),
        ("c/x.png", "c/x.png", ""),
    ]
    write(tmp_path, dict.fromkeys(name for name, *_ in reversed(expected)))
    assert [row[:3] for row in rows(listed(tmp_path, layout="flat"))] == expected
    write(tmp_path / "one", dict.fromkeys(["1.jpg", "2.jpg"]))
    assert listed(tmp_path / "one").layout == "flat"


def test_the_labelled_photographs(shared_data):
    """The real folders are told apart and listed whole."""
    found = {name: listed(shared_data / name) for name in ("ytf", "lfw", "lfw_single", "aflw2000", "video")}
    assert {name: (listing.layout, len(listing)) for name, listing in found.items()} == {
        "ytf": ("identity", 660), "lfw": ("lfw", 1279), "lfw_single": ("lfw", 3000), "aflw2000": ("flat", 8), "video": ("flat", 2),
    }  # fmt: skip
    videos = [(source.identity, source.video) for source in found["ytf"].sources()]
    assert len(set(videos)) == len([1 for i, pair in enumerate(videos) if i == 0 or pair != videos[i - 1]])


@pytest.mark.parametrize(
    ("layout", "files", "expected"),
    [("youtube-faces", YTF, YTF_ROWS), ("vggface2", VGG, VGG_ROWS), ("celeba", CELEBA, celeba_rows({}))],
)
def test_an_object_store_lists_the_same(s3_bucket, s3_port, layout, files, expected):
    """The same data set in a bucket gives the same listing."""
    bucket = place(f"s3://{s3_bucket}/input?endpoint_override=127.0.0.1:{s3_port}&scheme=http&region=us-east-1")
    for name, text in (files | {".hidden/1.jpg": None, "notes.txt": ""}).items():
        bucket.write(name, b"picture" if text is None else text.encode())
    listing = list_sources(bucket, ExtractConfig(input=bucket.uri))
    assert (listing.layout, rows(listing)) == (layout, expected)
