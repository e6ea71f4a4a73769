"""The card beside the shards."""

from __future__ import annotations

import yaml

from facepipe.stages.sharding.datacard import encode_card
from facepipe.storage.formats import find_format
from facepipe.storage.tfds import Split


def test_the_card_has_the_hubs_front_matter_the_counts_and_the_settings():
    """Hugging Face reads the YAML between the rules; a person reads the tables and the note on consent."""
    splits = [Split("train", [700, 500], 10_000), Split("validation", [100], 900), Split("test", [], 0)]
    settings, stored = {"size": 64, "noise": ["blur:0.1"]}, find_format("tfrecord")
    text = encode_card("pairs", splits, {"train": 30, "validation": 4}, settings, stored).decode()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "pretty_name": "facepipe pairs",
        "task_categories": ["image-to-image"],
        "tags": ["faces", "head-pose", "tfrecord", "biometric"],
        "size_categories": ["1K<n<10K"],
    }
    assert "| train | 30 | 1,200 | 2 |\n| validation | 4 | 100 | 1 |\n\n" in body
    assert '| `noise` | `["blur:0.1"]` |' in body
    assert "consent" in body
