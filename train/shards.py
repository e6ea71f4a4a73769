"""What `facepipe shard` wrote: finds it, reads its description, and refuses what a model can't be taught on."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facepipe.errors import AS_BEFORE, DamagedFile, InputError, UsageError
from facepipe.storage import place
from train.files import reading_back

if TYPE_CHECKING:
    from facepipe.storage import Place
    from train.runs import Run

SHARD = re.compile(r"^(?P<name>[a-z]+)-(?P<subset>[a-z]+)\.tfrecord-(?P<number>\d{5})-of-(?P<total>\d{5})$")


@dataclass(frozen=True)
class ImageView:
    """How a model wants one image: its side in px, its channels, its range (`raw` stays uint8)."""

    name: str
    size: int
    channels: int
    scale: str = "unit"


@dataclass(frozen=True)
class View:
    """What a batch holds: one array (n, size, size, channels) an image, then `label` (n,) int64 where asked."""

    images: tuple[ImageView, ...]
    label: bool = False
    mirror: bool = False
    """Mirrors half of the training examples, all images of an example together."""
    swap: float = 0.0
    """Share of the training examples whose second image becomes the first of another example of that person: see
    `order`. Only where the subset is held in memory."""


FLOW = "flow"
"""The feature of turned pairs that says where each pixel of the target lies in the feature: (size, size, 3) uint8, x
and y in 256ths of the side, 255 where it is seen. As an image of a view it stands behind the target, in one array."""


class NoShards(InputError):
    """A folder without shards of the kind that is wanted."""


@dataclass(frozen=True)
class Shards:
    """One set of shards and what features.json says of its images."""

    place: Place
    examples: str
    """`pairs` or `faces`."""
    images: tuple[str, ...]
    """The image features: feature and target, or image."""
    size: int
    """px, the side of the square images."""
    channels: int
    encoding: str
    """raw, png or jpeg."""
    files: dict[str, tuple[str, ...]]
    """Names by subset, in order."""
    lengths: dict[str, int]
    """Records by subset."""
    identities: dict[str, frozenset[str]]
    crops: dict[str, Any] = field(default_factory=dict)
    """How the faces were cut out: the options `margin` and `cropped` of `extract`, as far as it is known."""
    flow: bool = False
    """Whether they say where each pixel of the target lies in the feature."""

    @property
    def bytes_each(self) -> int:
        """A record's images, decoded."""
        return len(self.images) * self.size * self.size * self.channels

    def check_count(self, subset: str, found: int) -> None:
        """Raises a `DamagedFile` where the files of a subset hold another number of records than was written."""
        written = self.lengths.get(subset, 0)
        if found != written:
            raise DamagedFile(
                f"the {subset} shards in {self.place} hold {found:,} of the {written:,} records that were written; "
                f"run `facepipe shard --examples {self.examples}` again {AS_BEFORE}"
            )

    def check_fits(self, view: View) -> list[str]:
        """What is done to the images so that they fit `view`, a sentence each.

        Raises:
            InputError: They can't fit; the command that makes fitting shards is in it.
        """
        images = [image for image in view.images if image.name != FLOW]
        size, channels = max(v.size for v in images), max(v.channels for v in images)
        flow = len(images) < len(view.images)
        color = "rgb" if channels == 3 else "gray"
        examples = "turned" if flow else self.examples
        command = f"facepipe shard --examples {examples} --size {max(size, self.size)} --color {color}"
        if flow:
            command += " --flow"
        if flow and not self.flow:
            raise InputError(f"the shards in {self.place} hold no flow; run `{command} --overwrite`")
        if size > self.size:
            raise InputError(
                f"the model takes {size} px images, the shards in {self.place} hold {self.size} px: enlarged pictures "
                f"teach nothing, so run `{command} --overwrite` first"
            )
        if channels > self.channels:
            raise InputError(
                f"the model takes RGB images, the shards in {self.place} are gray; run `{command} --overwrite`"
            )
        notes = []
        for image in images:
            if image.size != self.size:
                notes.append(f"{image.name}: resized from {self.size} to {image.size} px as it is read")
            if image.channels != self.channels:
                notes.append(f"{image.name}: turned to gray as it is read")
        return notes


def find_shards(folder: str, examples: str) -> Shards:
    """The shards of `examples` (pairs or faces) in `folder`: data/shards, data/shards/pairs or .../pairs/1.0.0.

    Raises:
        NoShards: There are none.
        InputError: Some are missing, or an identity is in two subsets.
        DamagedFile: Their description can't be read, or tells of a subset that has no files.
    """
    where = _versioned(place(folder), examples)
    if where is None:
        raise NoShards(f"no shards of {examples} in {folder}; make them with `facepipe shard --examples {examples}`")
    again = f"run `facepipe shard --examples {examples}` again {AS_BEFORE}"
    images = ("image",) if examples == "faces" else ("feature", "target")
    files = _files(where)
    with reading_back(f"{where}/features.json", again):
        described = json.loads(where.read("features.json"))["featuresDict"]["features"]
        missing = any(name not in described for name in images)
        size, channels, encoding = (0, 0, "") if missing else _image_layout(described[images[0]])
    if missing:
        raise InputError(f"{where} holds no {examples}; make them with `facepipe shard --examples {examples}`")
    if not size:
        raise InputError(f"{where} holds images that are not square or not of 1 or 3 channels; {again}")
    with reading_back(f"{where}/dataset_info.json", again):
        info = json.loads(where.read("dataset_info.json"))
        stored, splits = info.get("fileFormat", "tfrecord"), info["splits"]
        lengths = {str(split["name"]): sum(map(int, split.get("shardLengths", []))) for split in splits}
    if stored != "tfrecord":
        raise InputError(
            f"{where} holds shards for other readers (--format {stored}); make those that training reads with "
            f"`facepipe shard --examples {examples} -o DIR`, and give --shards DIR"
        )
    for subset, count in lengths.items():
        if count and subset not in files:
            raise DamagedFile(f"{where} has lost all its {subset} shards, which held {count:,} records; {again}")
    with reading_back(f"{where}/run.json", again):
        run = json.loads(where.read("run.json"))
        identities = {str(name): frozenset(ids) for name, ids in run.get("identities", {}).items()}
        crops = dict(run.get("crops", {}))
    check_disjoint(identities)
    lengths = {subset: lengths.get(subset, 0) for subset in files}
    flow = FLOW in described
    return Shards(where, examples, images, size, channels, encoding, files, lengths, identities, crops, flow)


def examples_of(run: Run) -> str:
    """What a run is taught with and measured on."""
    if run.kind == "gan":
        return "faces"
    return "turned" if run.settings.get("family") == "warp" else "pairs"


def shards_to_measure(run: Run, folder: str, examples: str) -> Shards:
    """As `find_shards`; where those that a run was trained on are not there, a `NoShards` says what to give."""
    try:
        return find_shards(folder, examples)
    except NoShards:
        if folder != run.settings["shards"]:
            raise
        raise NoShards(
            f"{run.folder} was trained on {folder}, where no {examples} are: run this in the folder that the training "
            "ran in, or give --shards DIR"
        ) from None


def check_disjoint(identities: dict[str, frozenset[str]]) -> None:
    """Raises an `InputError` where an identity is in two subsets: validation would measure memory."""
    subsets = sorted(identities)
    for number, first in enumerate(subsets):
        for second in subsets[number + 1 :]:
            both = sorted(identities[first] & identities[second])
            if both:
                raise InputError(
                    f"{len(both)} identities are in both {first} and {second} ({', '.join(both[:3])}): validation "
                    "would measure memory; run `facepipe split` and `facepipe shard` again, which keep identities apart"
                )


def _versioned(root: Place, examples: str) -> Place | None:
    """The newest version's folder."""
    if root.exists("features.json"):
        return root
    for start in (root.join(examples), root):
        # By number, not as text: 1.10.0 comes after 1.9.0.
        versions = {entry.path.split("/")[0] for entry in start.list() if entry.path.count("/") == 1}
        numbered = sorted(
            (v for v in versions if re.fullmatch(r"\d+(\.\d+)+", v)), key=lambda v: [*map(int, v.split("."))]
        )
        if numbered and start.exists(f"{numbered[-1]}/features.json"):
            return start.join(numbered[-1])
    return None


def _image_layout(feature: dict[str, Any]) -> tuple[int, int, str]:
    """Side, channels and encoding, from TFDS's Tensor or Image; side 0 of what no model here takes."""
    block = feature.get("tensor") or feature["image"]
    height, width, channels = (int(d) for d in block["shape"]["dimensions"])
    size = height if height == width and channels in {1, 3} else 0
    return size, channels, "raw" if "tensor" in feature else block.get("encodingFormat", "png")


def _files(where: Place) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[re.Match[str]]] = {}
    for entry in where.list():
        if match := SHARD.match(entry.path):
            found.setdefault(match["subset"], []).append(match)
    for subset, matches in found.items():
        total = int(matches[0]["total"])
        if len(matches) != total:
            raise InputError(
                f"{where} has {len(matches)} of {total} {subset} shards; run `facepipe shard` again {AS_BEFORE}"
            )
    return {subset: tuple(sorted(m.string for m in matches)) for subset, matches in sorted(found.items())}


def need(shards: Shards, subset: str) -> int:
    """How many records the subset has; an `InputError` where there are none."""
    count = shards.lengths.get(subset, 0)
    if not count:
        why = "`facepipe report` shows why" if subset == "train" else f"`facepipe split --{subset} F` holds some out"
        raise InputError(f"{shards.place} has no {subset} records; {why}")
    return count


def need_subset(shards: Shards, subset: str) -> None:
    """Checks the --subset of a command that measures.

    Raises:
        UsageError: The shards hold no such subset; the ways out are in it.
    """
    if shards.lengths.get(subset):
        return
    ways = [f"give --subset {name}" for name in sorted(shards.lengths, key=shards.lengths.__getitem__)[-1:]]
    if subset in {"validation", "test"}:
        examples = " --examples faces" if shards.examples == "faces" else ""
        ways.append(
            f"hold people back (`facepipe split --{subset} 0.3 --overwrite`, "
            f"`facepipe shard{examples} --overwrite`) and train again"
        )
    raise UsageError(f"--subset is {subset!r}; {shards.place} has {', '.join(shards.files)}: {', or '.join(ways)}")


def parts_of_a_pass(count: int, batch_size: int) -> tuple[int, int]:
    """The batch size (no larger than the subset) and how many whole batches one pass has."""
    size = min(batch_size, count)
    return size, math.floor(count / size)
