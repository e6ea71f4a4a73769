"""`facepipe list`: rows by status and identity, as text, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json

import facesets
import pytest

from facepipe.errors import InputError, UsageError
from facepipe.execution import progress
from facepipe.stages import listing
from facepipe.storage import parquet, place


@pytest.fixture
def faces(tmp_path):
    rows = [facesets.make_row(0, 0), facesets.make_row(0, 1), facesets.make_failure(0, 2), facesets.make_row(1, 0)]
    rows += [facesets.make_failure(1, 1, "decode_error"), facesets.make_row(2, 0, identity="\x1b[31mred\n")]
    facesets.write_faces(tmp_path / "faces", rows, part_size=2)
    return str(tmp_path / "faces")


@pytest.mark.parametrize(
    ("statuses", "identities", "first_words", "count"),
    [
        ((), (), ["ok", "ok", "no_face", "ok", "decode_error", "ok"], "6 rows"),
        (("no_face",), (), ["no_face"], "1 row"),
        (("no_face", "decode_error"), (), ["no_face", "decode_error"], "2 rows"),
        ((), ("p001",), ["ok", "decode_error"], "2 rows"),
        (("ok",), ("p000", "p001"), ["ok", "ok", "ok"], "3 rows"),
        (("timeout",), (), [], "0 rows"),
    ],
)
def test_rows_are_chosen_by_status_and_identity(faces, capsys, statuses, identities, first_words, count):
    """In the order of the parts; how many there are is told apart from them."""
    listing.run(faces, statuses, identities, chosen=[], as_csv=False, quiet=False)
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == first_words
    assert err == f"{count}\n"


def test_a_line_tells_the_pose_or_the_reason_and_no_name_forges_one(faces, capsys):
    listing.run(faces, (), (), chosen=[], as_csv=False, quiet=True)
    out, err = capsys.readouterr()
    first, _, third, *_, last = out.splitlines()
    assert first.split() == ["ok", "p000", "p000/v0/0000.jpg#0", "yaw", "-13.5,", "pitch", "0.0,", "score", "0.90"]
    assert third.startswith("no_face     p000  p000/v0/0002.jpg#-1  ")
    assert (len(out.splitlines()), "\x1b" in last, err) == (6, False, "")


def test_csv_has_every_column_that_holds_one_value(faces, capsys):
    listing.run(faces, ("ok",), (), chosen=[], as_csv=True, quiet=True)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert tuple(rows[0]) == listing.COLUMNS
    assert [row["identity"] for row in rows] == ["p000", "p000", "p001", "\x1b[31mred\n"]
    assert float(rows[0]["yaw"]) == -13.5


def test_a_pose_that_is_not_known_is_no_number(tmp_path, capsys):
    facesets.write_faces(tmp_path / "faces", [facesets.make_row(0, 0, yaw=float("nan"), pitch=float("nan"))])
    listing.run(str(tmp_path / "faces"), (), (), chosen=[], as_csv=False, quiet=True)
    assert capsys.readouterr().out.endswith("  pose unknown, score 0.90\n")


def test_json_has_no_nan(faces, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_format", ["json"])
    listing.run(faces, ("no_face",), (), chosen=[], as_csv=False, quiet=True)
    row = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (row["event"], row["status"], row["score"]) == ("row", "no_face", None)


@pytest.mark.parametrize(
    ("statuses", "identities", "error", "said"),
    [
        (("okk",), (), UsageError, "--status is 'okk'; did you mean ok?"),
        ((), ("nobody",), UsageError, "has no row of the identity 'nobody'; it can be "),
        ((), ("caf\udce9",), UsageError, "has no row of the identity 'caf.+xe9'"),
        (("ok",), ("p0001",), UsageError, "has no row of the identity 'p0001'; did you mean p001?"),
    ],
)
def test_a_wrong_name_is_told(faces, statuses, identities, error, said):
    with pytest.raises(error, match=said.replace("?", r"\?")):
        listing.run(faces, statuses, identities, chosen=[], as_csv=False, quiet=True)


def test_without_faces_it_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="facepipe extract"):
        listing.run(str(tmp_path), (), (), chosen=[], as_csv=False, quiet=True)


def test_faces_that_are_left_out_are_listed_by_their_reason(faces, tmp_path, capsys):
    """With what was measured, and what is kept in its place; what is not asked for stays away."""
    left_out = [("p000/v0/0000.jpg#0", "guard", 0.8125, ""), ("p000/v0/0001.jpg#0", "thin", 12.0, "p000/v0/0000.jpg#0")]
    columns = {name: [row[at] for row in left_out] for at, name in enumerate(("key", "reason", "value", "kept_key"))}
    table = parquet.Table.from_pydict({**columns, "identity": ["p000"] * 2, "video": [""] * 2})
    parquet.write_table(place(str(tmp_path / "targets")), "left_out.parquet", table.select(parquet.LEFT_OUT.names))
    targets = str(tmp_path / "targets")
    for statuses, lines in (
        (("guard",), ["guard       p000  p000/v0/0000.jpg#0  left out by --guard (0.8125)"]),
        (("thin",), ["thin        p000  p000/v0/0001.jpg#0  left out by --thin (12), p000/v0/0000.jpg#0 is kept"]),
        (("max_yaw",), []),
    ):
        listing.run(faces, statuses, (), chosen=[targets], as_csv=False, quiet=True)
        assert capsys.readouterr().out.splitlines() == lines
    listing.run(faces, ("ok", "guard"), ("p000",), chosen=[targets], as_csv=False, quiet=True)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["guard", "ok"]
    listing.run(faces, ("guard",), (), chosen=[str(tmp_path / "none")], as_csv=False, quiet=False)
    assert capsys.readouterr().err == "0 rows\n"
