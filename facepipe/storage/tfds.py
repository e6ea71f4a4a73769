"""`features.json` and `dataset_info.json`, byte for byte as TensorFlow Datasets writes them, without it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FEATURES = "features.json"
INFO = "dataset_info.json"
VERSION = "1.0.0"
IMAGES = {"pairs": ("feature", "target"), "faces": ("image",)}
"""The pictures of each kind of example."""
TEXTS = {"pairs": ("key", "identity", "noise"), "faces": ("key", "identity")}
FLOATS = {"pairs": ("feature_angle", "target_angle", "feature_yaw", "noise_strength"), "faces": ("yaw", "pitch")}
INTEGERS = {"pairs": ("copy", "label"), "faces": ("label",)}

DESCRIPTIONS = {
    "pairs": "Pairs of faces of one identity: a turned one (feature) and the most frontal one (target).",
    "faces": "Single faces.",
}
_CLASSES = "tensorflow_datasets.core.features."
_SHARD = re.compile(r"(pairs|faces)-[a-z]+\.tfrecord-\d{5,}-of-\d{5,}")


@dataclass(frozen=True)
class Split:
    """One subset: its name, the examples of each shard, and the bytes of all its messages."""

    name: str
    shard_lengths: Sequence[int]
    size_bytes: int


def shard_name(examples: str, subset: str, number: int, count: int) -> str:
    """`pairs-train.tfrecord-00000-of-00016`."""
    return f"{examples}-{subset}.tfrecord-{number:05d}-of-{count:05d}"


def is_shard(path: str) -> bool:
    """Whether a path in a folder of shards is one of them; what lies in folders below is somebody else's."""
    return _SHARD.fullmatch(path) is not None


def encode_features(examples: str, size: int, channels: int, encoding: str) -> bytes:
    """The bytes of `features.json`: pictures of `size` px with 1 or 3 channels, encoded as raw, png or jpeg."""
    features: dict[str, Any] = {name: _image(size, channels, encoding) for name in IMAGES[examples]}
    features |= {name: {"pythonClassName": f"{_CLASSES}text_feature.Text", "text": {}} for name in TEXTS[examples]}
    features |= {name: _scalar("float32") for name in FLOATS[examples]}
    features |= {name: _scalar("int64") for name in INTEGERS[examples]}
    content = {
        "featuresDict": {"features": features},
        "pythonClassName": f"{_CLASSES}features_dict.FeaturesDict",
    }
    return json.dumps(content, indent=4, sort_keys=True).encode()


def _image(size: int, channels: int, encoding: str) -> dict[str, Any]:
    shape = {"dimensions": [str(size), str(size), str(channels)]}
    if encoding == "raw":
        return {
            "pythonClassName": f"{_CLASSES}tensor_feature.Tensor",
            "tensor": {"dtype": "uint8", "encoding": "bytes", "shape": shape},
        }
    return {
        "pythonClassName": f"{_CLASSES}image_feature.Image",
        "image": {"dtype": "uint8", "encodingFormat": encoding, "shape": shape},
    }


def _scalar(dtype: str) -> dict[str, Any]:
    return {
        "pythonClassName": f"{_CLASSES}scalar.Scalar",
        "tensor": {"dtype": dtype, "encoding": "none", "shape": {}},
    }


def encode_info(examples: str, splits: Sequence[Split]) -> bytes:
    """The bytes of `dataset_info.json`; subsets without examples are left out, as TFDS does not know empty ones."""
    content: Mapping[str, Any] = {
        "description": DESCRIPTIONS[examples],
        "fileFormat": "tfrecord",
        "name": examples,
        "splits": [
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split.name,
                "numBytes": str(split.size_bytes),
                "shardLengths": [str(length) for length in split.shard_lengths],
            }
            for split in splits
            if sum(split.shard_lengths)
        ],
        "version": VERSION,
    }
    return json.dumps(content, indent=2, sort_keys=True).encode()
