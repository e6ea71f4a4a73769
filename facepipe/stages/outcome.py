"""Whether a whole run gave what it is for, faces and pairs; and where it did not, why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facepipe.config import join
from facepipe.errors import InputError
from facepipe.records import Status
from facepipe.stages.select import TARGETS
from facepipe.stages.targets import tell_refusals
from facepipe.storage import parquet, place
from facepipe.storage.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facepipe.records import StageReport

_LOOK_AT = (
    ("the boxes where they are labelled", {Status.NO_FACE}),
    ("--min-face", {Status.NO_FACE, Status.SMALL_FACE}),
    ("--min-score", {Status.LOW_SCORE}),
)


def refuse_no_face(counts: Mapping[str, int], workspace: str) -> None:
    """Ends a run after `extract` where nothing could follow.

    Args:
        counts: rows by status; of each image one is not `other_face`.
        workspace: named to the user.

    Raises:
        InputError: no image gave the identity's face.
    """
    if counts.get(Status.OK):
        return
    images = {status: n for status, n in counts.items() if status != Status.OTHER_FACE}
    ordered = sorted(images.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{n:,} {status}" for status, n in ordered)
    look_at = ", ".join(what for what, statuses in _LOOK_AT if not statuses.isdisjoint(images))
    raise InputError(
        f"none of {sum(images.values()):,} images gave the identity's face ({listed}); `facepipe report --data "
        f"{workspace}` shows them{f'; look at {look_at}' if look_at else ''}; what is finished is kept"
    )


def tell_outcome(reports: Sequence[StageReport], workspace: str) -> str:
    """`done and verified`; or, where pairs were asked for and there is none, why there is none."""
    if not any(report.stage == "shard pairs" and not report.counts for report in reports):
        return "done and verified"
    folder = place(join(workspace, "targets"))
    targets, settings = parquet.read_table(folder, TARGETS), read_settings(folder)
    refusals = ", ".join(tell_refusals(targets, settings.get("min_frames", 1), settings.get("max_angle")))
    rows = targets.select(["frames", "target_key"]).to_pylist()
    frames = [row["frames"] for row in rows if row["target_key"]]
    if not frames:
        return f"verified, but nobody has a target, so there are no pairs: {refusals}"
    if max(frames) > 1:
        why = "the other frames of those who have a target show the same picture"
    else:
        why = "nobody with a target has another usable frame" if refusals else "nobody has two usable frames"
        extracted = read_settings(place(join(workspace, "faces")))
        if extracted["layout"] == "flat" and not extracted["manifest"]:
            why += ", as every file counts as a person of its own (--group --overwrite finds out who is on which)"
    return f"verified, but there are no pairs: {why}{f'; without a target: {refusals}' if refusals else ''}"
