"""TFRecord bytes are TensorFlow's own, read back by it and by the `tfrecord` package, and every damage is noticed."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facepipe.errors import DamagedFile
from facepipe.storage import tfrecord

INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT32 = st.floats(width=32, allow_nan=False)
VALUES = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=30),
    INT64,
    FLOAT32,
    st.lists(st.binary(max_size=20), min_size=1, max_size=4),
    st.lists(INT64, min_size=1, max_size=5),
    st.lists(FLOAT32, min_size=1, max_size=5),
)
FEATURES = st.dictionaries(st.text(max_size=8), VALUES, max_size=6)
RECORDS = st.lists(st.binary(max_size=500), max_size=8)


def as_list(value):
    """A value as `decode_example` gives it back."""
    values = value if isinstance(value, list) else [value]
    return [v.encode() if isinstance(v, str) else v for v in values]


@settings(max_examples=50)
@given(st.lists(FEATURES, max_size=3), st.binary(max_size=80))
def test_examples_read_back(examples, foreign):
    """Every record and feature comes back as it was given, as a list; other bytes give features or DamagedFile."""
    file = io.BytesIO()
    assert tfrecord.write_records(file, map(tfrecord.encode_example, examples)) == len(examples)
    file.seek(0)
    expected = [{name: as_list(value) for name, value in features.items()} for features in examples]
    assert list(map(tfrecord.decode_example, tfrecord.read_records(file))) == expected
    with contextlib.suppress(DamagedFile):
        assert isinstance(tfrecord.decode_example(foreign), dict)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.arange(3, dtype=np.uint8), [0, 1, 2]),
        (np.array([[0.5, -1]]), [0.5, -1.0]),
        (np.float32(0.25), [0.25]),
        (float("nan"), [float("nan")]),
        (np.int64(-7), [-7]),
        (np.array([True, False]), [1, 0]),
        (True, [1]),
        (np.array([b"a", b"b"], dtype=object), [b"a", b"b"]),
        (np.array([], dtype=np.float32), []),  # an empty list could be of any kind: it is refused
        ([1, 2.5], [1.0, 2.5]),
    ],
)
def test_arrays_and_scalars(value, expected):
    """Whole numbers and flags become int64, other numbers float, text bytes; arrays are flattened."""
    with pytest.raises(TypeError, match="empty list"):
        tfrecord.encode_example({"x": []})
    assert repr(tfrecord.decode_example(tfrecord.encode_example({"x": value}))) == repr({"x": expected})


@settings(max_examples=60)
@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4), st.data())
def test_every_damage_is_noticed(records, data):
    """A flipped bit or a cut anywhere raises DamagedFile before a wrong record is given."""
    file = io.BytesIO()
    tfrecord.write_records(file, records)
    content = bytearray(file.getvalue())
    at = data.draw(st.integers(0, len(content) - 1))
    ends = {sum(len(r) + 16 for r in records[:k]) for k in range(len(records) + 1)}
    if data.draw(st.booleans()):
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    elif at in ends:  # a cut between two records can only be told by the file's checksum
        return
    else:
        del content[at:]
    given_out = []
    with pytest.raises(DamagedFile):
        given_out.extend(tfrecord.read_records(io.BytesIO(bytes(content))))
    assert given_out == records[: len(given_out)]


@pytest.mark.parametrize(
    "content",
    [
        tfrecord.encode_example({"x": b"picture"})[:-3],  # each field says how long it is
        tfrecord.encode_example({"x": [b"a", b"picture"]})[:-3],
        b"\x0a" + b"\x80" * 10 + b"\x01",  # a number of 77 bits
    ],
)
def test_a_message_that_ends_early_is_damaged(content):
    """It is refused, not read as a shorter one: a checksum of wrong bytes may be right."""
    with pytest.raises(DamagedFile, match=r"is no tf\.train\.Example"):
        tfrecord.decode_example(content)


def test_damage_is_told_with_the_name_and_one_piece_of_advice():
    """How to make the file anew; a length of 2**60 with a right checksum asks for no memory."""
    length = (2**60).to_bytes(8, "little")
    endless = length + tfrecord.masked_crc(length).to_bytes(4, "little") + b"short"
    said = "again with the options it was made with: only this is made anew"
    for content, what in (
        (tfrecord.frame_record(b"payload")[:-1] + b"?", "record 0 has another checksum"),
        (endless, "it ends within record 0"),
    ):
        with pytest.raises(DamagedFile) as caught:
            list(tfrecord.read_records(io.BytesIO(content), "shards/a.tfrecord"))
        assert str(caught.value) == f"shards/a.tfrecord is damaged ({what}); run `facepipe shard` {said}"


@pytest.mark.tensorflow
@settings(max_examples=20, deadline=None)
@given(FEATURES)
def test_messages_equal_tensorflows(features):
    """The message is the one `tf.train.Example` makes, and so are its bytes.

    (Where one name begins another, Python's protobuf sorts the longer one first, C++'s and ours the shorter one.)
    """
    import tensorflow as tf

    def feature(value):
        values = as_list(value)
        if isinstance(values[0], bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if isinstance(values[0], float):
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    message = tf.train.Example(features=tf.train.Features(feature={k: feature(v) for k, v in features.items()}))
    ours = tfrecord.encode_example(features)
    assert tf.train.Example.FromString(ours) == message
    if not any(a != b and b.startswith(a) for a in features for b in features):
        assert ours == message.SerializeToString(deterministic=True)


@pytest.mark.tensorflow
@settings(max_examples=20, deadline=None)
@given(RECORDS)
def test_files_equal_tensorflows(records):
    """The file is byte for byte `tf.io.TFRecordWriter`'s, and `tf.data` reads ours."""
    import tempfile

    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        with tf.io.TFRecordWriter(f"{folder}/theirs") as writer:
            for record in records:
                writer.write(record)
        with open(f"{folder}/ours", "wb") as file:
            tfrecord.write_records(file, records)
        with open(f"{folder}/theirs", "rb") as theirs, open(f"{folder}/ours", "rb") as ours:
            assert ours.read() == theirs.read()
        assert [r.numpy() for r in tf.data.TFRecordDataset(f"{folder}/ours")] == records


READER = """
import sys
from tfrecord.reader import tfrecord_loader
for example in tfrecord_loader(sys.argv[1], None, {"b": "byte", "i": "int", "f": "float"}):
    print(example["b"].hex(), example["i"].tolist(), example["f"].tolist())
"""


def test_the_tfrecord_package_reads_ours(tmp_path):
    """Bytes, whole numbers and floats of random examples come back through the `tfrecord` package.

    In its own process: the package and TensorFlow declare the same protobuf messages.
    """
    if importlib.util.find_spec("tfrecord") is None:
        pytest.skip("the tfrecord package is not installed")
    rng = random.Random(0)
    examples = [
        {"b": rng.randbytes(rng.randrange(1, 400)), "i": rng.getrandbits(64) - 2**63, "f": rng.randrange(-999, 999) / 8}
        for _ in range(200)
    ]
    with open(tmp_path / "ours", "wb") as file:
        tfrecord.write_records(file, map(tfrecord.encode_example, examples))
    read = subprocess.run([sys.executable, "-c", READER, tmp_path / "ours"], capture_output=True, text=True, check=True)
    assert read.stdout.splitlines() == [f"{e['b'].hex()} [{e['i']}] [{e['f']}]" for e in examples]
