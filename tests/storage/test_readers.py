"""What the tools that people have make of the files: each in its own way, the same rows and pictures."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from facepipe.storage import place
from facepipe.storage.tfrecord import decode_example, read_records

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

from people import stages_of, write_people

ROOT = Path(__file__).resolve().parents[2]
TABLES = ["faces/parts.parquet", "faces/plan.pq", "targets/targets.parquet", "pairs/part-00000.parquet"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A workspace of real photographs of four people, one picture without a face, and shards of 64 px."""
    from skimage import data as photographs

    root = tmp_path_factory.mktemp("readers") / "data"
    write_people(place(str(root / "images")), photographs.astronaut(), 4, 5)
    cv2.imwrite(str(root / "images" / "person-00" / "wall.jpg"), np.full((99, 99, 3), 120, np.uint8))
    for make in stages_of(str(root), size=64, part_size=512).values():
        make()
    return root


def plain(value):
    """Python values that compare equal, whichever library they come from; NaN and a missing value are None."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType":
        return None
    return value.item() if isinstance(value, np.generic) else bytes(value) if isinstance(value, bytearray) else value


def with_pandas(file):
    import pandas as pd

    return pd.read_parquet(file).to_dict("records")


def with_polars(file):
    import polars as pl

    return pl.read_parquet(file).to_dicts()


def with_duckdb(file):
    import duckdb

    found = duckdb.read_parquet(file)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


@pytest.mark.parametrize("file", ["faces/part-*.parquet", *TABLES])
@pytest.mark.parametrize("read", [with_pandas, with_polars, with_duckdb])
def test_every_parquet_file_reads_as_it_is(data, file, read):
    """Every row and column, lists and crops too."""
    pytest.importorskip(read.__name__.removeprefix("with_"))
    [path] = data.glob(file)
    expected = plain(pq.read_table(path).to_pylist())
    assert expected
    assert plain(read(str(path))) == expected


def test_all_parquet_files_are_tried(data):
    """None is written that the test above leaves out."""
    written = [*data.rglob("*.parquet"), *data.rglob("*.pq")]
    [part] = (data / "faces").glob("part-*.parquet")
    assert sorted(str(path.relative_to(data)) for path in written if path != part) == sorted(TABLES)


PICTURES = """
rows = load_dataset("parquet", data_files="data/faces/part-*.parquet", split="train")
print(type(rows.features["crop"]).__name__)
for row in rows:
    crop = row["crop"]
    print(row["key"], crop and (type(crop).__module__.split(".")[0], crop.mode, crop.size, sum(crop.tobytes())))
"""


def shown_in_the_docs(word):
    """The block of Python in docs/tasks/elsewhere.md that holds this word."""
    page = (ROOT / "docs" / "tasks" / "elsewhere.md").read_text(encoding="utf-8")
    return next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if word in block)


def test_hugging_face_datasets_shows_pictures(data, tmp_path):
    """The code of docs/tasks/elsewhere.md shows a face where the first row has none; crops are images, as Pillow's, or none.

    The whole folder is no table, as the page warns.
    """
    from PIL import Image

    faces = shutil.copytree(data / "faces", tmp_path / "data" / "faces")
    [part] = faces.glob("part-*.parquet")
    table = pq.read_table(part)
    table = table.take(pc.sort_indices(table["status"]))  # no_face before ok
    pq.write_table(table, part)
    home = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    code = shown_in_the_docs("load_dataset(").replace(".show()", ".save('face.png')") + PICTURES
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **home}, capture_output=True, text=True, check=True)
    assert cv2.imread(str(tmp_path / "face.png")).shape == (128, 128, 3)
    expected = ["Image"]
    for row in table.select(["key", "crop"]).to_pylist():
        content = row["crop"] and row["crop"]["bytes"]
        pixels = content and Image.open(io.BytesIO(content)).tobytes()
        expected.append(f"{row['key']} {content and ('PIL', 'RGB', (128, 128), sum(pixels))}")
    assert done.stdout.splitlines() == expected
    assert expected[1].endswith(" None")
    assert sum(line.endswith(" None") for line in expected) == 1
    with pytest.raises(pa.ArrowInvalid):
        pq.read_table(faces)


TFDS = """
import sys, json
import tensorflow_datasets as tfds
pairs = tfds.load("pairs", data_dir=sys.argv[1])
print(json.dumps({name: sorted((e["key"].decode(), int(e["feature"].sum())) for e in tfds.as_numpy(rows))
                  for name, rows in pairs.items()}))
"""


def examples(data) -> dict[str, list[dict]]:
    """Subset -> its records, read by facepipe itself."""
    found: dict[str, list[dict]] = {}
    for path in sorted((data / "shards" / "pairs" / "1.0.0").glob("pairs-*.tfrecord-*")):
        subset = path.name.split(".")[0].removeprefix("pairs-")
        with path.open("rb") as file:
            found.setdefault(subset, []).extend(decode_example(record) for record in read_records(file))
    return found


@pytest.mark.slow
@pytest.mark.tensorflow
def test_tensorflow_datasets_load_by_name(data):
    """`tfds.load("pairs", data_dir=...)`: every subset, every key, the same pixels."""
    pytest.importorskip("tensorflow_datasets")
    done = subprocess.run(
        [sys.executable, "-c", TFDS, str(data / "shards")], capture_output=True, text=True, check=True
    )
    expected = {
        subset: sorted([e["key"][0].decode(), sum(e["feature"][0])] for e in rows)
        for subset, rows in examples(data).items()
    }
    assert json.loads(done.stdout.splitlines()[-1]) == expected
