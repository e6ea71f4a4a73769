"""Whom a run was trained on: trained_people.json holds 8 bytes of each identity's SHA-256, no names.

So whoever evaluates the run, on whatever shards, can tell how many of those people it has seen, and a run goes on only
with the people it began with. A hash hides a name from a glance, not from someone who tries likely names.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from facepipe.errors import SettingsChanged
from train.data import read_columns
from train.files import reading_back

if TYPE_CHECKING:
    from collections.abc import Iterable

    from train.config import TrainConfig
    from train.runs import Run
    from train.shards import Shards

PEOPLE = "trained_people.json"
DIGITS = 16
"""Hexadecimal ones: 8 bytes, so that even among a million people two hardly ever share them."""


def hashed(identities: Iterable[str | bytes]) -> frozenset[str]:
    """The hashes of identities; text counts as UTF-8."""
    distinct = {name.encode() if isinstance(name, str) else bytes(name) for name in identities}
    return frozenset(hashlib.sha256(name).hexdigest()[:DIGITS] for name in distinct)


def read_people(folder: str | Path) -> frozenset[str] | None:
    """Whom the run in `folder` was trained on, hashed; None where it does not tell.

    Raises:
        DamagedFile: What stands there is no list of hashes.
    """
    path = Path(folder) / PEOPLE
    try:
        with reading_back(path):
            return frozenset(map(str, json.loads(path.read_text(encoding="utf-8"))["sha256"]))
    except FileNotFoundError:
        return None


def people_taught(shards: Shards) -> frozenset[str]:
    """Who is in the shards' training subset, hashed."""
    return hashed(shards.identities.get("train") or read_columns(shards, "train", ["identity"])["identity"])


def training_people(config: TrainConfig, shards: Shards) -> frozenset[str]:
    """Whom the shards train on, hashed; call before `Run.begin`, which writes.

    Raises:
        SettingsChanged: The run to resume was trained on other people.
    """
    people = people_taught(shards)
    begun = config.resume and (Path(config.run_folder) / "checkpoints" / "last.npz").exists()
    before = read_people(config.run_folder) if begun else None
    if before is not None and before != people:
        raise SettingsChanged(
            f"{config.run_folder} was trained on other people than {shards.place} holds ({len(people - before):,} are "
            f"new, {len(before - people):,} are missing); resume it with its own --shards, or give -o FOLDER"
        )
    return people


def write_people(run: Run, people: frozenset[str]) -> None:
    """Writes down whom a run is trained on, before its first epoch; what a run has begun with stays."""
    if not run.checkpoint("last").exists():
        run.write_json(PEOPLE, {"sha256": sorted(people)})


def count_trained(run: Run, identities: Iterable[str | bytes]) -> int | None:
    """How many of these people the run was trained on; None where the run does not tell."""
    known = read_people(run.folder)
    return None if known is None else len(hashed(identities) & known)


def tell_trained(people: int, trained: int | None) -> str:
    """The people of an evaluation in words, and how many of them the run has seen."""
    if trained is None:
        return f"{people:,} people (the run does not tell whom it was trained on)"
    return f"{people:,} people not trained on" if not trained else f"{people:,} people, {trained:,} of them trained on"
