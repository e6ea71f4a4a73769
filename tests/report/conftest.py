"""A small workspace with everything in it: several people, a name full of markup, and inputs that fail."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from facepipe.config import Execution, ExtractConfig, SelectConfig, ShardConfig, SplitConfig
from facepipe.execution.progress import QuietProgress
from facepipe.stages import demo, extract, select, shard, split

MARKUP = "<img src=x onerror=alert(1)>&\"'"


@pytest.fixture(scope="session")
def markup():
    """The name of a person in `workspace`."""
    return MARKUP


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """Images to shards, in several parts."""
    root = tmp_path_factory.mktemp("workspace")
    demo.write_images(str(root), identities=4)
    images = root / "images"
    (images / "person-001").rename(images / MARKUP)
    flat = np.full((200, 240, 3), 90, np.uint8)
    cv2.imwrite(str(images / "person-002" / "wall.png"), flat)
    (images / "person-002" / "broken.jpg").write_bytes((images / "person-002" / "00.jpg").read_bytes()[:40])
    paths = {name: str(root / name) for name in ("images", "faces", "targets", "pairs", "shards")}
    one = Execution(workers=1)
    quiet = QuietProgress()
    extract.run(
        ExtractConfig(input=paths["images"], output=paths["faces"], layout="identity", part_size=16, execution=one),
        quiet,
    )
    select.run(SelectConfig(input=paths["faces"], output=paths["targets"], execution=one), quiet)
    split.run(
        SplitConfig(
            faces=paths["faces"], targets=paths["targets"], output=paths["pairs"], validation=0.3, execution=one
        ),
        quiet,
    )
    shard.run(
        ShardConfig(input=paths["pairs"], faces=paths["faces"], output=paths["shards"], size=32, execution=one),
        quiet,
    )
    return root
