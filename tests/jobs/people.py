"""Folders of photographs, the stages' settings for them, and what was written, for tests of whole stages."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import cv2
import numpy as np

from facepipe.config import Execution, ExtractConfig, SelectConfig, ShardConfig, SplitConfig, join
from facepipe.execution.progress import QuietProgress
from facepipe.stages import extract, select, shard, split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from facepipe.storage import Place


def write_people(root: Place, photograph: np.ndarray, people: int, frames: int, side: int = 180) -> None:
    """A folder a person: one photograph (the astronaut), narrowed and lit in ways of their own, about `side` px."""
    for person in range(people):
        for frame in range(frames):
            dice = np.random.default_rng([person, frame])
            width, height = dice.integers(side * 3 // 4, side, 2).tolist()
            image = cv2.resize(photograph[:300, 100:350], (width, height), interpolation=cv2.INTER_AREA)
            image = np.clip(image * dice.uniform(0.5, 1.2) + dice.uniform(0, 30), 0, 255).astype(np.uint8)
            content = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
            root.write(f"person-{person:02d}/{frame}.jpg", content, durable=False)


def stages_of(data: str, size: int = 16, part_size: int = 16) -> dict[str, Callable[[], object]]:
    """Folder below a workspace of such photographs -> a function that makes it, with one worker."""
    names = {name: join(data, name) for name in ("images", "faces", "targets", "pairs", "shards")}
    images, faces, targets, pairs, shards = names.values()
    one, quiet = Execution(workers=1), QuietProgress()
    extracting = ExtractConfig(input=images, output=faces, part_size=part_size, min_face=30, execution=one)
    selecting = SelectConfig(input=faces, output=targets, execution=one)
    splitting = SplitConfig(faces=faces, targets=targets, output=pairs, validation=0.3)
    sharding = ShardConfig(input=pairs, faces=faces, output=shards, shards=3, size=size, execution=one)
    return {
        "faces": lambda: extract.run(extracting, quiet),
        "targets": lambda: select.run(selecting, quiet),
        "pairs": lambda: split.run(splitting, quiet),
        "shards/pairs/1.0.0": lambda: shard.run(sharding, quiet),
    }


def contents(folder: Path) -> dict[str, str]:
    """Every file below, hidden ones too, with the hash of its bytes; `run.json` with that of what may not differ."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink()):
        data = path.read_bytes()
        if path.name == "run.json":
            data = json.dumps(json.loads(data)["counts"], sort_keys=True).encode()
        found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found
