"""The columns of every table facepipe writes, in order, with Arrow types; docs/formats.md says what each means."""

from __future__ import annotations

from facepipe.records import Status

FACES = {
    "key": "string",
    "path": "string",
    "identity": "string",
    "video": "string",
    "frame_index": "int32",
    "face_index": "int16",
    "status": "string",
    "error": "string",
    "width": "int32",
    "height": "int32",
    "bbox": "list<float32>",
    "landmarks": "list<float32>",
    "score": "float32",
    "yaw": "float32",
    "pitch": "float32",
    "roll": "float32",
    "frontal_angle": "float32",
    "pose_error": "float32",
    "transform": "list<float32>",
    "sharpness": "float32",
    "crop_scale": "float32",
    "label": "int64",
    "crop": "image",
}
"""`faces/part-*.parquet`: a row a face, or one for an image that gave none."""

PARTS = {
    "name": "string",
    "rows": "int64",
    "images": "int64",
    **{status.value: "int64" for status in Status},
    "sha256": "string",
}
"""`faces/parts.parquet`: a row a part, in order; of its rows how many have each status."""

EMBEDDINGS = {"key": "string", "embedding": "list<float32>"}
"""`embeddings/part-*.parquet`: a row a usable face, in the order of the faces' part."""

TARGETS = {
    "identity": "string",
    "video": "string",
    "target_key": "string",
    "target_path": "string",
    "target_angle": "float32",
    "runner_up_keys": "list<string>",
    "runner_up_angles": "list<float32>",
    "frames": "int32",
    "reason": "string",
}
"""`targets/targets.parquet`: a row an identity (or video); `target_key` is empty where none was chosen."""

LEFT_OUT = {
    "key": "string",
    "identity": "string",
    "video": "string",
    "reason": "string",
    "value": "float32",
    "kept_key": "string",
}
"""`left_out.parquet` beside the targets and the pairs: a row a usable face that neither takes."""

IDENTITIES = {
    "identity": "string",
    "faces": "int32",
    "left_out": "int32",
    "verdict": "string",
    "second_keys": "list<string>",
    "same_as": "string",
    "same_similarity": "float32",
}
"""`targets/identities.parquet`: a row an identity, as `--guard` judges it."""

PAIRS = {
    "key": "string",
    "identity": "string",
    "video": "string",
    "subset": "string",
    "feature_key": "string",
    "target_key": "string",
    "feature_angle": "float32",
    "target_angle": "float32",
    "feature_yaw": "float32",
    "label": "int64",
    "feature_part": "int32",
    "feature_row": "int32",
    "target_part": "int32",
    "target_row": "int32",
}
"""`pairs/part-*.parquet`: a row a pair; part and row say where each crop lies in `faces`."""

EXAMPLES = {
    "key": "string",
    "identity": "string",
    "label": "int64",
    "feature_part": "int32",
    "feature_row": "int32",
    "target_part": "int32",
    "target_row": "int32",
    "feature_angle": "float32",
    "target_angle": "float32",
    "feature_yaw": "float32",
    "copy": "int32",
}
"""What `shard` leaves to its workers: a row an example, in a shard's order. Of single faces the feature's part and row
say where the crop lies, and the angles are yaw and pitch."""

PLAN = {
    "path": "string",
    "file": "binary",
    "identity": "string",
    "video": "string",
    "frame_index": "int32",
    "box": "list<float64>",
    "label": "int64",
    "is_video": "bool",
    "repeat": "int32",
    "size": "int64",
}
"""`faces/plan.pq`: a row a file to read, a row group a part."""
UNKNOWN_SIZE = -1
"""`size` of a file whose size the listing can't tell."""
