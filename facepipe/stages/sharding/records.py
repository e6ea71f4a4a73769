"""One shard: its examples, block by block, with noise, as a TFRecord file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from facepipe.dataset.noise import Draw, Noise, add_noise
from facepipe.dataset.seeding import Draws
from facepipe.errors import DamagedFile
from facepipe.execution import Guard, PartReport
from facepipe.execution.stopwatch import Stopwatch
from facepipe.stages.sharding.order import iterate_blocks
from facepipe.stages.sharding.pixels import PixelReader
from facepipe.storage import place
from facepipe.storage.tfrecord import encode_example, frame_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from facepipe.stages.sharding.order import Block
    from facepipe.stages.sharding.plan import ShardPlan

_CHUNK = 256
_JPEG_QUALITY = 95
Encode = Callable[[Any], bytes]


@dataclass(frozen=True)
class RecordsJob:
    """Shard number -> its TFRecord file."""

    plan: ShardPlan
    names: tuple[str, ...]
    scratch: str
    output: str
    partial: str

    def __call__(self, number: int, guard: Guard) -> PartReport:
        """Writes the shard whole; the bytes depend on keys, settings and seed alone."""
        watch, digest = Stopwatch(), hashlib.sha256()
        writer = Writer(self.plan, PixelReader(self.scratch, self.plan, self.partial), watch)
        name, count = self.names[number], 0
        with place(self.output).open_output(name) as out:
            for index, block in enumerate(iterate_blocks(self.scratch, name, self.plan.block)):
                guard.on(index)
                if index in guard.blamed:
                    raise DamagedFile(f"{self.output}/{name}: writing its block {index} failed twice")
                for content in writer.records(block):
                    with watch.step("write"):
                        digest.update(content)
                        out.write(content)
                count += len(block)
            guard.off()  # many gigabytes may wait for the disk, or for the way to a store
        files = {name: digest.hexdigest()}
        return PartReport(counts={"examples": count}, steps_s=dict(watch.seconds), items=count, files=files)


class Writer:
    """Turns blocks of examples into framed records."""

    def __init__(self, plan: ShardPlan, pixels: PixelReader, watch: Stopwatch) -> None:
        self._plan = plan
        self._pixels = pixels
        self._watch = watch
        self._draws = Draws()
        self._encode = make_encoder(plan)

    def records(self, block: Block) -> Iterator[bytes]:
        """The block's records, some hundred of them at a time."""
        with self._watch.step("read"):
            pictures = [self._pixels.read(block.places[:, i]) for i in range(self._plan.pictures)]
        with self._watch.step("noise"):
            self._add_noise(block, pictures[0])
        messages = self._pairs(block, pictures) if self._plan.examples == "pairs" else self._faces(block, pictures)
        while True:
            with self._watch.step("encode"):
                records = [frame_record(encode_example(features)) for features in islice(messages, _CHUNK)]
            if not records:
                return
            yield b"".join(records)

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

    def _pairs(self, block: Block, pictures: list[NDArray[np.uint8]]) -> Iterator[dict[str, Any]]:
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

    def _faces(self, block: Block, pictures: list[NDArray[np.uint8]]) -> Iterator[dict[str, Any]]:
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
