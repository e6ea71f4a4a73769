"""`select --guard` on real photographs: strangers are left out, people who are two or one are told, errors say what to do."""

from __future__ import annotations

import csv
import html
import json
import shutil

import numpy as np
import pytest
from facesets import hash_folder, make_row, make_rows, write_faces

from facepipe.config import GUARD, EmbedConfig, Execution, ExtractConfig, SelectConfig, SplitConfig
from facepipe.errors import Incomplete, InputError, SettingsChanged
from facepipe.execution.progress import QuietProgress
from facepipe.report import page
from facepipe.stages import embed, extract, select, split, verify
from facepipe.stages.pipeline import run_all
from facepipe.storage import parquet, place
from facepipe.storage.settings import read_settings, write_settings

PEOPLE = 6
TWO, ONE, FEW, ODD = "two in one", "again", "few", "with a stranger"


def run(data, output, **options):
    paths = {"input": str(data / "faces"), "embeddings": str(data / "embeddings"), "output": str(output)}
    return select.run(SelectConfig(**paths, **options), QuietProgress())


def read(folder, name):
    return parquet.read_table(place(str(folder)), name).to_pylist()


@pytest.fixture(scope="module")
def data(shared_data, tmp_path_factory):
    """People of LFW: one identity is two of them, one holds a stranger, one has two photographs, one is there twice."""
    folder = tmp_path_factory.mktemp("guard")
    photographs = {
        one.name: [str(path.relative_to(shared_data / "lfw")) for path in sorted(one.glob("*.jpg"))]
        for one in sorted((shared_data / "lfw").iterdir())
    }
    a, b, c, d, e = [name for name, paths in photographs.items() if len(paths) >= 8][:5]
    whose = {
        a: photographs[a][:4],
        ONE: photographs[a][4:8],
        TWO: photographs[b][:5] + photographs[c][:3],
        ODD: photographs[d][:6] + photographs[c][3:4],
        FEW: photographs[e][:2],
    }
    with open(folder / "people.csv", "w", newline="", encoding="utf-8") as file:
        rows = [(path, identity) for identity, paths in whose.items() for path in paths]
        csv.writer(file).writerows([("path", "identity"), *rows])
    config = ExtractConfig(
        input=str(shared_data / "lfw"), manifest=str(folder / "people.csv"), output=str(folder / "faces")
    )
    extract.run(config, QuietProgress())
    embed.run(EmbedConfig(input=str(folder / "faces"), output=str(folder / "embeddings")), QuietProgress())
    return folder, whose, a


def test_strangers_are_left_out_and_mixed_people_told(data, tmp_path):
    """The stranger and the smaller group are neither target nor feature, each with its similarity; others all stay."""
    folder, whose, a = data
    report = run(folder, tmp_path, guard=GUARD)
    strangers = {*whose[TWO][5:], whose[ODD][6]}
    left_out = {row["key"].partition("#")[0]: row for row in read(tmp_path, "left_out.parquet")}
    assert left_out.keys() == strangers
    assert {row["reason"] for row in left_out.values()} == {"guard"}
    assert all(0.7 < row["value"] < GUARD for row in left_out.values())
    assert report.counts == {"targets": 5, "without a target": 0, "left out by --guard": 4}
    told = {row["identity"]: row for row in read(tmp_path, "identities.parquet")}
    assert {name: row["verdict"] for name, row in told.items()} == {
        name: {TWO: "two people", FEW: "too few faces"}.get(name, "one person") for name in whose
    }
    assert {key.partition("#")[0] for key in told[TWO]["second_keys"]} == set(whose[TWO][5:])
    assert {name: row["same_as"] for name, row in told.items() if row["same_as"]} == {a: ONE, ONE: a}
    assert told[a]["same_similarity"] == told[ONE]["same_similarity"] > 0.96
    assert (told[ODD]["faces"], told[ODD]["left_out"], told[TWO]["left_out"]) == (7, 1, 3)
    assert report.notes == [
        f"identities that look like two people: 1 ({TWO}); identities.parquet lists them",
        f"pairs of identities that look like one person: 1 ({a} and {ONE}); identities.parquet lists them",
        f"identities of fewer than 3 faces, too few to judge: 1 ({FEW}); identities.parquet lists them",
    ]
    split.run(
        SplitConfig(faces=str(folder / "faces"), targets=str(tmp_path), output=str(tmp_path / "pairs")),
        QuietProgress(),
    )
    taken = {row[name] for row in read(tmp_path / "pairs", "part-00000.parquet") for name in ("key", "target_key")}
    assert not {key.partition("#")[0] for key in taken} & strangers
    again = run(folder, tmp_path, guard=GUARD)
    assert (again.done_before, again.counts, again.notes) == (1, report.counts, report.notes)


def test_a_person_s_word_counts_more(data, tmp_path):
    """A face that is to stay stays, though it is unlike the others."""
    folder, whose, _ = data
    keys = {
        row["key"]
        for _, part in parquet.iterate_parts(place(str(folder / "faces")), ["key"])
        for row in part.to_pylist()
    }
    stranger = next(key for key in keys if key.startswith(whose[ODD][6]))
    (tmp_path / "o.csv").write_text(f"key,action\n{stranger},keep\n")
    run(folder, tmp_path / "t", guard=GUARD, overrides=str(tmp_path / "o.csv"))
    assert stranger not in {row["key"] for row in read(tmp_path / "t", "left_out.parquet")}


def test_verify_accepts_it_and_tells_a_table_that_does_not_fit(data, tmp_path):
    """The page tells its verdicts. An identity that is not judged; a face left out that is alike enough; a table that is missing; another network."""
    folder, _, _ = data
    for name in ("faces", "embeddings"):
        shutil.copytree(folder / name, tmp_path / name)
    targets = tmp_path / "targets"
    report = run(tmp_path, targets, guard=GUARD)
    assert verify.run(str(tmp_path), QuietProgress()) == []
    page.build(str(tmp_path), str(tmp_path / "report.html"))
    shown = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [told for told in report.notes if html.escape(told) not in shown] == []
    for name, change, told in (
        ("identities.parquet", lambda rows: rows[1:], "its identities are not those of targets.parquet"),
        ("left_out.parquet", lambda rows: [dict(rows[0], value=0.99)], "as alike as --guard 0.945 asks for"),
    ):
        good = (targets / name).read_bytes()
        schema = {"identities.parquet": parquet.IDENTITIES, "left_out.parquet": parquet.LEFT_OUT}[name]
        rows = change(read(targets, name))
        parquet.write_table(place(str(targets)), name, parquet.Table.from_pylist(rows, schema=schema))
        assert any(told in str(one) for one in verify.run(str(tmp_path), QuietProgress())), told
        (targets / name).write_bytes(good)
    (targets / "identities.parquet").unlink()
    assert any("identities.parquet" in str(one) for one in verify.run(str(tmp_path), QuietProgress()))
    before = hash_folder(folder / "faces")
    run(tmp_path, targets, guard=GUARD)
    assert verify.run(str(tmp_path), QuietProgress()) == []
    assert before == hash_folder(tmp_path / "faces")
    settings = read_settings(place(str(targets)))
    settings["inputs"]["embed"] = "another"
    write_settings(place(str(targets)), settings)
    assert any("embeddings of another network" in str(one) for one in verify.run(str(tmp_path), QuietProgress()))


def fake_embeddings(folder, **changes):
    """A finished folder of embeddings of three people, (person, its own direction) for each face."""
    faces = write_faces(folder / "faces", make_rows(3))
    rng = np.random.default_rng(0)
    from facepipe.stages.faces import open_faces

    whole, out = open_faces(faces), place(str(folder / "embeddings"))
    for name, made in zip(whole.names, embed.part_names(whole), strict=True):
        keys = embed.read_usable(whole.place, name, ("key", "status", "landmarks")).column("key").to_pylist()
        vectors = rng.normal(size=(len(keys), 128))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        table = {"key": keys, "embedding": [list(map(float, vector)) for vector in vectors]}
        parquet.write_table(out, made, parquet.Table.from_pydict(table, schema=parquet.EMBEDDINGS))
    write_settings(out, {"stage": "embed", "model": embed.network_digest(), "inputs": {}, **changes})
    return faces


def test_errors_say_what_to_do(tmp_path):
    """No embeddings, another network's, those of other faces; nothing is asked for without --guard."""
    write_faces(tmp_path / "faces", make_rows(3))
    run(tmp_path, tmp_path / "without")
    with pytest.raises(
        InputError, match="holds no embeddings; run `facepipe embed` first, or give another --embeddings"
    ):
        run(tmp_path, tmp_path / "t", guard=0.9)
    fake_embeddings(tmp_path, model="another")
    with pytest.raises(SettingsChanged, match="made by another network; run `facepipe embed --overwrite`"):
        run(tmp_path, tmp_path / "t", guard=0.9)
    fake_embeddings(tmp_path)
    report = run(tmp_path, tmp_path / "t", guard=0.9)
    assert report.counts["left out by --guard"] == 15  # embeddings of nobody: none is like another
    write_faces(tmp_path / "faces", [*make_rows(3), make_row(7, 0)])
    with pytest.raises(Incomplete, match=r"lacks the embeddings of 1 of the 2 parts of .*; run `facepipe embed` again"):
        run(tmp_path, tmp_path / "t", guard=0.9, execution=Execution(overwrite=True))


def test_the_setting_is_told_and_the_network_is_an_input(tmp_path):
    """Another threshold needs --overwrite."""
    fake_embeddings(tmp_path)
    run(tmp_path, tmp_path / "t", guard=0.9)
    settings = json.loads((tmp_path / "t" / "settings.json").read_text())["settings"]
    assert (settings["guard"], settings["inputs"]["embed"]) == (0.9, embed.network_digest())
    with pytest.raises(SettingsChanged, match=r"\(--guard 0\.9 -> keep all\)"):
        run(tmp_path, tmp_path / "t")


def test_a_run_that_checks_identities_has_the_guard(shared_data, tmp_path):
    """By the default threshold or the one that is given; a guard that is asked for gets its embeddings."""
    people = sorted(path for path in (shared_data / "lfw").iterdir() if len(list(path.glob("*.jpg"))) == 4)[:2]
    for person in people:
        shutil.copytree(person, tmp_path / "images" / person.name)
    cases = ({"guard": 0.9}, 0.9), ({"identity": "check"}, GUARD), ({"identity": "check", "guard": 0.0}, 0.0)
    for number, (given, guard) in enumerate(cases):
        data = tmp_path / f"data-{number}"
        for made in ("faces", "embeddings") if number else ():  # by the first run
            shutil.copytree(tmp_path / "data-0" / made, data / made)
        reports = list(run_all(str(tmp_path / "images"), str(data), {}, {**given, "workers": 1}, QuietProgress()))
        assert [report.stage for report in reports][:2] == ["extract", "select"]
        assert read_settings(place(str(data / "targets"))).get("guard", 0.0) == guard
        assert (data / "targets" / "identities.parquet").exists() == bool(guard)
        assert parquet.part_names(place(str(data / "embeddings")))
