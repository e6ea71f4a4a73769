"""Inputs made small for the page, in a process of their own: one that ends its reader, or never ends, costs itself."""

from __future__ import annotations

import base64
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.config import Execution
from facepipe.errors import FacepipeError, ImageError
from facepipe.execution import PartReport, run_parts
from facepipe.media.image import decode
from facepipe.storage import place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from facepipe.execution import Guard

Wanted = tuple[str, tuple[float, ...]]
"""The path of an input, and x1, y1, x2, y2 (px) of the face in it that is meant; empty where none is."""
SIDE = 128
"""px of the longer side."""
BOX_SIDE = 8
"""px at least of a face's box."""
BOX_COLOUR = (70, 195, 155)
TIMEOUT_S = 10.0
"""A picture that takes longer is not shown."""
MAX_FILE_BYTES = 2**27
MAX_PIXELS = 50_000_000
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 82]


@dataclass(frozen=True)
class ThumbnailJob:
    """Writes the inputs `wanted` of `images` small into `folder`, the n-th as `n.jpg`, if it can be read."""

    images: str
    wanted: tuple[Wanted, ...]
    folder: str

    def __call__(self, number: int, guard: Guard) -> PartReport:  # noqa: ARG002 - there is one part
        """Reads one input after the other; `guard` is told of each before it is touched."""
        for index, (path, box) in enumerate(self.wanted):
            guard.on(index)
            if index not in guard.blamed and (picture := _small(self.images, path, box)):
                Path(self.folder, f"{index}.jpg").write_bytes(picture)
        return PartReport(items=len(self.wanted))


def _small(images: str, path: str, box: tuple[float, ...]) -> bytes:
    """An input as a small JPEG; empty where it can't be read, which may be why it is shown."""
    try:
        image = decode(place(images).read(path, MAX_FILE_BYTES), max_pixels=MAX_PIXELS)
    except (FacepipeError, ImageError):
        return b""
    scale = SIDE / max(image.shape[:2])
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    if box:
        x1, y1, x2, y2 = (round(edge * scale) for edge in box)
        cv2.rectangle(small, (x1, y1), (max(x2, x1 + BOX_SIDE), max(y2, y1 + BOX_SIDE)), BOX_COLOUR, 2)
    return bytes(cv2.imencode(".jpg", small[..., ::-1], _JPEG)[1])


def make_thumbnails(images: str, wanted: Sequence[Wanted]) -> dict[Wanted, str]:
    """Data URIs of the inputs that can be read."""
    if not wanted:
        return {}
    with tempfile.TemporaryDirectory(prefix="facepipe-report-") as folder:
        job = ThumbnailJob(images, tuple(wanted), folder)
        run_parts(job, [0], execution=Execution(workers=1), timeout_s=TIMEOUT_S, on_done=lambda _number, _report: None)
        made = {one: Path(folder, f"{index}.jpg") for index, one in enumerate(wanted)}
        return {one: jpeg_uri(file.read_bytes()) for one, file in made.items() if file.exists()}


def jpeg_uri(picture: bytes) -> str:
    """A JPEG as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode()
