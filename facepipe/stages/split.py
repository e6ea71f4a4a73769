"""Feature/target pairs, train / validation / test by identity: keys and places only, no picture is copied."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.config import SUBSETS, settings_of
from facepipe.dataset.duplicates import find_alike
from facepipe.dataset.splitting import SubsetRule
from facepipe.errors import AS_BEFORE, FacepipeError, Incomplete, InputError, UsageError
from facepipe.execution.stopwatch import Stopwatch
from facepipe.inputs.names import published_subset
from facepipe.records import StageReport
from facepipe.stages import overrides
from facepipe.stages.faces import open_faces, read_columns
from facepipe.stages.filters import asks_to_leave_out, leave_out_features
from facepipe.stages.frames import COLUMNS as FILTERED
from facepipe.stages.frames import make_groups
from facepipe.stages.images import write_images
from facepipe.stages.leftout import LEFT_OUT, Why, count_left_out
from facepipe.stages.output import INPUTS, foresee, open_output
from facepipe.stages.pairs import COLUMNS, SUMMARY, Pairs, drop_copies, make_pairs, pair_tables, read_summary
from facepipe.stages.runfile import write_run_file
from facepipe.stages.scan import scan_faces
from facepipe.stages.select import TARGETS
from facepipe.storage import parquet, place, tables
from facepipe.storage.checksums import file_sha256
from facepipe.storage.settings import read_settings
from facepipe.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from facepipe.config import SplitConfig
    from facepipe.execution.progress import Progress
    from facepipe.stages.faces import Faces
    from facepipe.stages.output import Output
    from facepipe.storage import Place

STAGE = "split"
_ALIKE_LISTED = 1000


def run(config: SplitConfig, progress: Progress) -> StageReport:
    """Makes `config.output`: `part-*.parquet`, `summary.json`, `settings.json`, `checksums.sha256`, `run.json`.

    Raises:
        Incomplete: parts of the faces are missing, or the targets are of other faces.
        SettingsChanged: the pairs were made with other settings.
    """
    started = time.monotonic()
    faces, targets = open_faces(config.faces), place(config.targets)
    _refuse_images_there(config)
    settings = _settings(config, faces, targets)
    report = StageReport(STAGE, outputs={"pairs": config.output})
    if config.execution.dry_run:
        foresee(config.output, settings, config.execution.overwrite)
        report.notes.append(f"dry run: would read {len(faces.parts):,} parts of {config.faces}")
        return report
    with open_output(config.output, settings, config.execution.overwrite, is_own) as out:
        summary = _find_finished(config, out, targets)
        if summary is None:
            report.steps_s, summary = _make(config, faces, targets, out, progress)
        else:
            report.done_before = summary["parts"]
        out.finish()
        if config.images:
            made = settings | {"stage": "split --images"}
            people = [name for names in summary["identities"].values() for name in names]
            write_images(config, made, summary["parts"], people, progress)
            report.outputs["images"] = config.images
        report.wall_s = time.monotonic() - started
        chose = count_left_out(targets)
        left_out = {why: n for why, count in count_left_out(out.place).items() if (n := count - chose.get(why, 0))}
        _tell(report, summary, out.place, config)
        report.counts |= {f"left out {Why(why).told}": n for why, n in left_out.items()}
        identities = {subset: len(names) for subset, names in summary["identities"].items()}
        facts = {"identities": identities, "left_out": left_out}
        write_run_file(out.place, config, report, facts)
    return report


def _settings(config: SplitConfig, faces: Faces, targets: Place) -> dict[str, Any]:
    if not targets.exists(TARGETS):
        raise InputError(f"{targets} holds no targets; run `facepipe select` first, or give another --targets")
    chosen_from = read_settings(targets).get(INPUTS, {}).get("faces")
    if chosen_from != faces.digest:
        raise Incomplete(
            f"{targets} was chosen from other faces than {faces.place}; run `facepipe select` again {AS_BEFORE}"
        )
    digests = {name: file_sha256(targets, name) for name in (TARGETS, LEFT_OUT, overrides.NAME) if targets.exists(name)}
    return {"stage": STAGE, **settings_of(config), INPUTS: {"faces": faces.digest, **digests}}


def _refuse_images_there(config: SplitConfig) -> None:
    """PNG files go to a folder of their own."""
    taken = [config.output, config.faces, config.targets]
    if config.images and any(os.path.realpath(config.images) == os.path.realpath(other) for other in taken):
        raise UsageError(f"--images is {config.images}, which the pairs or their inputs have; give a folder of its own")


def is_own(path: str) -> bool:
    """Whether a file in the output is one of this stage's."""
    return path in (SUMMARY, LEFT_OUT, overrides.NAME) or parquet.is_part(path)


def _find_finished(config: SplitConfig, out: Output, targets: Place) -> dict[str, Any] | None:
    """What an earlier run made, if all of it is whole."""
    filtered = targets.exists(LEFT_OUT) or asks_to_leave_out(config)
    if not out.has(SUMMARY) or (filtered and not out.has(LEFT_OUT)):
        return None
    try:
        summary = read_summary(out.place)
    except FacepipeError:
        return None
    whole = all(out.has(parquet.part_name(number)) for number in range(summary["parts"]))
    return summary if whole else None


def _make(
    config: SplitConfig, faces: Faces, targets: Place, out: Output, progress: Progress
) -> tuple[dict[str, float], dict[str, Any]]:
    """Scans the crops, pairs, splits, writes; gives the seconds by step and the summary."""
    watch = Stopwatch()
    corrections = overrides.read_corrections(targets)
    people = overrides.people_of(corrections)
    published = _published_subsets(faces, people) if config.keep_subsets else None
    hashes, steps = scan_faces(faces, out, config.execution, progress)
    chosen, per = parquet.read_table(targets, TARGETS), read_settings(targets).get("per", "identity")
    with watch.step("filter"):
        left_out = parquet.read_table(targets, LEFT_OUT) if targets.exists(LEFT_OUT) else None
        if asks_to_leave_out(config):
            groups = make_groups(read_columns(faces, FILTERED, people), per, corrections)
            leave_out_features(groups, config, chosen, left_out, hashes)
            left_out = groups.left_out_table()
    with watch.step("pair"):
        pairs = make_pairs(
            read_columns(faces, COLUMNS, people),
            chosen,
            per,
            left_out.column("key").to_pylist() if left_out is not None else [],
            hashes["content"],
            SubsetRule(config.seed, config.validation, config.test, published),
        )
    with watch.step("compare"):
        pairs = drop_copies(pairs, hashes, faces)
        alike = _name_alike(pairs, hashes)
    with watch.step("write"):
        # Both for `shard --examples faces`, which reads no pairs.
        if corrections:
            out.write(overrides.NAME, overrides.encode_overrides(corrections))
        if left_out is not None:
            out.note(LEFT_OUT, parquet.write_table(out.place, LEFT_OUT, left_out))
        summary = _write(pairs, alike, published, out)
    return {**watch.seconds, **{f"crops {step}": seconds for step, seconds in steps.items()}}, summary


def _published_subsets(faces: Faces, people: Mapping[str, str]) -> dict[str, str]:
    """Identity -> subset, by the folders that the pictures lie in; who has none is where the faces came from."""
    subsets: dict[str, str] = {}
    table = read_columns(faces, ("key", "identity", "path")).table
    for identity, folder in tables.folders(table):
        subset = published_subset(folder, identity)
        before = subsets.setdefault(identity, subset)
        if not subset or before != subset:
            where = f"in {before} and in {subset}" if subset and before else "in no folder train, val or test"
            raise UsageError(f"--keep-subsets: {identity!r} lies {where}; without it, split chooses the subsets")
    came_from = tables.take(table.select(["identity"]), tables.find(table, "key", list(people))).to_pylist()
    for row, identity in zip(came_from, people.values(), strict=True):
        subsets.setdefault(identity, subsets[row["identity"]])
    return subsets


def _name_alike(pairs: Pairs, hashes: NDArray[np.void]) -> list[dict[str, Any]]:
    """Pictures that lie under two identities, by key."""
    found = find_alike(hashes, pairs.identity)
    rows = np.array([index for a, b, _ in found for index in (a, b)], dtype=np.int64)
    keys = tables.take(pairs.columns.table.select(["key"]), rows).column("key").to_pylist()
    return [
        {
            "keys": keys[2 * i : 2 * i + 2],
            "identities": [pairs.identities[pairs.identity[index]] for index in (a, b)],
            "differing_bits": distance,
        }
        for i, (a, b, distance) in enumerate(found)
    ]


def _write(pairs: Pairs, alike: list[dict[str, Any]], published: dict[str, str] | None, out: Output) -> dict[str, Any]:
    """The parts that are not there, then the summary: it is written last and says how many parts there are."""
    count = 0
    for count, table in enumerate(pair_tables(pairs), 1):
        name = parquet.part_name(count - 1)
        if not out.has(name):
            out.note(name, parquet.write_table(out.place, name, table))
    for name in parquet.part_names(out.place)[count:]:
        out.place.delete(name)
    people = sorted(set(zip(pairs.subset.tolist(), pairs.identity[pairs.feature].tolist(), strict=True)))
    by_subset = Counter(pairs.subset.tolist())
    summary = {
        "parts": count,
        "pairs": {subset: by_subset[i] for i, subset in enumerate(SUBSETS)},
        "identities": {
            subset: [pairs.identities[identity] for i, identity in people if SUBSETS[i] == subset] for subset in SUBSETS
        },
        "published_subsets": published,
        "duplicates": pairs.duplicates,
        "alike_under_two_identities": len(alike),
        "alike": alike[:_ALIKE_LISTED],
    }
    out.write(SUMMARY, (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass"))
    return summary


def _tell(report: StageReport, summary: dict[str, Any], out: Place, config: SplitConfig) -> None:
    report.counts = {f"{subset} pairs": number for subset, number in summary["pairs"].items() if number}
    report.counts["duplicates left out"] = summary["duplicates"]
    if summary["alike_under_two_identities"]:
        report.notes.append(
            f"{summary['alike_under_two_identities']:,} pairs of identities share a picture, or nearly so; "
            f"{out}/{SUMMARY} lists them"
        )
    if not sum(summary["pairs"].values()):
        report.notes.append("no pairs: nobody has a target and another usable frame; `--examples faces` needs none")
        return
    people = sum(len(names) for names in summary["identities"].values())
    for subset, share in (("validation", config.validation), ("test", config.test)):
        held_out = summary["identities"][subset]
        if len(held_out) == 1:
            report.notes.append(f"only one person is in {subset}: figures on {held_out[0]} alone say little")
        if share and not held_out and not config.keep_subsets:
            report.notes.append(
                f"nobody is in {subset}: of {counted(people, 'person', 'people')} none fell into a share of {share:g}; "
                f"give a larger --{subset}, or another --seed"
            )
