"""Small pictures for the page, as data URIs: stored crops, thumbnails of inputs, and examples of noise."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe import parquet, tfrecord
from facepipe.errors import FacepipeError, ImageError
from facepipe.media.image import decode
from facepipe.report.people import decode_crop
from facepipe.storage import place

if TYPE_CHECKING:
    from typing import Any

    from facepipe.records import Image
    from facepipe.report.readings import Example, Readings
    from facepipe.storage import Place

_QUALITY = 82
_MAX_PIXELS = 50_000_000
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
    return "data:image/jpeg;base64," + base64.b64encode(bytes(data)).decode()


def crop_uri(picture: bytes, side: int = 96) -> str:
    """A stored crop as a data URI, `side` px."""
    return to_uri(decode_crop(picture, side))


def show_examples(readings: Readings, status: str, count: int = 6) -> list[Shown]:
    """Some rows of a status: the crop where there is one, else the input made small, else only its key."""
    workspace = place(readings.data)
    shown = []
    for example in readings.sample.examples.get(status, [])[:count]:
        picture = _crop_of(workspace.join("faces"), example)
        uri = crop_uri(picture) if picture else _thumbnail(workspace.join("images"), example.path)
        shown.append(Shown(uri, example.key, example.error))
    return shown


def _crop_of(faces: Place, example: Example) -> bytes | None:
    column = parquet.read_table(faces, example.part, ["crop.bytes"]).column("crop")
    crop = column[example.row].as_py()
    return crop["bytes"] if crop else None


def _thumbnail(images: Place, path: str, side: int = 128) -> str:
    """An input with its longer side at `side` px; empty where it can't be read (which may be why it is shown)."""
    try:
        image = decode(images.read(path, 1 << 27), max_pixels=_MAX_PIXELS)
    except (FacepipeError, ImageError):
        return ""
    scale = side / max(image.shape[:2])
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    return to_uri(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))


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
