"""Small pictures for the page, as data URIs: stored crops, thumbnails of inputs, and examples of noise."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.report.thumbnails import jpeg_uri, make_thumbnails
from facepipe.storage import place, tfrecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from facepipe.records import Image
    from facepipe.report.people import People
    from facepipe.report.readings import Example, Readings
    from facepipe.report.sections import StatusLine

_QUALITY = 82
_RECORDS_READ = 600


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture and what stands under it. uri: a data URI, empty where there is no picture."""

    uri: str
    caption: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class NoiseExample:
    """One record of the shards. name: kind and strength, `clean` for none. feature, target: data URIs."""

    name: str
    feature: str
    target: str


def to_uri(image: Image) -> str:
    """(h, w, 3) uint8 RGB -> a JPEG data URI."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return jpeg_uri(bytes(data))


def crop_uri(picture: bytes, side: int = 96) -> str:
    """A stored crop as a data URI, `side` px."""
    return to_uri(decode_crop(picture, side))


def decode_crop(picture: bytes, side: int) -> Image:
    """A stored crop as (side, side, 3) uint8 RGB."""
    decoded = np.asarray(cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR), dtype=np.uint8)
    kind = cv2.INTER_AREA if side < decoded.shape[0] else cv2.INTER_CUBIC
    resized = cv2.resize(decoded, (side, side), interpolation=kind)
    return np.ascontiguousarray(resized[..., ::-1], dtype=np.uint8)


def show_examples(readings: Readings, people: People, statuses: Sequence[StatusLine]) -> list[list[Shown]]:
    """Some rows of each status: the crop where there is one, else the input made small, the face boxed."""
    chosen = [readings.examples.get(line.status, []) for line in statuses]
    crops = {one.key: people.crops.read(*one.at) for some in chosen for one in some}
    without = sorted({(one.path, one.box) for some in chosen for one in some if not crops[one.key]})
    images = readings.runs.get("extract", {}).get("input") or place(readings.data).join("images").uri
    small = make_thumbnails(images, without)

    def show(one: Example) -> Shown:
        crop = crops[one.key]
        return Shown(crop_uri(crop) if crop else small.get((one.path, one.box), ""), one.key, one.error)

    return [[show(one) for one in some] for some in chosen]


def show_noise(readings: Readings) -> list[NoiseExample]:
    """One training example of every noise and strength, from the shards themselves."""
    settings = readings.runs.get("shard pairs", {}).get("settings")
    if not settings:
        return []
    shards = place(readings.data).join("shards", "pairs", "1.0.0")
    names = [entry.path for entry in shards.list() if entry.path.startswith("pairs-train.tfrecord-")]
    found: dict[tuple[str, float], NoiseExample] = {}
    if names:
        with shards.open_input(names[0]) as file:
            for number, record in enumerate(tfrecord.read_records(file, f"{shards}/{names[0]}")):
                if number == _RECORDS_READ:
                    break
                _note_noise(found, tfrecord.decode_example(record), settings)
    return [found[name] for name in sorted(found)]


def _note_noise(
    found: dict[tuple[str, float], NoiseExample], example: dict[str, list[Any]], settings: dict[str, Any]
) -> None:
    kind, strength = example["noise"][0].decode(), round(float(example["noise_strength"][0]), 4)
    if (kind, strength) not in found:
        name = f"{kind} {strength:g}" if kind else "clean"
        feature, target = (to_uri(_pixels(example[side][0], settings)) for side in ("feature", "target"))
        found[kind, strength] = NoiseExample(name, feature, target)


def _pixels(content: bytes, settings: dict[str, Any]) -> Image:
    """A shard's image, twice as large, (2 size, 2 size, 3) uint8 RGB."""
    size, channels = int(settings["size"]), 3 if settings["color"] == "rgb" else 1
    if settings["encoding"] == "raw":
        image = np.frombuffer(content, np.uint8).reshape(size, size, channels)
    else:
        from PIL import Image as Pictures

        image = np.asarray(Pictures.open(io.BytesIO(content)).convert("RGB"))
    rgb = np.broadcast_to(image, (size, size, 3))
    return np.ascontiguousarray(rgb.repeat(2, axis=0).repeat(2, axis=1))
