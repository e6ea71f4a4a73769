"""`features.json` and `dataset_info.json`, byte for byte as TensorFlow Datasets writes them, without it.

They stand beside shards of every format, to say what there is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from facepipe.errors import AS_BEFORE, DamagedFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facepipe.storage import Place

FEATURES = "features.json"
INFO = "dataset_info.json"
VERSION = "1.0.0"
IMAGES = {"pairs": ("feature", "target"), "faces": ("image",), "turned": ("feature", "target")}
"""The pictures of each kind of example."""
FLOW = "flow"
"""(size, size, 3) uint8, never encoded: where each px of the target lies in the feature (x, y, 256ths of its side), and
255 where it is seen there. In turned examples that were made with it."""
TEXTS = {"pairs": ("key", "identity", "noise"), "faces": ("key", "identity")}
FLOATS = {"pairs": ("feature_angle", "target_angle", "feature_yaw", "noise_strength"), "faces": ("yaw", "pitch")}
INTEGERS = {"pairs": ("copy", "label"), "faces": ("label",)}
TEXTS["turned"], INTEGERS["turned"] = TEXTS["pairs"], INTEGERS["pairs"]
FLOATS["turned"] = (*FLOATS["pairs"], "feature_pitch")

DESCRIPTIONS = {
    "pairs": "Pairs of faces of one identity: a turned one (feature) and the most frontal one (target).",
    "faces": "Single faces.",
    "turned": "Frontal faces (target), and the same photographs turned in 3D (feature).",
}
_CLASSES = "tensorflow_datasets.core.features."


@dataclass(frozen=True)
class Split:
    """One subset: its name, the examples of each shard, and the bytes of all its messages."""

    name: str
    shard_lengths: Sequence[int]
    size_bytes: int


class Info(NamedTuple):
    """What `dataset_info.json` declares: the kind of examples, the shards' format, the subsets."""

    kind: str
    format: str
    splits: list[Split]


def read_info(folder: Place) -> Info:
    """What a folder's `dataset_info.json` declares.

    Raises:
        DamagedFile: it is missing, or is none.
    """
    if not folder.exists(INFO):
        raise DamagedFile(f"{folder}/{INFO} is missing; run `facepipe shard` again {AS_BEFORE}")
    try:
        found = json.loads(folder.read(INFO))
        splits = [
            Split(str(split["name"]), [int(length) for length in split["shardLengths"]], int(split["numBytes"]))
            for split in found["splits"]
        ]
        return Info(str(found["name"]), str(found["fileFormat"]), splits)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFile(f"{folder}/{INFO} is damaged ({error}); run `facepipe shard` again {AS_BEFORE}") from error


def encode_features(examples: str, size: int, channels: int, encoding: str, *, flow: bool = False) -> bytes:
    """The bytes of `features.json`: pictures of `size` px with 1 or 3 channels, encoded as raw, png or jpeg."""
    features: dict[str, Any] = {name: _image(size, channels, encoding) for name in IMAGES[examples]}
    if flow:
        features[FLOW] = _image(size, 3, "raw")
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


def encode_info(examples: str, splits: Sequence[Split], file_format: str = "tfrecord") -> bytes:
    """The bytes of `dataset_info.json`; subsets without examples are left out, as TFDS does not know empty ones."""
    content: Mapping[str, Any] = {
        "description": DESCRIPTIONS[examples],
        "fileFormat": file_format,
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
