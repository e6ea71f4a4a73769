"""TFRecord files and the `tf.train.Example` messages in them, written and read without TensorFlow.

A record is its length (uint64), the masked CRC-32C of these eight bytes, the payload, and the payload's masked
CRC-32C, all little-endian (tensorflow/core/lib/io/record_writer.h). A message's features are written in the order of
their names, so equal features give equal bytes.
"""

from __future__ import annotations

import struct
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

import google_crc32c
import numpy as np

from facepipe.errors import AS_BEFORE, DamagedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Value = bytes | str | int | float | Sequence[bytes] | Sequence[str] | Sequence[int] | Sequence[float] | NDArray[Any]
    """What a feature can be: text is UTF-8; arrays are flattened, whole numbers become int64, others float32."""

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_FLOAT = struct.Struct("<f")
_READ_AHEAD = 1 << 24
_BYTES = 2
"""The wire type of what has a length."""
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


def masked_crc(content: bytes) -> int:
    """CRC-32C, rotated and shifted as TFRecord wants it."""
    crc: int = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@lru_cache(maxsize=4096)
def _frame_header(length: int) -> bytes:
    return _HEADER.pack(length, masked_crc(_LENGTH.pack(length)))


def frame_record(payload: bytes) -> bytes:
    """One record as it stands in the file."""
    return b"".join((_frame_header(len(payload)), payload, _CRC.pack(masked_crc(payload))))


def write_records(file: BinaryIO, records: Iterable[bytes]) -> int:
    """Writes records to a binary file; gives how many."""
    count = 0
    for record in records:
        file.write(frame_record(record))
        count += 1
    return count


def _read_exactly(file: BinaryIO, length: int) -> bytes:
    """`length` bytes, or fewer at the end of the file; a wrong length can't ask for more memory than the file has."""
    first = file.read(min(length, _READ_AHEAD))
    if len(first) == length or not first:
        return first
    pieces = [first]
    missing = length - len(first)
    while missing and pieces[-1]:
        pieces.append(file.read(min(missing, _READ_AHEAD)))
        missing -= len(pieces[-1])
    return b"".join(pieces)


def read_records(file: BinaryIO, name: str = "the TFRecord file") -> Iterator[bytes]:
    """The payloads of a binary file, in order; errors call it `name`.

    Raises:
        DamagedFile: a checksum is wrong, or the file ends within a record.
    """
    number = 0
    while header := _read_exactly(file, _HEADER.size):
        if len(header) < _HEADER.size:
            raise _damaged(name, f"it ends within record {number}")
        length, crc = _HEADER.unpack(header)
        if crc != masked_crc(header[: _LENGTH.size]):
            raise _damaged(name, f"the length of record {number} has another checksum")
        payload, tail = _read_exactly(file, length), _read_exactly(file, _CRC.size)
        if len(payload) < length or len(tail) < _CRC.size:
            raise _damaged(name, f"it ends within record {number}")
        if _CRC.unpack(tail)[0] != masked_crc(payload):
            raise _damaged(name, f"record {number} has another checksum")
        yield payload
        number += 1


def _damaged(name: str, why: str) -> DamagedFile:
    return DamagedFile(f"{name} is damaged ({why}); run `facepipe shard` again {AS_BEFORE}: only this is made anew")


@lru_cache(maxsize=65536)
def _varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first; negative ones as 64-bit two's complement."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return b"".join((_varint(number << 3 | _BYTES), _varint(len(content)), content))


@lru_cache(maxsize=1024)
def _name_field(name: str) -> bytes:
    return _field(1, name.encode())


def _entry(name: str, value: Value) -> tuple[bytes, bytes]:
    """A feature of an Example, with its name, in two pieces: what depends on name and length, and the value."""
    kind = type(value)
    if kind is str:
        kind, value = bytes, value.encode()  # type: ignore[union-attr]
    if kind is bytes:
        return _single(name, _BYTES_LIST, len(value)), value  # type: ignore[arg-type, return-value]
    if kind is float:
        return _single(name, _FLOAT_LIST, 4), _FLOAT.pack(value)
    if kind is int:
        number = _varint(value)  # type: ignore[arg-type]
        return _single(name, _INT64_LIST, len(number)), number
    return b"", _field(1, b"".join((_name_field(name), _field(2, _feature(name, value)))))


@lru_cache(maxsize=65536)
def _single(name: str, kind: int, length: int) -> bytes:
    """All that stands before a single value of `length` bytes: four nested fields and the name."""
    head = b""
    for field in (1, kind, 2):
        head = b"".join((_varint(field << 3 | _BYTES), _varint(len(head) + length), head))
    head = _name_field(name) + head
    return b"".join((b"\x0a", _varint(len(head) + length), head))


def _feature(name: str, value: Value) -> bytes:
    """The content of a `tf.train.Feature`, for whatever is no single plain value."""
    if isinstance(value, np.ndarray | np.generic):
        return _array_feature(name, np.atleast_1d(value).reshape(-1))
    return _list_feature(name, [value] if isinstance(value, bool | int | float | bytes | str) else list(value))


def _list_feature(name: str, values: list[Any]) -> bytes:
    if values and all(isinstance(value, bytes | str) for value in values):
        raw = [value.encode() if isinstance(value, str) else value for value in values]
        return _field(_BYTES_LIST, b"".join(_field(1, value) for value in raw))
    if not values:
        raise TypeError(f"feature {name!r} is an empty list; give an empty array, whose dtype tells its kind")
    return _array_feature(name, np.array(values))


def _array_feature(name: str, values: NDArray[Any]) -> bytes:
    """A flat array as the list that goes with its dtype."""
    if values.dtype.kind == "f":
        packed = values.astype("<f4").tobytes()
        return _field(_FLOAT_LIST, _field(1, packed) if packed else b"")
    if values.dtype.kind in "iub":
        packed = b"".join(_varint(int(value)) for value in values)
        return _field(_INT64_LIST, _field(1, packed) if packed else b"")
    if values.dtype.kind in "OSU" and len(values):
        return _list_feature(name, values.tolist())
    raise TypeError(f"feature {name!r} can't be of dtype {values.dtype}")


def encode_example(features: Mapping[str, Value]) -> bytes:
    """The bytes of a `tf.train.Example`; names in sorted order, as C++'s deterministic serialisation has them.

    Args:
        features: Bytes and text become a bytes list, whole numbers and flags an int64 list, other numbers a float list.

    Raises:
        TypeError: a value is none of these, or an empty list, which has no kind.
    """
    content = b"".join([piece for name in sorted(features) for piece in _entry(name, features[name])])
    return _field(1, content)


@cache
def _example_class() -> Any:
    """`tf.train.Example` by protobuf (tensorflow/core/example/feature.proto), under a name of our own."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="facepipe/example.proto", package="facepipe", syntax="proto3")
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    kinds = {"BytesList": field.TYPE_BYTES, "FloatList": field.TYPE_FLOAT, "Int64List": field.TYPE_INT64}
    for number, (name, kind) in enumerate(kinds.items(), 1):
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=field.LABEL_REPEATED)
        feature.field.add(name=name.lower(), number=number, type_name=f".facepipe.{name}", label=1, oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry", options={"map_entry": True})
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=1)
    entry.field.add(name="value", number=2, type_name=".facepipe.Feature", label=1)
    several = {"type_name": ".facepipe.Features.FeatureEntry", "label": field.LABEL_REPEATED}
    features.field.add(name="feature", number=1, **several)
    file.message_type.add(name="Example").field.add(name="features", number=1, type_name=".facepipe.Features", label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("facepipe.Example"))


def decode_example(message: bytes) -> dict[str, list[Any]]:
    """The features of a `tf.train.Example`: name -> list of bytes, floats or ints.

    Raises:
        DamagedFile: the bytes are no such message.
    """
    from google.protobuf.message import DecodeError

    try:
        features = _example_class().FromString(message).features.feature
    except DecodeError as error:
        raise DamagedFile(f"a record is no tf.train.Example ({error})") from error
    kinds = {name: features[name].WhichOneof("kind") for name in sorted(features)}
    return {name: list(getattr(features[name], kind).value) if kind else [] for name, kind in kinds.items()}
