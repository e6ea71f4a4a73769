"""Pairs of real faces, and shards of them as `facepipe shard` lays them out."""

from __future__ import annotations

import json

import cv2
import numpy as np


def image_feature(size, channels, encoding):
    dimensions = [str(size), str(size), str(channels)]
    if encoding == "raw":
        block = {"shape": {"dimensions": dimensions}, "dtype": "uint8", "encoding": "none"}
        return {"pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor", "tensor": block}
    block = {"shape": {"dimensions": dimensions}, "dtype": "uint8", "encodingFormat": encoding}
    return {"pythonClassName": "tensorflow_datasets.core.features.image_feature.Image", "image": block}


def encoded(image, encoding):
    if encoding == "raw":
        return image.tobytes()
    return cv2.imencode(f".{encoding}", image[..., ::-1] if image.shape[2] == 3 else image)[1].tobytes()


def write_shards(folder, examples, subsets, size=16, channels=1, encoding="raw", files=2):
    """Writes `subsets` {name: [{feature: value, images as arrays}]} and what describes them; gives the folder."""
    from facepipe.storage.tfrecord import encode_example, write_records

    where = folder / examples / "1.0.0"
    where.mkdir(parents=True)
    images = ("image",) if examples == "faces" else ("feature", "target")
    splits, identities = [], {}
    for subset, rows in subsets.items():
        packed = [{k: encoded(v, encoding) if k in images else v for k, v in row.items()} for row in rows]
        for number in range(files):
            name = f"{examples}-{subset}.tfrecord-{number:05d}-of-{files:05d}"
            with (where / name).open("wb") as file:
                write_records(file, map(encode_example, packed[number::files]))
        splits.append({"name": subset, "shardLengths": [str(len(rows[number::files])) for number in range(files)]})
        identities[subset] = sorted({row["identity"] for row in rows})
    features = {name: image_feature(size, channels, encoding) for name in images}
    if examples == "turned":
        features["flow"] = image_feature(size, 3, "raw")
    (where / "features.json").write_text(json.dumps({"featuresDict": {"features": features}}))
    (where / "dataset_info.json").write_text(json.dumps({"name": examples, "splits": splits}))
    (where / "run.json").write_text(json.dumps({"identities": identities}))
    return folder


def pair_rows(faces, count, size, channels, person_from=0):
    """`count` pairs, four a person: a face moved sideways by its made-up yaw, and the face as it is."""
    rows = []
    for number in range(count):
        person, turn = divmod(number, 4)
        face = cv2.resize(faces[person_from + person], (size, size), interpolation=cv2.INTER_AREA)
        yaw = (-70.0, -20.0, 25.0, 50.0)[turn]
        turned = np.roll(face, int(yaw / 90 * size / 2), axis=1)
        feature, target = (np.repeat(image[..., None], channels, axis=2) for image in (turned, face))
        rows.append(
            {
                "key": f"p{person_from + person}/{turn}",
                "identity": f"person {person_from + person}",
                "feature": feature,
                "target": target,
                "feature_angle": abs(yaw),
                "target_angle": 2.0,
                "feature_yaw": yaw,
                "noise_strength": 0.0,
                "noise": "",
                "copy": 0,
                "label": -1,
            }
        )
    return rows
