"""The shards: every record reads, lengths as declared, nobody in two subsets, pictures as the crops they came from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.config import FORMATS, SUBSETS, ShardConfig
from facepipe.dataset.seeding import order_numbers
from facepipe.errors import AS_BEFORE, FacepipeError
from facepipe.stages.checking.folder import Problem, check_folder, problem, settings_or_empty
from facepipe.stages.checking.pictures import CleanHashes, TargetHashes, hash_picture
from facepipe.stages.output import INPUTS
from facepipe.stages.runfile import run_or_empty
from facepipe.stages.sharding.datacard import CARD
from facepipe.stages.sharding.inputs import open_inputs_of
from facepipe.stages.sharding.order import Examples
from facepipe.stages.sharding.plan import ShardPlan, make_plan
from facepipe.storage.formats import find_format, is_index, is_shard
from facepipe.storage.tfds import (
    FEATURES,
    FLOATS,
    FLOW,
    IMAGES,
    INFO,
    INTEGERS,
    TEXTS,
    Split,
    encode_features,
    read_info,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from facepipe.storage import Place
    from facepipe.storage.formats import Example

STAGE = "shard"
_LISTED = 3


@dataclass(frozen=True)
class Expected:
    """What the shards must hold. targets: of pairs only. examples: where the pairs and faces are there."""

    plan: ShardPlan
    clean: CleanHashes
    targets: TargetHashes | None
    examples: Examples | None

    def keys(self, name: str) -> list[tuple[str, int]] | None:
        """Key and copy of every example of a shard, in order; None where that is not known."""
        if self.examples is None:
            return None
        return next((self.examples.keys(shard) for shard in self.examples.shards if shard.name == name), [])


@dataclass
class Seen:
    """What the shards held so far. identities: name -> subset. examples: subset -> a number for each key and copy."""

    examples: dict[str, list[NDArray[np.uint64]]] = field(default_factory=dict)
    identities: dict[bytes, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    problems: Counter[str] = field(default_factory=Counter)


def check_shards(
    folder: Place, pairs: Place | None, faces: Place | None, advance: Callable[[], None]
) -> Iterator[Problem]:
    """Everything about a folder of shards; with the faces also that pictures are those of the crops."""
    settings = settings_or_empty(folder)
    stored, splits = find_format(FORMATS[0]), list[Split]()
    try:
        _, name, splits = read_info(folder)
        stored = find_format(name)
    except FacepipeError as error:
        yield problem(folder, INFO, str(error))
    shards = [entry.path for entry in folder.list() if is_shard(entry.path)]
    examples = next(iter(shards), "pairs-").split("-")[0]
    names = [
        (split.name, stored.shard_name(examples, split.name, number, len(split.shard_lengths)), length)
        for split in splits
        for number, length in enumerate(split.shard_lengths)
    ]
    yield from _check_files(folder, [name for _, name, _ in names], stored.indexes(examples, splits))
    if not settings:
        return
    plan = _plan_of(settings)
    yield from _check_features(folder, plan)
    targets = TargetHashes(plan, pairs, faces) if examples == "pairs" else None
    wanted = _read_examples(plan, pairs, faces, settings)
    seen, expected = Seen(), Expected(plan, CleanHashes(plan, faces), targets, wanted)
    for subset, name, length in names:
        if folder.exists(name):
            yield from _check_shard(folder, name, subset, length, expected, seen)
        advance()
    for subset, numbers in seen.examples.items():
        found = np.concatenate(numbers)
        if twice := len(found) - len(np.unique(found)):
            yield problem(folder, "", f"{twice:,} examples of {subset} are there twice")
    yield from _check_identities(folder, seen)


def _check_files(folder: Place, names: list[str], indexes: dict[str, bytes]) -> Iterator[Problem]:
    """Those that there are to be are there, no others, and indexes are what `dataset_info.json` says."""
    yield from check_folder(folder, [FEATURES, INFO, CARD, *indexes, *names], STAGE)
    if names:
        for entry in folder.list():
            if (is_shard(entry.path) or is_index(entry.path)) and entry.path not in {*names, *indexes}:
                yield problem(folder, entry.path, f"{INFO} does not declare it; remove it")
    for name, index in indexes.items():
        if folder.exists(name) and folder.read(name) != index:
            yield problem(folder, name, f"it is not what {INFO} says; run `facepipe shard` again {AS_BEFORE}")


def _read_examples(
    plan: ShardPlan, pairs: Place | None, faces: Place | None, settings: dict[str, Any]
) -> Examples | None:
    """What the shards were made from; None where it is not there, or has been made anew since (said elsewhere)."""
    if pairs is None or faces is None:
        return None
    try:
        inputs = open_inputs_of(faces.uri, pairs.uri)
        return Examples(plan, inputs) if inputs.digests == settings.get(INPUTS) else None
    except FacepipeError:
        return None


def _plan_of(settings: dict[str, Any]) -> ShardPlan:
    names = ("shards", "keep_clean", "size", "color", "encoding", "examples", "seed", "format")
    settings = {"format": FORMATS[0], **settings}
    noise = tuple(settings["noise"]) or ("none",)
    turns = {name: settings[name] for name in ("turns", "turn_yaw", "turn_pitch", "flow") if name in settings}
    return make_plan(ShardConfig(noise=noise, **turns, **{name: settings[name] for name in names}))


def _check_features(folder: Place, plan: ShardPlan) -> Iterator[Problem]:
    expected = encode_features(plan.examples, plan.size, plan.channels, plan.encoding, flow=plan.flow)
    if folder.exists(FEATURES) and folder.read(FEATURES) != expected:
        yield problem(folder, FEATURES, f"it is not what the settings say; run `facepipe shard` again {AS_BEFORE}")


def _check_shard(
    folder: Place, name: str, subset: str, length: int, expected: Expected, seen: Seen
) -> Iterator[Problem]:
    targets = expected.targets
    keys: list[tuple[str, int]] = []
    hashes: list[bytes] = []
    try:
        for record in expected.plan.stored.read(folder, name, expected.plan.examples):
            yield from _limited(folder, name, _check_record(record, subset, expected, seen), seen)
            if "key" in record:
                keys.append((record["key"].decode("utf-8", "surrogatepass"), record.get("copy", 0)))
                hashes.append(hash_picture(record.get("target", b"")))
            seen.counts[name] += 1
    except FacepipeError as error:
        yield problem(folder, name, str(error))
        return
    if seen.counts[name] != length:
        yield problem(folder, name, f"it has {seen.counts[name]:,} records, {INFO} declares {length:,}")
    if targets is not None:
        yield from _limited(folder, name, targets.compare([key for key, _ in keys], hashes), seen)
    numbers = order_numbers([f"{copy} {key}" for key, copy in keys], 0)
    seen.examples.setdefault(subset, []).append(numbers)
    wanted = expected.keys(name)
    if wanted is not None and keys != wanted:
        wrong = sorted(set(keys) ^ set(wanted))
        such = f", such as copy {wrong[0][1]} of {wrong[0][0]!r}" if wrong else "; their order is another"
        yield problem(folder, name, f"its examples are not those that the pairs and faces give{such}")


def _limited(folder: Place, name: str, messages: Iterator[str], seen: Seen) -> Iterator[Problem]:
    """The first few of a shard's problems: a thousand lines say no more."""
    for message in messages:
        seen.problems[name] += 1
        if seen.problems[name] <= _LISTED:
            yield problem(folder, name, message)


def _check_record(record: Example, subset: str, expected: Expected, seen: Seen) -> Iterator[str]:
    """One example: features, sizes, subset, noise that says what it is, and where there is none the crop's pixels."""
    plan, kind = expected.plan, expected.plan.examples
    names = {*IMAGES[kind], *TEXTS[kind], *FLOATS[kind], *INTEGERS[kind], *([FLOW] if plan.flow else [])}
    if record.keys() != names:
        yield f"a record has the features {sorted(record)} instead of {sorted(names)}"
        return
    key, identity = record["key"].decode("utf-8", "replace"), record["identity"]
    if seen.identities.setdefault(identity, subset) != subset:
        yield f"{identity.decode('utf-8', 'replace')!r} is in two subsets, {seen.identities[identity]} and {subset}"
    if plan.encoding == "raw" and any(len(record[image]) != plan.pixel_bytes for image in IMAGES[kind]):
        yield f"{key!r} has pictures of another size"
    if kind != "faces":
        yield from _check_noise(record, key, subset, plan)
    # What is turned can't be told from the crop without turning it again, which no other processor does to the bit.
    image, of = {"pairs": "feature", "faces": "image", "turned": "target"}[kind], record["key"]
    of = of.rpartition(b"~")[0] if kind == "turned" else of
    if not (kind == "pairs" and record["noise"]) and not expected.clean.agree(of, record[image]):
        yield f"the {image} of {key!r} is not its clean picture"


def _check_noise(record: Example, key: str, subset: str, plan: ShardPlan) -> Iterator[str]:
    copy, noise, strength = record["copy"], record["noise"].decode(), record["noise_strength"]
    kinds = [("", 0.0), *((noise.kind, float(np.float32(noise.strength))) for noise in plan.noises)]
    if not 0 <= copy < len(kinds) or (noise, strength) != kinds[copy]:
        yield f"copy {copy} of {key!r} says noise {noise!r} of {strength:g}"
    if noise and subset != "train":
        yield f"{key!r} is noisy in {subset}"


def _check_identities(folder: Place, seen: Seen) -> Iterator[Problem]:
    """Who is in which subset, as `run.json` says."""
    run = run_or_empty(folder)
    declared = run.get("identities")
    if isinstance(declared, dict):
        listed = {
            name.encode("utf-8", "surrogatepass"): subset for subset in SUBSETS for name in declared.get(subset, [])
        }
        if listed != seen.identities:
            name = min(listed.items() ^ seen.identities.items())[0].decode("utf-8", "replace")
            yield problem(folder, "run.json", f"its identities are not those of the shards, such as {name!r}")
    elif run:
        yield problem(folder, "run.json", "it does not say who is in which subset")
