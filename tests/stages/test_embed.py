"""embed: an embedding for every usable face, made once, resumed, refused and verified as promised."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.config import EmbedConfig, Execution, ExtractConfig
from facepipe.errors import InputError, SettingsChanged
from facepipe.execution.progress import QuietProgress
from facepipe.stages import embed, extract, verify
from facepipe.storage import parquet, place

ONE = Execution(workers=1)


def write_images(folder, astronaut, numbers):
    for number in numbers:
        (folder / f"p{number}").mkdir(parents=True, exist_ok=True)
        pixels = np.clip(astronaut[..., ::-1] * (1 - number / 10), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"p{number}" / "a.png"), pixels)
    (folder / "none").mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "none" / "a.png"), np.zeros((90, 90, 3), np.uint8))


def make(folder, **options):
    """Extracts and embeds; gives the report."""
    extract.run(
        ExtractConfig(input=str(folder / "images"), output=str(folder / "faces"), part_size=1, execution=ONE),
        QuietProgress(),
    )
    return run(folder, **options)


def run(folder, **options):
    config = EmbedConfig(
        input=str(folder / "faces"), output=str(folder / "embeddings"), execution=Execution(workers=1, **options)
    )
    return embed.run(config, QuietProgress())


def contents(folder):
    return {path.name: path.read_bytes() for path in (folder / "embeddings").glob("*.parquet")}


@pytest.fixture(scope="module")
def made(tmp_path_factory, astronaut):
    folder = tmp_path_factory.mktemp("embed")
    write_images(folder / "images", astronaut, range(3))
    return folder, make(folder)


def test_every_usable_face_has_an_embedding(made):
    """Keys as in the faces, none for a picture without a face; the same face's are alike; verify is content."""
    folder, report = made
    rows = [r for _, t in parquet.iterate_parts(place(str(folder / "embeddings"))) for r in t.to_pylist()]
    assert sorted(row["key"] for row in rows) == [f"p{n}/a.png#0" for n in range(3)]
    assert report.counts == {"embeddings": 3, "faces without landmarks": 0}
    found = np.array([row["embedding"] for row in rows], np.float32)
    assert found.shape == (3, 128)
    assert (found @ found.T > 0.97).all()
    assert verify.run(str(folder), QuietProgress()) == []
    assert verify.run(str(folder / "embeddings"), QuietProgress()) == []


def test_what_is_there_is_not_made_again(made, astronaut):
    """A rerun makes nothing, a part that is gone is made anew with the same bytes, images more move nothing."""
    folder, _ = made
    before = contents(folder)
    assert run(folder).done_before == len(before) == 4
    (folder / "embeddings" / max(before, key=lambda name: len(before[name]))).unlink()
    assert run(folder).done_before == 3
    assert contents(folder) == before
    write_images(folder / "images", astronaut, [4])
    assert make(folder).done_before == 4
    after = contents(folder)
    assert len(after) == 5
    assert before.items() <= after.items()
    assert verify.run(str(folder), QuietProgress()) == []


def test_damage_is_found_and_mended(made):
    """verify names a part copied over another, and missing ones; embed makes them again."""
    folder, _ = made
    parts = sorted((folder / "embeddings").glob("*.parquet"), key=lambda path: path.stat().st_size)
    before = contents(folder)
    parts[-1].write_bytes(parts[-2].read_bytes())
    assert any("its keys are not" in one.message for one in verify.run(str(folder), QuietProgress()))
    run(folder)
    assert contents(folder) == before
    assert verify.run(str(folder), QuietProgress()) == []


def test_refusals(made, tmp_path, monkeypatch):
    """No faces, and embeddings of another network, are told with what to do."""
    folder, _ = made
    with pytest.raises(InputError, match="run `facepipe extract` first"):
        run(tmp_path)
    monkeypatch.setattr(embed, "network_digest", lambda: "another")
    with pytest.raises(SettingsChanged, match="model"):
        run(folder)
    assert "would read" in run(folder, dry_run=True, overwrite=True).notes[0]
