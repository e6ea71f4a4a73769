"""Every crop is read and decoded once: its pixels, at their final size and colour, wait in a file a part."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.dataset.seeding import Draws
from facepipe.errors import AS_BEFORE, DamagedFile
from facepipe.execution import Guard, PartReport
from facepipe.execution.stopwatch import Stopwatch
from facepipe.records import Status
from facepipe.stages.sharding.turned import COLUMNS, draw_views, is_turnable
from facepipe.storage import parquet, place
from facepipe.storage.scratch import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from facepipe.stages.sharding.plan import ShardPlan
    from facepipe.storage import Place

NEEDED = "needed.npy"
_GAP_BYTES = 1 << 16
"""On an object store, pixels nearer to each other than this are fetched together with what lies between them."""
_SPAN_BYTES = 1 << 23
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class PixelsJob:
    """Part number -> the pixels of its crops, row after row, in the scratch folder.

    `partial` is empty for all usable rows; else only the rows in `needed.npy` are decoded, into files with this name.
    """

    plan: ShardPlan
    faces: str
    scratch: str
    partial: str

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Writes (rows, places, size, size, channels) uint8, and a CRC-32 of it all.

        A row has one place, or where faces are turned those of its views, too; zeros where it has no usable crop.
        """
        watch, draws = Stopwatch(), Draws()
        wanted = self._wanted(number)
        blank = bytes(self.plan.pixel_bytes * self.plan.places)
        columns = ["status", "crop.bytes", *(COLUMNS if self.plan.turns else ())]
        faces = place(self.faces)
        name = parquet.part_names(faces)[number]
        row = crc = 0
        with place(self.scratch).open_output(pixel_file(number, self.partial)) as out:
            for table in parquet.iterate_rows(faces, name, columns):
                for found in table.to_pylist():
                    guard.on(row)
                    if row in guard.blamed:
                        raise DamagedFile(f"{faces}/{name}: decoding the crop in row {row} failed twice")
                    use = self._is_usable(found) and (wanted is None or row in wanted)
                    with watch.step("decode"):
                        pixels = decode_crop(found["crop"]["bytes"], self.plan) if use else blank
                    if use and self.plan.turns:
                        with watch.step("turn"):
                            pixels = draw_views(found, self.plan, draws, pixels)
                    with watch.step("decode"):
                        crc = zlib.crc32(pixels, crc)
                        out.write(pixels)
                    row += 1
            out.write(_CRC.pack(crc))
            guard.off()
        return PartReport(steps_s=dict(watch.seconds), items=row)

    def _is_usable(self, row: Mapping[str, Any]) -> bool:
        there = row["status"] == Status.OK and row["crop"] and row["crop"]["bytes"]
        return bool(there and (not self.plan.turns or is_turnable(row)))

    def _wanted(self, number: int) -> set[int] | None:
        if not self.partial:
            return None
        needed = load(self.scratch, NEEDED)
        return set((needed[needed[:, 0] == number, 1] // self.plan.places).tolist())


def pixel_file(number: int, partial: str) -> str:
    """The pixels of a part of the faces."""
    return f"pixels{'-' * bool(partial)}{partial}-{number:05d}.bin"


def decode_crop(crop: bytes, plan: ShardPlan) -> bytes:
    """The pixels of an encoded crop at the plan's size: gray, or RGB; (size, size, channels) uint8, row by row.

    Raises:
        DamagedFile: it is no picture.
    """
    flag = cv2.IMREAD_GRAYSCALE if plan.channels == 1 else cv2.IMREAD_COLOR_RGB
    image = cv2.imdecode(np.frombuffer(crop, dtype=np.uint8), flag)
    if image is None:
        raise DamagedFile(f"a crop is no picture that can be decoded; run `facepipe extract` again {AS_BEFORE}")
    if image.shape[:2] != (plan.size, plan.size):
        shrinking = image.shape[0] >= plan.size
        image = cv2.resize(
            image, (plan.size, plan.size), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
        )
    return bytes(image.tobytes())


class PixelReader:
    """Reads pixels by part and row. A part's file is the whole one where there is one, else the partial one."""

    def __init__(self, scratch: str, plan: ShardPlan, partial: str) -> None:
        self._scratch = place(scratch)
        self._plan = plan
        self._partial = partial
        self._names: dict[int, str] = {}

    def read(self, places: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Pixels of (n, 2) part and row: (n, size, size, channels) uint8. Each distinct place is read once."""
        plan = self._plan
        # As one number each they sort twenty times faster than as rows.
        codes, inverse = np.unique(places[:, 0].astype(np.int64) << 32 | places[:, 1], return_inverse=True)
        distinct = np.stack([codes >> 32, codes & 0xFFFFFFFF], axis=1)
        pixels = np.empty((len(distinct), plan.size, plan.size, plan.channels), dtype=np.uint8)
        flat = pixels.reshape(len(distinct), -1)
        borders = np.flatnonzero(np.diff(distinct[:, 0])) + 1 if len(distinct) else np.zeros(0, dtype=np.int64)
        for members in np.split(np.arange(len(distinct)), borders):
            if len(members):
                rows = distinct[members, 1] * plan.pixel_bytes
                self._fill(int(distinct[members[0], 0]), rows, flat[members[0] : members[-1] + 1])
        return np.asarray(pixels[inverse])

    def _fill(self, part: int, offsets: NDArray[np.int64], into: NDArray[np.uint8]) -> None:
        name = self._name(part)
        if self._scratch.is_local:
            _read_local(self._scratch.local_path(name), offsets, into)
            return
        for first, last in _spans(offsets, into.shape[1]):
            begin, end = int(offsets[first]), int(offsets[last]) + into.shape[1]
            content = np.frombuffer(self._scratch.read_range(name, begin, end - begin), dtype=np.uint8)
            for index in range(first, last + 1):
                at = int(offsets[index]) - begin
                into[index] = content[at : at + into.shape[1]]

    def _name(self, part: int) -> str:
        if part not in self._names:
            whole = pixel_file(part, "")
            known = not self._partial or self._scratch.exists(whole)
            self._names[part] = whole if known else pixel_file(part, self._partial)
        return self._names[part]


def _read_local(path: str, offsets: NDArray[np.int64], into: NDArray[np.uint8]) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for offset, target in zip(offsets.tolist(), into, strict=True):
                if os.preadv(fd, [target], offset) != len(target):
                    raise DamagedFile(f"{path} is shorter than it was; run the same command again")
        finally:
            os.close(fd)
    except OSError as error:
        raise DamagedFile(f"{path} can't be read ({error.strerror}); run the same command again") from error


def _spans(offsets: NDArray[np.int64], length: int) -> Iterator[tuple[int, int]]:
    """(first, last) indexes of ascending offsets that are fetched together."""
    first = 0
    for index in range(1, len(offsets) + 1):
        if (
            index == len(offsets)
            or offsets[index] - offsets[index - 1] > length + _GAP_BYTES
            or offsets[index] + length - offsets[first] > _SPAN_BYTES
        ):
            yield first, index - 1
            first = index


def is_whole(scratch: Place, number: int, partial: str, rows: int, plan: ShardPlan) -> bool:
    """Whether a part's pixels are there, from this run or an earlier one, as they were written."""
    size = rows * plan.places * plan.pixel_bytes + _CRC.size
    names = {pixel_file(number, ""), pixel_file(number, partial)}
    return any(scratch.exists(name) and scratch.size(name) == size and _agrees(scratch, name) for name in names)


def _agrees(scratch: Place, name: str) -> bool:
    crc, last = 0, b""
    with scratch.open_input(name) as file:
        while piece := file.read(_SPAN_BYTES):
            content = last + piece
            last = content[-_CRC.size :]
            crc = zlib.crc32(content[: -_CRC.size], crc)
    return last == _CRC.pack(crc)
