"""An autoencoder at work: faces -> embeddings as a Parquet file.

Columns of the Parquet file: `key`, `identity` string; `yaw` float (degrees, NaN where it can't be told); `fingerprint`
list<float32>. `facepipe report --fingerprints` reads it to look for wrong people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import facepipe
from facepipe.errors import InputError, UsageError
from facepipe.storage import file_at
from train.data import decoded, fit_image, read_examples, read_image
from train.files import file_in
from train.shards import ImageView, find_shards
from train.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from train.config import AutoencoderConfig
    from train.runs import Run

    Rows = tuple[list[str], list[str], list[float], NDArray[np.uint8]]
    """Keys, identities, yaws, and the faces (n, s, s, c) as the model takes them."""

BATCH = 1024
NAME = "fingerprints.parquet"
"""In a folder, unless another one is given."""


def write_fingerprints(
    run: Run, faces: str, shards: str, output: str, checkpoint: str, say: Callable[[str], None]
) -> int:
    """Encodes every usable crop of a faces folder, or every feature in shards of pairs; gives how many.

    Args:
        run: An autoencoder's.
        faces: What `facepipe extract` wrote; used where `shards` is empty.
        shards: What `facepipe shard` wrote, or "".
        output: The Parquet file, or a folder to put it in; a path or URI.
        checkpoint: best or last.
        say: Takes the closing line.

    Raises:
        InputError: There are no faces.
    """
    trained = Trained(run, checkpoint)
    groups = _of_shards(shards, trained.config) if shards else _of_crops(faces, trained.config)
    output = file_in(output, NAME)
    folder, name = file_at(output)
    count = 0
    with folder.open_output(name) as file:
        writer = None
        for keys, identities, yaws, images in groups:
            table = _table(keys, identities, yaws, trained.encode(images))
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
            count += len(keys)
        if writer is None:
            raise InputError(
                f"{shards or faces} holds no usable face; run `facepipe extract` over photographs of people"
            )
        writer.close()
    say(f"{count:,} fingerprints in {output}")
    return count


def _table(keys: list[str], identities: list[str], yaws: list[float], vectors: NDArray[np.float32]) -> pa.Table:
    flat = pa.array(vectors.reshape(-1))
    # Plain lists, not of fixed size: every reader of Parquet knows them.
    bounds = pa.array(np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32))
    lists = pa.ListArray.from_arrays(bounds, flat)
    columns = {"key": keys, "identity": identities, "yaw": pa.array(yaws, pa.float32()), "fingerprint": lists}
    return pa.table(columns)


def _of_crops(folder: str, config: AutoencoderConfig) -> Iterator[Rows]:
    """The `ok` rows of a faces folder, in their order."""
    dataset = facepipe.open_faces(folder)
    columns = ["key", "identity", "status", "yaw", "crop"]
    for batch in dataset.to_batches(columns=columns, batch_size=BATCH, use_threads=False):
        rows = [row for row in batch.to_pylist() if row["status"] == "ok" and row["crop"]]
        if rows:
            images = np.stack([model_face(decoded(row["crop"]["bytes"], row["key"]), config) for row in rows])
            yaws = [row["yaw"] if row["yaw"] is not None else float("nan") for row in rows]
            yield [row["key"] for row in rows], [row["identity"] for row in rows], yaws, images


def model_face(crop: NDArray[np.uint8], config: AutoencoderConfig) -> NDArray[np.uint8]:
    """A crop (s, s, 3) as the model takes it; an `UsageError` where it is too small for that."""
    if crop.shape[0] < config.input_size:
        raise UsageError(
            f"the crops have {crop.shape[0]} px, the model takes {config.input_size}; "
            f"run `facepipe extract --crop-size {config.input_size} --overwrite`"
        )
    return fit_image(crop, config.input_size, config.channels)


def _of_shards(folder: str, config: AutoencoderConfig) -> Iterator[Rows]:
    """The features of every subset; a noisy copy's key ends in its number."""
    shards = find_shards(folder, "pairs")
    view = ImageView("feature", config.input_size, config.channels)
    waiting: list[tuple[str, str, float, Any]] = []
    for subset in shards.files:
        for example in read_examples(shards, subset):
            copy = example["copy"][0]
            key = example["key"][0].decode() + (f"#{copy}" if copy else "")
            image = read_image(example["feature"][0], shards, view)
            waiting.append((key, example["identity"][0].decode(), example["feature_yaw"][0], image))
            if len(waiting) == BATCH:
                yield _rows(waiting)
                waiting = []
    if waiting:
        yield _rows(waiting)


def _rows(entries: list[tuple[str, str, float, Any]]) -> Rows:
    keys, identities, yaws, images = (list(column) for column in zip(*entries, strict=True))
    return keys, identities, yaws, np.stack(images)
