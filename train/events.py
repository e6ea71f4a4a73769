"""TensorBoard's event files, written without TensorFlow: scalars and pictures as protobuf messages in TFRecord frames.

Field numbers: tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from typing import TYPE_CHECKING

from facepipe.tfrecord import frame_record
from train.runs import NotWritten

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_numbers = itertools.count()


class EventFile:
    """One file in `folder`; a resumed run adds another, and TensorBoard shows them as one.

    All raise a `NotWritten` where the disk is full or the folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self.path = folder / name
        self._append(_bytes(3, b"brain.Event:2"))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One point of each named curve."""
        summary = b"".join(_value(name, b"\x15" + struct.pack("<f", value)) for name, value in values.items())
        self._append(_whole(2, step) + _bytes(5, summary))

    def image(self, name: str, png: bytes, height: int, width: int, step: int) -> None:
        """One picture, RGB, as PNG bytes."""
        picture = _whole(1, height) + _whole(2, width) + _whole(3, 3) + _bytes(4, png)
        self._append(_whole(2, step) + _bytes(5, _value(name, _bytes(4, picture))))

    def _append(self, event: bytes) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(frame_record(b"\x09" + struct.pack("<d", time.time()) + event))
        except OSError as error:
            raise NotWritten(self.path, error) from error


def _value(tag: str, content: bytes) -> bytes:
    return _bytes(1, _bytes(1, tag.encode()) + content)


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
