"""The extract stage over real photographs, in real processes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from facepipe.config import Execution, ExtractConfig, PartOf
from facepipe.errors import Incomplete, InputError, OutputError, SettingsChanged, TooManyFailed, UsageError
from facepipe.execution.progress import QuietProgress
from facepipe.stages import extract
from facepipe.stages.faces import open_faces
from facepipe.storage import parquet, place

ONE = Execution(workers=1)


def write_jpeg(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1]))


@pytest.fixture
def photographs(tmp_path, astronaut):
    """Three people's folders: the same astronaut at three sizes, a picture without a face, and one that is none."""
    folder = tmp_path / "images"
    for person, side in (("anna", 512), ("berta", 300), ("clara", 240)):
        write_jpeg(folder / person / "1.jpg", cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA))
        write_jpeg(
            folder / person / "2.jpg", cv2.resize(astronaut[:300, 60:400], (side, side), interpolation=cv2.INTER_AREA)
        )
    write_jpeg(folder / "clara" / "3.jpg", astronaut[400:, :100])
    (folder / "clara" / "4.jpg").write_bytes(b"not a picture")
    return folder


def rows_of(folder):
    return [row for _, table in parquet.iterate_parts(place(str(folder))) for row in table.to_pylist()]


def parts_of(folder):
    """The files of the parts, in order."""
    return [folder / name for name in parquet.part_names(place(str(folder)))]


def run(images, output, **options):
    options = {"part_size": 4, "execution": ONE, **options}
    return extract.run(ExtractConfig(input=str(images), output=str(output), **options), QuietProgress())


def test_every_image_ends_in_one_row_with_its_status(photographs, tmp_path):
    """Faces become crops with a pose; the rest becomes rows that say why."""
    report = run(photographs, tmp_path / "faces")
    assert report.counts == {"ok": 6, "no_face": 1, "decode_error": 1}
    rows = {row["path"]: row for row in rows_of(tmp_path / "faces")}
    assert len(rows) == 8
    good = rows["anna/1.jpg"]
    assert (good["identity"], good["width"], good["height"], good["face_index"]) == ("anna", 512, 512, 0)
    assert good["crop"]["bytes"][:2] == b"\xff\xd8"
    assert cv2.imdecode(np.frombuffer(good["crop"]["bytes"], np.uint8), 1).shape == (128, 128, 3)
    x1, y1, x2, y2 = good["bbox"]
    assert (150 < x1 < 220, 240 < x2 < 300) == (True, True)  # the face of the astronaut
    assert (40 < y1 < 100, 150 < y2 < 230) == (True, True)
    assert rows["clara/3.jpg"]["error"] == "no face was found in the picture"
    assert rows["clara/4.jpg"]["status"] == "decode_error"
    assert rows["clara/4.jpg"]["error"]
    assert np.isnan(rows["clara/4.jpg"]["yaw"])
    described = json.loads((tmp_path / "faces" / "run.json").read_text())
    assert described["counts"] == report.counts
    steps = {"plan", "read", "decode", "detect", "pose", "crop", "sharpness", "encode", "write", "sync"}
    assert set(described["steps_s"]) == steps
    assert 0 < sum(described["steps_s"].values()) <= described["wall_s"]


def test_the_bytes_do_not_depend_on_the_workers_and_a_rerun_makes_nothing(photographs, tmp_path):
    """Two workers give what one gives; a second run finds all parts there."""
    run(photographs, tmp_path / "one")
    run(photographs, tmp_path / "two", execution=Execution(workers=2))
    names = sorted(p.name for p in (tmp_path / "one").iterdir() if p.name != "run.json")
    assert names == sorted(p.name for p in (tmp_path / "two").iterdir() if p.name != "run.json")
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    before = {p: os.stat(p).st_mtime_ns for p in (tmp_path / "one").glob("part-*")}
    assert run(photographs, tmp_path / "one").done_before == len(before) == 3
    assert before == {p: os.stat(p).st_mtime_ns for p in (tmp_path / "one").glob("part-*")}


def test_the_bytes_do_not_depend_on_where_the_input_lies(photographs, tmp_path):
    """Nor does what is said of a file that can't be read: its path is told as in the input."""
    (photographs / "clara" / "5.jpg").symlink_to("nowhere")
    (photographs / "clara" / "6\n.jpg").mkdir()
    run(photographs, tmp_path / "before")
    run(photographs.rename(tmp_path / "elsewhere"), tmp_path / "after")
    before, after = (
        {path.name: path.read_bytes() for path in (tmp_path / name).glob("*.p*q*")} for name in ("before", "after")
    )
    assert before == after
    said = {row["path"]: row["error"] for row in rows_of(tmp_path / "after") if row["status"] == "read_error"}
    assert said == {
        "clara/5.jpg": "can't read clara/5.jpg: no such file or directory",
        "clara/6\n.jpg": "can't read clara/6\\n.jpg: it is no regular file",
    }


@pytest.mark.parametrize("harm", ["delete", "empty", "cut", "flip"])
def test_a_damaged_part_alone_is_made_again(photographs, tmp_path, harm):
    """Whatever happened to a part, a rerun gives its old bytes and leaves the others."""
    out = tmp_path / "faces"
    run(photographs, out)
    part = parts_of(out)[1]
    good = part.read_bytes()
    if harm == "delete":
        part.unlink()
    else:
        harmed = {"empty": b"", "cut": good[:-100], "flip": good[:500] + bytes([good[500] ^ 1]) + good[501:]}[harm]
        part.write_bytes(harmed)
    assert run(photographs, out).done_before == 2
    assert good == part.read_bytes()


def test_other_settings_are_refused_with_the_difference(photographs, tmp_path):
    """What was made one way is not mixed with what is made another way, unless asked for."""
    run(photographs, tmp_path / "faces")
    with pytest.raises(SettingsChanged, match=r"\(--crop-size 128 -> 64; --track -> --no-track\)"):
        run(photographs, tmp_path / "faces", crop_size=64, track=False)
    run(photographs, tmp_path / "faces", crop_size=64, execution=Execution(workers=1, overwrite=True))
    crop = next(row["crop"]["bytes"] for row in rows_of(tmp_path / "faces") if row["crop"])
    assert cv2.imdecode(np.frombuffer(crop, np.uint8), 1).shape == (64, 64, 3)


def tree_bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["part-00000.parquet", "part-00005.parquet", "settings.json"])
def test_other_programs_files_are_not_written_over(photographs, tmp_path, name, overwrite):
    """Parts that Spark wrote, or an editor's settings, are neither replaced nor removed: one line names them."""
    spark = tmp_path / "spark"
    spark.mkdir()
    if name == "settings.json":
        (spark / name).write_text('{"editor.fontSize": 12}')
    else:
        pq.write_table(pa.table({"x": [1, 2]}), spark / name)
    before = tree_bytes(spark)
    with pytest.raises(OutputError, match=f"holds {name}, which facepipe did not write there; give another output"):
        run(photographs, spark, execution=Execution(workers=1, overwrite=overwrite))
    assert tree_bytes(spark) == before


@pytest.mark.parametrize("left", ["a part", "plan.pq", "checksums.sha256"])
def test_one_sign_of_ours_is_enough_to_go_on(photographs, tmp_path, left):
    """With its settings damaged and all else gone, one intact file of a run tells that the folder is facepipe's."""
    out = tmp_path / "faces"
    run(photographs, out)
    before = tree_bytes(out)
    first, second, _ = parts_of(out)
    for path in out.iterdir():
        if path in (out / "settings.json", first):
            path.write_bytes(path.read_bytes()[:100])
        elif path != (second if left == "a part" else out / left):
            path.unlink()
    run(photographs, out)
    after = tree_bytes(out)
    before.pop("run.json"), after.pop("run.json")
    assert after == before


def test_overwriting_keeps_the_parts_that_fit(photographs, tmp_path):
    """With the same settings nothing is extracted again; of images that went, only their part is."""
    out, again = tmp_path / "faces", Execution(workers=1, overwrite=True)
    run(photographs, out)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert run(photographs, out, execution=again).done_before == len(before) == 3
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")} == before
    (photographs / "clara" / "4.jpg").unlink()
    assert run(photographs, out, execution=again).done_before == 2
    assert [row["path"] for row in rows_of(out)][-1] == "clara/3.jpg"


def test_images_that_were_added_are_extracted_and_images_that_went_are_refused(photographs, tmp_path, astronaut):
    """A growing folder goes on; a folder that lost images (a missing mount) costs nothing."""
    run(photographs, tmp_path / "faces", limit=3)
    assert run(photographs, tmp_path / "faces").counts["ok"] == 6
    write_jpeg(photographs / "zoe" / "1.jpg", astronaut)
    assert run(photographs, tmp_path / "faces").counts["ok"] == 7
    said = r"--limit 3 takes fewer images than .*faces was made from \(9\): leave it out, or give another --output"
    with pytest.raises(SettingsChanged, match=said):
        run(photographs, tmp_path / "faces", limit=3)
    (photographs / "anna" / "1.jpg").unlink()
    with pytest.raises(SettingsChanged, match=r"lost 1 images that .* was made from; bring them back"):
        run(photographs, tmp_path / "faces")
    (photographs / "berta").rename(photographs / "bertha")
    with pytest.raises(SettingsChanged, match=r"lost 3 images .* \(and has 2 new ones: a folder renamed\?\); bring"):
        run(photographs, tmp_path / "faces")


def test_shares_of_many_machines_make_what_one_machine_makes(photographs, tmp_path):
    """Each share makes its parts, in any order; together they are the whole."""
    run(photographs, tmp_path / "whole")
    run(photographs, tmp_path / "shares", part_of=PartOf(2, 2))
    assert not (tmp_path / "shares" / "run.json").exists()
    run(photographs, tmp_path / "shares", part_of=PartOf(1, 2))
    run(photographs, tmp_path / "shares", part_of=PartOf(2, 2))
    assert (tmp_path / "shares" / "run.json").exists()
    assert_same(tmp_path / "whole", tmp_path / "shares")


def test_a_run_that_finds_all_done_keeps_what_the_last_one_told(photographs, tmp_path):
    """Times and rates are those of the work; where a part had to be made again, of that alone."""
    faces = tmp_path / "faces"
    run(photographs, faces)
    first = (faces / "run.json").read_bytes()
    assert json.loads(first)["images_made"] == 8
    run(photographs, faces)
    assert (faces / "run.json").read_bytes() == first
    parts_of(faces)[0].unlink()
    run(photographs, faces)
    again = json.loads((faces / "run.json").read_text())
    assert (again["parts_made"], sum(again["counts"].values())) == (1, 8)


def test_a_share_says_what_its_counts_are_of(photographs, tmp_path):
    """While others are missing it counts its own parts; an empty share says that it is one."""
    faces = tmp_path / "faces"
    for k, images in ((1, 3), (2, 3)):
        report = run(photographs, faces, part_size=3, part_of=PartOf(k, 4))
        assert sum(report.counts.values()) == images
        assert f"share {k}/4 is done, 1 of 3 parts: the counts are of this share alone" in report.notes
        assert "other shares' parts are still missing" in report.notes
    report = run(photographs, faces, part_size=3, part_of=PartOf(4, 4))
    assert (report.counts, report.notes[-2]) == ({}, "share 4/4 is empty: the input makes 3 parts only")
    report = run(photographs, faces, part_size=3, part_of=PartOf(3, 4))
    assert (sum(report.counts.values()), report.notes[-1]) == (8, "all shares are done: the counts are of all 3 parts")
    report = run(photographs, faces, part_size=3, part_of=PartOf(4, 4))
    assert report.notes[-2:] == [
        "share 4/4 is empty: the input makes 3 parts only",
        "all shares are done: the counts are of all 3 parts",
    ]


def test_parts_of_an_earlier_plan_are_no_parts_of_this_one(photographs, tmp_path, astronaut):
    """Where images were added, a share is not the last one because others' parts of before still lie there."""
    for k in (1, 2):
        run(photographs, tmp_path / "faces", part_of=PartOf(k, 2))
    write_jpeg(photographs / "clara" / "0.jpg", astronaut)
    report = run(photographs, tmp_path / "faces", part_of=PartOf(1, 2))
    assert report.notes[-1] == "other shares' parts are still missing"
    assert not (tmp_path / "faces" / "run.json").exists()
    with pytest.raises(Incomplete, match=r"has [12] of its 3 parts; run `facepipe extract`.*each its --part-of"):
        open_faces(str(tmp_path / "faces"))
    run(photographs, tmp_path / "faces", part_of=PartOf(2, 2))
    assert len(rows_of(tmp_path / "faces")) == 9


def test_a_manifest_tells_whose_face_it_is(tmp_path, astronaut):
    """Of two faces in a picture, the labelled one is the identity's; the other is a row of its own."""
    face = astronaut[0:256, 96:352]
    write_jpeg(tmp_path / "images" / "two.jpg", np.concatenate([face, face[:, ::-1]], axis=1))
    manifest = tmp_path / "list.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["path", "identity", "x1", "y1", "x2", "y2", "label"], ["two.jpg", "left", 80, 60, 180, 190, 7]]
        )
    run(tmp_path / "images", tmp_path / "faces", manifest=str(manifest))
    rows = rows_of(tmp_path / "faces")
    assert [row["status"] for row in rows] == ["ok", "other_face"]
    assert rows[0]["bbox"][2] < 256 < rows[1]["bbox"][0]
    assert [row["label"] for row in rows] == [7, 7]
    assert rows[1]["crop"] is None


def test_cropped_pictures_are_kept_whole(tmp_path, astronaut):
    """A face crop is shrunk as it is, and still given landmarks and a pose."""
    write_jpeg(
        tmp_path / "images" / "a" / "1.jpg",
        cv2.resize(astronaut[60:210, 150:300], (64, 64), interpolation=cv2.INTER_AREA),
    )
    run(tmp_path / "images", tmp_path / "faces", cropped=True, crop_size=64)
    (row,) = rows_of(tmp_path / "faces")
    assert (row["status"], row["crop_scale"]) == ("ok", 1.0)
    assert abs(row["yaw"]) < 30
    picture = cv2.imread(str(tmp_path / "images" / "a" / "1.jpg")).astype(int)
    assert np.abs(cv2.imdecode(np.frombuffer(row["crop"]["bytes"], np.uint8), 1) - picture).mean() < 4


def test_a_large_photograph_gives_what_its_full_size_gives(tmp_path, astronaut):
    """Reduced decoding moves neither face nor crop."""
    rng = np.random.default_rng(0)
    canvas = np.clip(rng.normal(120, 3, (2000, 3000, 3)), 0, 255).astype(np.uint8)
    canvas[700:1212, 1200:1712] = astronaut
    write_jpeg(tmp_path / "images" / "a" / "1.jpg", canvas)
    cv2.imwrite(str(tmp_path / "images" / "a" / "2.png"), canvas[..., ::-1])
    run(tmp_path / "images", tmp_path / "faces")
    reduced, full = rows_of(tmp_path / "faces")
    assert (reduced["width"], reduced["height"]) == (3000, 2000)
    assert np.abs(np.subtract(reduced["bbox"], full["bbox"])).max() < 6
    assert np.abs(np.subtract(reduced["landmarks"], full["landmarks"])).max() < 6
    assert reduced["crop_scale"] == pytest.approx(full["crop_scale"], rel=0.05)


def test_clear_errors(tmp_path, photographs):
    """No image, too many failures, impossible options: one line each."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no image"):
        run(tmp_path / "empty", tmp_path / "faces")
    with pytest.raises(UsageError, match="--min-score is 2"):
        run(photographs, tmp_path / "faces", min_score=2)
    bad = tmp_path / "bad" / "a"
    bad.mkdir(parents=True)
    for i in range(3):
        (bad / f"{i}.jpg").write_bytes(b"nothing")
    with pytest.raises(TooManyFailed, match="3 of 3 images failed"):
        run(tmp_path / "bad", tmp_path / "faces2")
    assert len(rows_of(tmp_path / "faces2")) == 3
    with pytest.raises(Incomplete, match=r"has all its parts, but .*`facepipe list`.*--max-failed"):
        open_faces(str(tmp_path / "faces2"))


def test_one_failure_among_many_is_no_reason_to_end_however_the_run_is_cut(tmp_path, astronaut):
    """A broken picture added to eight good ones is one of nine, also where its part alone is new."""
    for number in range(8):
        write_jpeg(tmp_path / "images" / "anna" / f"{number}.jpg", astronaut[::2, ::2])
    run(tmp_path / "images", tmp_path / "faces")
    (tmp_path / "images" / "zoe").mkdir()
    (tmp_path / "images" / "zoe" / "torn.jpg").write_bytes(b"nothing")
    for _ in range(2):
        assert run(tmp_path / "images", tmp_path / "faces").counts == {"ok": 8, "decode_error": 1}
    for _ in range(2):
        with pytest.raises(TooManyFailed, match=r"1 of 9 images failed.*the first: zoe/torn\.jpg: .*facepipe report"):
            run(tmp_path / "images", tmp_path / "faces", max_failed=0.1)


def write_film(path, astronaut, frames):
    """An AVI that is cut off at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (256, 256))
    for shift in range(frames):
        writer.write(np.ascontiguousarray(astronaut[shift : shift + 256, 100:356, ::-1]))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.mark.parametrize("track", [True, False])
def test_where_a_film_breaks_off_is_told_in_its_own_frames(tmp_path, astronaut, track):
    """The row's number is that of the first frame that is missing, as its sentence has it, with --every too."""
    write_film(tmp_path / "images" / "a" / "film.avi", astronaut, 30)
    *_, before, row = run_rows(tmp_path, every=6, track=track)
    assert row["error"].startswith(f"the video breaks off after {row['frame_index']} frames, ")
    assert row["key"] == f"a/film.avi@{row['frame_index']}#-"
    assert before["frame_index"] + 1 < row["frame_index"]


def run_rows(folder, **options):
    run(folder / "images", folder / "faces", **options)
    return rows_of(folder / "faces")


@pytest.mark.parametrize("track", [True, False])
def test_a_name_plays_no_role(tmp_path, astronaut, track):
    """A video called .jpg gives its frames, a photograph called .mp4 itself."""
    images = tmp_path / "images"
    write_film(images / "a" / "whole.avi", astronaut, 30)
    (images / "a" / "whole.avi").rename(images / "a" / "video.jpg")
    write_jpeg(images / "b" / "1.jpg", astronaut)
    (images / "b" / "1.jpg").rename(images / "b" / "photograph.mp4")
    rows = {row["key"]: row["status"] for row in run_rows(tmp_path, every=10, track=track)}
    expected = ["a/video.jpg@0#0", "a/video.jpg@10#0", "a/video.jpg@20#0", "b/photograph.mp4#0"]
    assert [key for key, status in rows.items() if status == "ok"] == expected


def test_the_frames_of_a_film_count_as_images(tmp_path, astronaut):
    """Two films that break off after many good frames are not two failures of two."""
    for name in ("a", "b"):
        write_film(tmp_path / "images" / name / "film.avi", astronaut, 30)
    counts = run(tmp_path / "images", tmp_path / "faces", part_size=1).counts
    assert counts["decode_error"] == 2
    assert counts["ok"] > 20
    with pytest.raises(TooManyFailed, match=f"2 of {sum(counts.values())} images failed"):
        run(tmp_path / "images", tmp_path / "faces", part_size=1, max_failed=0.01)


def test_a_run_is_not_ended_for_failures_that_later_images_may_outweigh(tmp_path, astronaut):
    """A share of failures is of all its images; a hopeless run ends as soon as nothing to come can save it."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(6):
        (images / f"{number}.jpg").write_bytes(b"nothing")
    write_film(images / "film.avi", astronaut, 30)
    assert run(images, tmp_path / "faces", part_size=1, max_failed=0.4).counts["ok"] > 10
    (images / "film.avi").unlink()
    with pytest.raises(TooManyFailed, match="3 of 6 images failed"):
        run(images, tmp_path / "fewer", part_size=1, max_failed=0.4)
    assert 3 <= len(rows_of(tmp_path / "fewer")) < 6  # a worker may have one more under way
    with pytest.raises(TooManyFailed, match="2 of 3 images failed"):
        run(images, tmp_path / "share", part_size=1, max_failed=0.4, part_of=PartOf(1, 2))


def test_the_layout_that_was_found_is_told_and_kept_to(tmp_path, astronaut):
    """The report and run.json name it; a file that makes the folder look like another data set is no silent change."""
    images, faces = tmp_path / "images", tmp_path / "faces"
    for name in ("anna/anna_1.jpg", "anna/anna_2.jpg", "berta/berta_1.jpg"):
        write_jpeg(images / name, astronaut[::2, ::2])
    told = "layout lfw (found): 2 people, 3 files"
    assert told in run(images, faces).notes
    assert told in run(images, faces, execution=Execution(dry_run=True)).notes
    described = json.loads((faces / "run.json").read_text())
    assert (described["layout"], described["notes"]) == ("lfw", [told])
    write_jpeg(images / "anna" / "party.jpg", astronaut[::2, ::2])
    with pytest.raises(SettingsChanged, match=r"was listed as lfw when .* now as identity: give --layout lfw"):
        run(images, faces)
    assert run(images, faces, layout="lfw").notes == ["layout lfw: 2 people, 4 files"]
    again = Execution(workers=1, overwrite=True)
    assert run(images, faces, execution=again).notes == ["layout identity (found): 2 people, 4 files"]
    assert run(images, tmp_path / "flat", layout="flat").notes == [
        "layout flat: every file is a person of its own, 4 files"
    ]


def test_one_person_of_many_subfolders_is_pointed_out(tmp_path, astronaut):
    """Who gives the folder above the people's gets everybody as one person, and is told what to give."""
    for name in ("a/1.jpg", "b/1.jpg", "b/2.jpg"):
        write_jpeg(tmp_path / "images" / "shoot" / name, astronaut[::2, ::2])
    dry = Execution(dry_run=True)
    assert run(tmp_path / "images", tmp_path / "faces", execution=dry).notes[:2] == [
        "layout identity (found): 1 person, 3 files",
        f"one person, shoot, in 2 subfolders: if these are people, give --input {tmp_path}/images/shoot",
    ]
    assert len(run(tmp_path / "images" / "shoot", tmp_path / "faces", execution=dry).notes) == 2
    (tmp_path / "people.csv").write_text("path,identity\nshoot/a/1.jpg,Ada\n")
    report = run(tmp_path / "images", tmp_path / "faces", execution=dry, manifest=str(tmp_path / "people.csv"))
    assert report.notes[0] == "manifest people.csv: 1 person, 1 file"


def test_what_was_left_out_is_told(tmp_path, astronaut):
    """Links that lead in circles and formats that nothing reads are in the report and in run.json, the first five."""
    images, faces = tmp_path / "images", tmp_path / "faces"
    write_jpeg(images / "anna" / "1.jpg", astronaut[::2, ::2])
    (images / "anna" / "2.cr2").write_bytes(b"raw")
    for number in range(6):
        (images / "anna" / f"up{number}").symlink_to("..")
    notes = run(images, faces).notes
    assert notes[1] == "left out: 1 .cr2 (no reader)"
    assert notes[2] == "the link anna/up0 leads in a circle; it is not followed"
    assert (len(notes), notes[-1]) == (7, "... and 2 more")
    assert json.loads((faces / "run.json").read_text())["notes"] == notes
    (images / "anna" / "1.jpg").unlink()
    with pytest.raises(InputError, match=r"no image or video.*left out: 1 \.cr2"):
        run(images, tmp_path / "none")


def test_a_photograph_that_was_repaired_is_read_again_when_asked_for(photographs, tmp_path, astronaut):
    """A failed image stays failed, and the report says so, until --retry-failed makes its part anew, alone."""
    broken = photographs / "clara" / "4.jpg"
    write_jpeg(broken, astronaut)
    whole = broken.read_bytes()
    broken.write_bytes(bytes(len(whole)))
    run(photographs, tmp_path / "faces")
    broken.write_bytes(whole)
    report = run(photographs, tmp_path / "faces")
    assert report.counts["decode_error"] == 1
    assert "1 images that failed in an earlier run are kept as failed; --retry-failed reads them again" in report.notes
    report = run(photographs, tmp_path / "faces", execution=Execution(workers=1, retry_failed=True))
    assert (report.counts, report.done_before) == ({"ok": 7, "no_face": 1}, 2)
    assert not [note for note in report.notes if "failed" in note]
    run(photographs, tmp_path / "fresh")
    assert [row["status"] for row in rows_of(tmp_path / "fresh")] == [r["status"] for r in rows_of(tmp_path / "faces")]


@pytest.mark.parametrize("listed", [True, False])
def test_a_file_of_another_size_is_read_again(tmp_path, astronaut, listed):
    """What is replaced under its name makes its part anew, and is told; no row tells the size."""
    images, faces = tmp_path / "images", tmp_path / "faces"
    for name in ("Ada", "Bea"):
        write_jpeg(images / name / "1.jpg", astronaut)
    (tmp_path / "list.csv").write_text("path,identity\nAda/1.jpg,Ada\nBea/1.jpg,Bea\n")
    options = {"part_size": 1, **({"manifest": str(tmp_path / "list.csv")} if listed else {})}
    run(images, faces, **options)
    first = parts_of(faces)[0]
    before = first.read_bytes()
    write_jpeg(images / "Bea" / "1.jpg", astronaut[400:, :100])
    told = "files of another size than before: 1; their parts are made again"
    assert told in run(images, faces, **options, execution=Execution(dry_run=True)).notes
    report = run(images, faces, **options)
    assert report.done_before == 1
    assert told in report.notes
    assert [row["status"] for row in rows_of(faces)] == ["ok", "no_face"]
    assert (parts_of(faces)[0], first.read_bytes()) == (first, before)
    report = run(images, faces, **options)
    assert report.done_before == 2
    assert told not in report.notes


def test_a_dry_run_writes_nothing_and_tells_what_is_left_to_do(photographs, tmp_path):
    """Parts that are there and fit, and those that would be made, with their images; of a share its own."""
    faces, dry = tmp_path / "faces", Execution(dry_run=True)

    def told(images=8, **options):
        before = {path: path.read_bytes() for path in faces.glob("*")}
        counts = run(photographs, faces, part_size=3, **{"execution": dry, **options}).counts
        assert {path: path.read_bytes() for path in faces.glob("*")} == before
        assert (counts.pop("images"), counts.pop("parts")) == (images, 3)
        return tuple(counts.values())

    assert told() == (0, 3, 8)
    assert told(part_of=PartOf(2, 2)) == (0, 1, 3)
    assert not faces.exists()
    run(photographs, faces, part_size=3)
    assert told() == (3, 0, 0)
    assert told(part_of=PartOf(1, 2)) == (2, 0, 0)
    assert told(execution=Execution(dry_run=True, retry_failed=True)) == (2, 1, 2)
    parts_of(faces)[1].unlink()
    assert told() == (2, 1, 3)
    run(photographs, faces, part_size=3)
    (photographs / "clara" / "5.jpg").write_bytes(b"new")
    assert told(images=9) == (2, 1, 3)


def add_people(images, names, picture):
    for name in names:
        for number in range(4):
            write_jpeg(images / name / f"{number}.jpg", picture)


def written(faces):
    """When each part was written."""
    return {path.name: path.stat().st_mtime_ns for path in parts_of(faces)}


def test_parts_stay_whatever_is_added_before_them(tmp_path, astronaut):
    """People who are added or taken away before others move nothing: only parts of other images are made."""
    images, faces = tmp_path / "images", tmp_path / "faces"
    picture = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)
    add_people(images, ("Ann", *(f"Tom {number}" for number in range(9))), picture)
    run(images, faces)
    before = written(faces)
    add_people(images, ("Dan", "Don", "Eve", "Lea"), picture)
    run(images, tmp_path / "fresh")
    foreseen = run(images, faces, execution=Execution(dry_run=True)).counts["parts there"]
    assert 3 <= foreseen == len(before.keys() & written(tmp_path / "fresh").keys()) < len(before)
    assert run(images, faces).done_before == foreseen
    assert all(before.get(name, at) == at for name, at in written(faces).items())
    assert_same(faces, tmp_path / "fresh")
    shutil.rmtree(images / "Dan")
    assert run(images, faces, execution=Execution(workers=1, overwrite=True)).done_before >= 3
    run(images, tmp_path / "without")
    assert_same(faces, tmp_path / "without")


def assert_same(left, right):
    """Every file but `run.json` to the byte."""
    first, second = (
        {path.name: path.read_bytes() for path in folder.glob("*") if not path.name.startswith("run.")}
        for folder in (left, right)
    )
    assert first == second


def test_shares_keep_what_others_made_before(tmp_path, astronaut):
    """Parts that fit are made again by nobody; what does not belong to the whole goes when it is whole."""
    images, faces = tmp_path / "images", tmp_path / "faces"
    add_people(images, ("Eve", "Kim", "Uma", "Zoe"), cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA))
    run(images, faces)
    before = written(faces)
    add_people(images, ("Ann", "Ben"), astronaut[:128, :128])
    for k in (1, 2):
        run(images, faces, part_of=PartOf(k, 2))
    assert all(before.get(name, at) == at for name, at in written(faces).items())
    run(images, tmp_path / "fresh")
    assert_same(faces, tmp_path / "fresh")


def test_a_folder_of_an_older_version_is_made_anew_and_says_so(photographs, tmp_path):
    """Numbered parts, their journal and the old settings go; one line tells it, this once."""
    faces = tmp_path / "faces"
    run(photographs, faces)
    fresh = tree_bytes(faces)
    for number, part in enumerate(parts_of(faces)):
        part.rename(faces / f"part-{number:05d}.parquet")
    (faces / "parts.parquet").unlink()
    (faces / "checksums-1-of-2.sha256").write_text("")
    body = {"format": 1, "settings": {"detector": "yunet", "parts": 3, "layout": "identity"}}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (faces / "settings.json").write_text(json.dumps(body | {"sha256": digest}))
    told = f"{faces} was written by an older version of facepipe: its parts are made anew, this once"
    assert told in run(photographs, faces).notes
    assert told not in run(photographs, faces).notes
    after = tree_bytes(faces)
    assert {n: c for n, c in after.items() if n != "run.json"} == {n: c for n, c in fresh.items() if n != "run.json"}


def test_retried_parts_that_were_not_finished_are_no_damage(photographs, tmp_path, monkeypatch):
    """--retry-failed that is killed after a part leaves a folder that is not finished, and goes on."""
    broken = photographs / "clara" / "4.jpg"
    run(photographs, tmp_path / "faces")
    broken.write_bytes((photographs / "anna" / "1.jpg").read_bytes()[: broken.stat().st_size])

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(extract, "finish", killed)
        run(photographs, tmp_path / "faces", execution=Execution(workers=1, retry_failed=True))
    with pytest.raises(Incomplete):
        open_faces(str(tmp_path / "faces"))
    assert run(photographs, tmp_path / "faces").done_before == 3
    assert len(open_faces(str(tmp_path / "faces")).parts) == 3
