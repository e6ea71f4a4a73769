"""One shard: its examples, block by block, with noise, in a file of its format."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import cv2
import numpy as np

from facepipe.dataset.noise import Draw, Noise, add_noise
from facepipe.dataset.seeding import Draws
from facepipe.errors import DamagedFile
from facepipe.execution import Guard, PartReport
from facepipe.execution.stopwatch import Stopwatch
from facepipe.stages.sharding.order import iterate_blocks
from facepipe.stages.sharding.pixels import PixelReader
from facepipe.stages.sharding.turned import join_flow
from facepipe.storage import place
from facepipe.storage.checksums import Hashed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from facepipe.stages.sharding.order import Block
    from facepipe.stages.sharding.plan import ShardPlan
    from facepipe.storage.formats import Example

_CHUNK = 256
_JPEG_QUALITY = 95
Encode = Callable[[Any], bytes]


@dataclass(frozen=True)
class RecordsJob:
    """Shard number -> its file."""

    plan: ShardPlan
    names: tuple[str, ...]
    scratch: str
    output: str
    partial: str

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Writes the shard whole; the bytes depend on keys, settings and seed alone."""
        watch, plan, name = Stopwatch(), self.plan, self.names[number]
        writer = Writer(plan, PixelReader(self.scratch, plan, self.partial), watch)
        count = 0

        def examples() -> Iterator[Example]:
            nonlocal count
            for index, block in enumerate(iterate_blocks(self.scratch, name, plan.block)):
                guard.on(index)
                if index in guard.blamed:
                    raise DamagedFile(f"{self.output}/{name}: writing its block {index} failed twice")
                yield from writer.examples(block)
                count += len(block)

        with place(self.output).open_output(name) as out:
            file = Hashed(out, lambda: watch.step("write"))
            with watch.step("encode"):
                plan.stored.write(cast("BinaryIO", file), name, plan.examples, examples())
            guard.off()  # many gigabytes may wait for the disk, or for the way to a store
        files = {name: file.sha256.hexdigest()}
        return PartReport(steps_s=dict(watch.seconds), items=count, files=files)


class Writer:
    """Turns blocks of examples into their features."""

    def __init__(self, plan: ShardPlan, pixels: PixelReader, watch: Stopwatch) -> None:
        self._plan = plan
        self._pixels = pixels
        self._watch = watch
        self._draws = Draws()
        self._encode = make_encoder(plan)

    def examples(self, block: Block) -> Iterator[Example]:
        """The block's examples, in order."""
        with self._watch.step("read"):
            pictures = [self._pixels.read(block.places[:, i]) for i in range(self._plan.pictures)]
            flows = [
                self._pixels.read(block.places[:, 0] + np.array([0, 1 + i], np.int32))
                for i in range(self._plan.flow_places)
            ]
        with self._watch.step("noise"):
            self._add_noise(block, pictures[0])
        examples = self._faces(block, pictures) if self._plan.examples == "faces" else self._pairs(block, pictures)
        return self._turned(examples, join_flow(flows) if flows else None) if self._plan.turns else examples

    def _add_noise(self, block: Block, images: NDArray[np.uint8]) -> None:
        """Each copy's noise, in place; targets stay clean."""
        for number, noise in enumerate(self._plan.noises, 1):
            members = np.flatnonzero(block.copies == number)
            for at in range(0, len(members), _CHUNK):
                some = members[at : at + _CHUNK]
                images[some] = add_noise(images[some], noise, self._draw(noise, [block.keys[i] for i in some.tolist()]))

    def _draw(self, noise: Noise, keys: list[str]) -> Draw:
        """The generator of each of some examples: it depends on the example's key, the noise and the seed alone."""
        return lambda i: self._draws.at("noise", self._plan.seed, noise.kind, noise.strength, keys[i])

    def _pairs(self, block: Block, pictures: list[NDArray[np.uint8]]) -> Iterator[Example]:
        kinds = ["", *(noise.kind for noise in self._plan.noises)]
        strengths = [0.0, *(noise.strength for noise in self._plan.noises)]
        refs = zip(
            block.keys,
            block.identities,
            block.copies.tolist(),
            block.labels.tolist(),
            block.angles.tolist(),
            *pictures,
            strict=True,
        )
        encode_target = self._remember(block.places[:, 1])
        for index, (key, identity, copy, label, angles, feature, target) in enumerate(refs):
            yield {
                "copy": copy,
                "feature": self._encode(feature),
                "feature_angle": angles[0],
                "feature_yaw": angles[2],
                "identity": identity,
                "key": key.encode("utf-8", "surrogatepass"),
                "label": label,
                "noise": kinds[copy],
                "noise_strength": strengths[copy],
                "target": encode_target(index, target),
                "target_angle": angles[1],
            }

    def _turned(self, pairs: Iterator[dict[str, Any]], flows: NDArray[np.uint8] | None) -> Iterator[dict[str, Any]]:
        """Pairs with the feature's pitch, which stood in its angle's place, and its flow, which is never encoded."""
        for index, pair in enumerate(pairs):
            pitch = pair["feature_angle"]
            forward = math.cos(math.radians(pair["feature_yaw"])) * math.cos(math.radians(pitch))
            pair |= {"feature_angle": math.degrees(math.acos(min(forward, 1.0))), "feature_pitch": pitch}
            yield pair if flows is None else pair | {"flow": flows[index].tobytes()}

    def _remember(self, places: NDArray[np.int32]) -> Callable[[int, NDArray[np.uint8]], bytes]:
        """An encoder of targets that encodes each distinct one once a block: an identity's pairs share it."""
        if self._plan.encoding == "raw":
            return lambda _, target: self._encode(target)
        known: dict[tuple[int, int], bytes] = {}
        keys = [(part, row) for part, row in places.tolist()]

        def encode(index: int, target: NDArray[np.uint8]) -> bytes:
            if keys[index] not in known:
                known[keys[index]] = self._encode(target)
            return known[keys[index]]

        return encode

    def _faces(self, block: Block, pictures: list[NDArray[np.uint8]]) -> Iterator[Example]:
        refs = zip(
            block.keys,
            block.identities,
            block.labels.tolist(),
            block.angles.tolist(),
            pictures[0],
            strict=True,
        )
        for key, identity, label, angles, image in refs:
            yield {
                "identity": identity,
                "image": self._encode(image),
                "key": key.encode("utf-8", "surrogatepass"),
                "label": label,
                "pitch": angles[1],
                "yaw": angles[0],
            }


def make_encoder(plan: ShardPlan) -> Encode:
    """How a picture, (size, size, channels) uint8, gray or RGB, becomes bytes."""
    if plan.encoding == "raw":
        return np.ndarray.tobytes
    suffix, options = (".png", []) if plan.encoding == "png" else (".jpg", [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if plan.channels == 1:
        return lambda image: cv2.imencode(suffix, image, options)[1].tobytes()
    return lambda image: cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()
