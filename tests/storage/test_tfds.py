"""`features.json` and `dataset_info.json` are what TensorFlow Datasets writes for the same features and splits."""

from __future__ import annotations

import pytest

from facepipe.storage import tfds
from facepipe.storage.formats import find_format


@pytest.mark.tensorflow
@pytest.mark.parametrize("examples", ["pairs", "faces"])
@pytest.mark.parametrize(("encoding", "channels"), [("raw", 1), ("png", 3), ("jpeg", 1)])
def test_metadata_equals_theirs(tmp_path, examples, encoding, channels):
    """Byte for byte, for both kinds of examples and every encoding."""
    import numpy as np
    import tensorflow_datasets as theirs
    from tensorflow_datasets.core import naming

    features = theirs.features
    if encoding == "raw":
        image = features.Tensor(shape=(48, 48, channels), dtype=np.uint8, encoding=features.Encoding.BYTES)
    else:
        image = features.Image(shape=(48, 48, channels), encoding_format=encoding)
    declared = dict.fromkeys(tfds.IMAGES[examples], image)
    declared |= {name: features.Text() for name in tfds.TEXTS[examples]}
    declared |= {name: features.Scalar(np.float32) for name in tfds.FLOATS[examples]}
    declared |= {name: features.Scalar(np.int64) for name in tfds.INTEGERS[examples]}
    folder = tmp_path / examples / "1.0.0"
    folder.mkdir(parents=True)
    lengths = {"train": [3, 2], "test": [1]}
    template = {"data_dir": folder, "dataset_name": examples, "filetype_suffix": "tfrecord"}
    splits = []
    for name, counts in lengths.items():
        for number in range(len(counts)):
            (folder / find_format("tfrecord").shard_name(examples, name, number, len(counts))).touch()
        file_names = naming.ShardedFileTemplate(split=name, **template)
        splits.append(
            theirs.core.SplitInfo(name=name, shard_lengths=counts, num_bytes=77, filename_template=file_names)
        )
    theirs.folder_dataset.write_metadata(
        data_dir=folder,
        features=features.FeaturesDict(declared),
        split_infos=splits,
        version="1.0.0",
        description=tfds.DESCRIPTIONS[examples],
        check_data=False,
    )
    ours = [tfds.Split(name, counts, 77) for name, counts in lengths.items()]
    assert tfds.encode_features(examples, 48, channels, encoding) == (folder / tfds.FEATURES).read_bytes()
    assert tfds.encode_info(examples, ours) == (folder / tfds.INFO).read_bytes()


def test_empty_subsets_are_left_out():
    """A subset without examples would break the reader."""
    content = tfds.encode_info("pairs", [tfds.Split("train", [2], 9), tfds.Split("test", [], 0)])
    assert b'"train"' in content
    assert b'"test"' not in content
