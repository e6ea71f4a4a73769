"""The data card beside the shards, as Hugging Face reads it (https://huggingface.co/docs/hub/datasets-cards)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facepipe.storage.formats import ShardFormat
    from facepipe.storage.tfds import Split

CARD = "README.md"
TASKS = {"pairs": "image-to-image", "faces": "unconditional-image-generation", "turned": "image-to-image"}
ABOUT = {
    "pairs": "Pairs of one person's faces: a turned one (`feature`) and the most frontal one (`target`).",
    "faces": "Single faces, a picture each.",
    "turned": "Frontal faces (`target`), and the same photographs turned in 3D (`feature`), which are rendered.",
}
FIELDS = {
    "pairs": "`key`, `identity`, `feature`, `target`, `feature_angle`, `target_angle`, `feature_yaw` (degrees), "
    "`noise`, `noise_strength`, `copy`, `label` (-1: none)",
    "faces": "`key`, `identity`, `image`, `yaw`, `pitch` (degrees), `label` (-1: none)",
}
FIELDS["turned"] = FIELDS["pairs"] + ", `feature_pitch`, and `flow` where it was asked for"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10**7, "1M<n<10M"))
CONSENT = """\
## Consent and biometric data

Pictures of faces are personal data, and in many countries biometric data, whose use needs the consent of the people
shown or another legal ground. This card can't tell whether that was given: say here where the pictures come from, under
which terms, and how a person can have theirs removed. Not meant for telling who a person is, nor for judging people by
their looks. Whatever was unbalanced in the pictures that went in (age, sex, skin, light) is unbalanced here too.
"""


def encode_card(
    examples: str,
    splits: Sequence[Split],
    people: Mapping[str, int],
    settings: Mapping[str, Any],
    stored: ShardFormat,
) -> bytes:
    """The card for `pairs`, `faces` or `turned`; the same shards give the same bytes.

    Args:
        examples: `pairs`, `faces` or `turned`.
        splits: subsets with their shards' lengths.
        people: identities by subset.
        settings: what `settings.json` holds.
        stored: the shards' format.
    """
    total = sum(sum(split.shard_lengths) for split in splits)
    size = next((name for bound, name in SIZES if total < bound), "n>10M")
    front = ["---", f"pretty_name: facepipe {examples}", f"task_categories: [{TASKS[examples]}]"]
    front += [f"tags: [faces, head-pose, {stored.name}, biometric]", f"size_categories: [{size}]"]
    front += [*stored.card(examples, splits), "---", ""]
    rows = [
        f"| {split.name} | {people.get(split.name, 0):,} | {sum(split.shard_lengths):,} | {len(split.shard_lengths)} |"
        for split in splits
        if sum(split.shard_lengths)
    ]
    told = [f"| `{name}` | `{json.dumps(value)}` |" for name, value in sorted(settings.items()) if name != "inputs"]
    lines = [
        *front,
        f"# {examples}",
        "",
        f"{ABOUT[examples]} Made by facepipe; no person is in two subsets.",
        "",
        "| subset | people | examples | shards |",
        "|---|---|---|---|",
        *rows,
        "",
        *stored.how(examples, FIELDS[examples]),
        "",
        "## Settings",
        "",
        "| setting | value |",
        "|---|---|",
        *told,
        "",
        "`run.json` names every person by subset and the versions used; `checksums.sha256` is for `sha256sum -c`.",
        "",
        CONSENT,
    ]
    return "\n".join(lines).encode()
