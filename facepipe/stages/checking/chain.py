"""Whether each stage's output was made from what lies there now, or from something before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from facepipe.config import EMBED
from facepipe.errors import AS_BEFORE, FacepipeError
from facepipe.stages import overrides
from facepipe.stages.checking.folder import Problem, problem
from facepipe.stages.faces import open_faces
from facepipe.stages.guard import network
from facepipe.stages.leftout import LEFT_OUT
from facepipe.stages.output import INPUTS
from facepipe.stages.select import TARGETS
from facepipe.stages.sharding.inputs import open_inputs_of
from facepipe.storage.checksums import file_sha256
from facepipe.storage.settings import settings_or_empty

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from facepipe.storage import Place

_AGAIN = "`facepipe select`, `split` and `shard`"
_EACH = "with the options each was made with"


def check_chain(
    faces: Place | None, targets: Place | None, pairs: Place | None, shards: Sequence[Place]
) -> Iterator[Problem]:
    """A problem for every folder that is older than what it was made from; what is not there is not compared."""
    digest = _digest_of(faces)
    if targets is not None and digest and _inputs(targets).get("faces", digest) != digest:
        yield problem(targets, "", f"it was chosen from other faces; run {_AGAIN} again {_EACH}")
        return
    if targets is not None and (made_by := _inputs(targets).get(EMBED)) and made_by != network():
        yield problem(
            targets,
            "",
            f"it was chosen by embeddings of another network; run `facepipe embed`, then {_AGAIN} again {_EACH}",
        )
    if pairs is not None and _is_stale(pairs, digest, targets):
        stages = "`facepipe split` and `shard`"
        yield problem(pairs, "", f"it was made from other faces or targets; run {stages} again {_EACH}")
        return
    made_of = _digests_of(pairs, faces)
    for folder in shards:
        found = _inputs(folder)
        if made_of and found and found != made_of:
            kind = settings_or_empty(folder).get("examples")
            command = f"facepipe shard --examples {kind}" if kind else "facepipe shard"
            yield problem(folder, "", f"it was made from other pairs or faces; run `{command}` again {AS_BEFORE}")


def _inputs(folder: Place) -> dict[str, Any]:
    """What the settings say that a folder was made from; {} where they say nothing."""
    found = settings_or_empty(folder).get(INPUTS, {})
    return found if isinstance(found, dict) else {}


def _digest_of(faces: Place | None) -> str:
    """One hash over the faces; empty where they are not there or not whole."""
    try:
        return open_faces(faces.uri).digest if faces is not None else ""
    except FacepipeError:
        return ""


def _is_stale(pairs: Place, digest: str, targets: Place | None) -> bool:
    found = _inputs(pairs)
    if not found:
        return False
    if digest and found.get("faces") != digest:
        return True
    if targets is None or not targets.exists(TARGETS):
        return False
    return any(
        found.get(name) != (file_sha256(targets, name) if targets.exists(name) else None)
        for name in (TARGETS, LEFT_OUT, overrides.NAME)
    )


def _digests_of(pairs: Place | None, faces: Place | None) -> dict[str, str]:
    """What `shard` would note of these pairs and faces; {} where it would refuse them."""
    try:
        return open_inputs_of(faces.uri, pairs.uri).digests if pairs is not None and faces is not None else {}
    except FacepipeError:
        return {}
