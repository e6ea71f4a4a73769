"""Opens everything that the stages wrote and says what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.errors import FacepipeError, InputError
from facepipe.inputs.plan import PLAN_FILE
from facepipe.stages.checking.chain import check_chain
from facepipe.stages.checking.choices import TARGETS, check_pairs, check_targets, read_faces
from facepipe.stages.checking.faces import check_faces
from facepipe.stages.checking.folder import Problem
from facepipe.stages.checking.shards import check_shards
from facepipe.stages.pairs import SUMMARY
from facepipe.storage import parquet, place
from facepipe.storage.formats import is_shard
from facepipe.storage.settings import settings_or_empty, stage_of
from facepipe.storage.tfds import FEATURES, INFO, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from facepipe.execution.progress import Progress
    from facepipe.storage import Place

__all__ = ["Problem", "run"]

FACES, EMBEDDINGS, TARGETS_KIND, PAIRS, SHARDS = "faces", "embeddings", "targets", "pairs", "shards"
_BELOW = (
    "",
    "faces",
    "embeddings",
    "targets",
    "pairs",
    *(f"{prefix}{kind}/{VERSION}" for prefix in ("shards/", "") for kind in ("pairs", "faces", "turned")),
    VERSION,
)
"""Where stages' folders lie below a workspace, or below the folder of the shards."""
_BY_STAGE = {"extract": FACES, "embed": EMBEDDINGS, "select": TARGETS_KIND, "split": PAIRS, "shard": SHARDS}
_BY_FILE = {PLAN_FILE: FACES, TARGETS: TARGETS_KIND, SUMMARY: PAIRS, FEATURES: SHARDS, INFO: SHARDS}


@dataclass(frozen=True)
class Found:
    """The stages' folders, by kind."""

    faces: Place | None
    embeddings: Place | None
    targets: Place | None
    pairs: Place | None
    shards: tuple[Place, ...]

    def files(self) -> int:
        """How many parts and shards there are to look at."""
        folders = [folder for folder in (self.faces, self.embeddings, self.pairs) if folder is not None]
        parts = sum(len(parquet.part_names(folder)) for folder in folders)
        shards = sum(is_shard(entry.path) for folder in self.shards for entry in folder.list())
        return parts + shards + (self.targets is not None)


def run(root: str, progress: Progress) -> list[Problem]:
    """Checks a workspace, or one stage's folder: files whole, inputs accounted for, subsets apart, targets clean.

    Raises:
        InputError: nothing there was written by facepipe.
    """
    found = find_folders(place(root))
    progress.start("verify", found.files(), "files")
    try:
        return sorted(
            set(_check(found, lambda: progress.advance(1))), key=lambda problem: (problem.path, problem.message)
        )
    finally:
        progress.finish()


def _check(found: Found, advance: Callable[[], None]) -> Iterator[Problem]:
    if found.faces is not None:
        yield from check_faces(found.faces, advance)
    if found.embeddings is not None:
        from facepipe.stages.checking.embeddings import check_embeddings  # nothing of it is loaded unasked

        yield from check_embeddings(found.embeddings, found.faces, advance)
    faces = read_faces(found.faces, found.targets)
    if found.targets is not None:
        yield from check_targets(found.targets, faces, advance)
    if found.pairs is not None:
        yield from check_pairs(found.pairs, faces, advance)
    del faces
    yield from check_chain(found.faces, found.targets, found.pairs, found.shards)
    for folder in found.shards:
        yield from check_shards(folder, found.pairs, found.faces, advance)


def find_folders(root: Place) -> Found:
    """The stages' folders in a workspace; or the one that `root` is."""
    by_kind: dict[str, list[Place]] = {kind: [] for kind in (FACES, EMBEDDINGS, TARGETS_KIND, PAIRS, SHARDS)}
    for below in _BELOW:
        folder = root.join(below) if below else root
        kind = kind_of(folder, below)
        if kind:
            by_kind[kind].append(folder)
        if kind and not below:
            break
    if not any(by_kind.values()):
        raise InputError(f"{root} holds nothing that facepipe wrote; give a workspace or a stage's output")
    first = {kind: next(iter(folders), None) for kind, folders in by_kind.items()}
    return Found(first[FACES], first[EMBEDDINGS], first[TARGETS_KIND], first[PAIRS], tuple(by_kind[SHARDS]))


def kind_of(folder: Place, below: str) -> str:
    """What a folder holds, told by its settings, else by its files, else by its name; empty for none."""
    if not folder.exists():
        return ""
    if kind := _BY_STAGE.get(stage_of(settings_or_empty(folder))):
        return kind
    for name, kind in _BY_FILE.items():
        if folder.exists(name):
            return kind
    if any(is_shard(entry.path) for entry in folder.list()):
        return SHARDS
    if parquet.part_names(folder):
        return below if below in (FACES, EMBEDDINGS, PAIRS) else _kind_of_parts(folder)
    return ""


def _kind_of_parts(folder: Place) -> str:
    for name in parquet.part_names(folder):
        for column, kind in (("feature_key", PAIRS), ("embedding", EMBEDDINGS)):
            try:
                parquet.read_table(folder, name, [column])
            except FacepipeError:
                continue
            return kind
    return FACES
