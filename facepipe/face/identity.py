"""Whose face: 128 numbers a face, alike for faces of one person, by dlib's face recognition network in 8 bits.

Davis E. King, dlib (2017): a ResNet of 29 convolutions. Where its weights come from: `facepipe/models/MODELS.md`; how
good it is and what 8 bits cost: `docs/how/identity.md`.
"""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from facepipe.detection.networks import Graph, bytes_of, floats
from facepipe.detection.runtime import open_session
from facepipe.errors import WeightsError
from facepipe.face.crop import fit_similarity, warp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from facepipe.records import Image

WEIGHTS = Path(__file__).parent.parent / "models" / "identity.npz"
SIZE = 128
"""Numbers of an embedding."""
SIDE = 150
"""px, the network's input."""
POINTS = np.array([[47.5, 47.8], [108.5, 49.2], [77.7, 79.8], [50.1, 105.9], [103.0, 106.5]])
"""px of the input where the five landmarks lie on average."""
MEAN = np.array([122.782, 117.001, 104.298])
"""Of the pixels it was taught with, RGB; what it takes is (pixel - mean) / 255."""
BATCH = 8
"""Pictures that are looked at together: more gain no time."""
STEM = "conv32_down"
BLOCKS = (
    *(("conv32_1", 1), ("conv32_2", 1), ("conv32_3", 1)),
    *(("conv64_down", 2), ("conv64_1", 1), ("conv64_2", 1), ("conv64_3", 1)),
    *(("conv128_down", 2), ("conv128_1", 1), ("conv128_2", 1)),
    *(("conv256_down", 2), ("conv256_1", 1), ("conv256_2", 1), ("conv256_down_out", 2)),
)
"""The residual blocks and their strides."""
FIRST_SIDE = 35
"""px of the first block's input."""


class IdentityNetwork:
    """The network. Not thread-safe; one a thread.

    Raises:
        WeightsError: the packaged weights are missing or damaged.
    """

    def __init__(self) -> None:
        try:
            with np.load(WEIGHTS) as arrays:
                model = make_graph(dict(arrays))
        except (OSError, ValueError, KeyError) as error:
            raise WeightsError(f"{WEIGHTS.name} is missing from the package: install facepipe again") from error
        self._session = open_session(model, keep_memory=True)

    def embed(self, images: Sequence[Image], landmarks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """(n, 128) float32 embeddings of length 1: the product of two is the similarity of two faces, at most 1.

        Args:
            images: of each face, (h, w, 3) uint8 RGB.
            landmarks: of each face, (5, 2), px of its image: eyes, nose tip, mouth corners, from the image's left.
        """
        chips = [cut_chip(image, points) for image, points in zip(images, landmarks, strict=True)]
        # Each as it is and mirrored, and the two added: a quarter of the errors less.
        shown = [side for chip in chips for side in (chip, chip[:, ::-1])]
        found = [self._look(shown[start : start + BATCH]) for start in range(0, len(shown), BATCH)]
        both = np.concatenate([np.zeros((0, SIZE), np.float32), *found]).reshape(-1, 2, SIZE).sum(axis=1)
        return np.asarray(both / np.linalg.norm(both, axis=1, keepdims=True), np.float32)

    def _look(self, chips: Sequence[Image]) -> NDArray[np.float32]:
        pixels = np.ascontiguousarray(np.stack(chips).transpose(0, 3, 1, 2))
        return np.asarray(self._session.run(None, {"pixels": pixels})[0], np.float32)


def cut_chip(image: Image, points: NDArray[np.float32]) -> Image:
    """What the network is shown, (150, 150, 3) uint8 RGB: the similarity that brings landmarks closest to POINTS."""
    return np.asarray(cv2.cvtColor(warp(image, fit_similarity(points, POINTS), SIDE), cv2.COLOR_BGRA2RGB))


class _Value(NamedTuple):
    """A value of the graph, uint8: (number - zero) * scale is meant."""

    name: str
    scale: float
    zero: int = 0


class _Builder:
    """Adds the network's layers to a graph, all of them on uint8."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.graph, self._arrays = Graph(), arrays

    def convolve(self, value: _Value, layer: str, stride: int, pad: int, *, relu: bool) -> _Value:
        """A convolution; with `relu` what is below 0 is cut off, as the output has no numbers for it."""
        weight, scale = self._arrays[f"{layer}/weight"].transpose(3, 2, 0, 1), self._arrays[f"{layer}/scale"]
        bias = self._arrays[f"{layer}/bias"].astype(np.float64)
        if layer == STEM:
            bias = bias - (weight * scale.reshape(-1, 1, 1, 1) * (MEAN / 255).reshape(1, 3, 1, 1)).sum(axis=(1, 2, 3))
        out = self._meant(layer, relu=relu)
        name = self.graph.add(
            "QLinearConv",
            *self._numbers(value),
            self.graph.array(weight),
            self.graph.constant(scale),
            self.graph.array(np.zeros(len(scale), np.int8)),
            *self._numbers(out)[1:],
            self.graph.array(np.rint(bias / (value.scale * scale)).astype(np.int32)),
            kernel_shape=list(weight.shape[2:]),
            strides=[stride, stride],
            pads=[pad] * 4,
        )
        return out._replace(name=name)

    def block(self, value: _Value, name: str, stride: int, side: int) -> _Value:
        """A residual block on a value of `side` px."""
        inner = self.convolve(value, f"{name}/conv1", stride, 2 - stride, relu=True)
        inner = self.convolve(inner, f"{name}/conv2", 1, 1, relu=False)
        if stride == 2:
            wider, channels = (self._arrays[f"{name}/{layer}/weight"].shape[axis] for layer, axis in _WIDTHS)
            value = self._halve(value)
            # New channels begin at 0, and so does the last row and column where the two halves differ by one.
            value = self._pad(value, wider - channels, 0)
            inner = self._pad(inner, 0, side // 2 - (side - 1) // 2)
        out = self._meant(name, relu=True)
        numbers = [*self._numbers(value), *self._numbers(inner), *self._numbers(out)[1:]]
        return out._replace(name=self.graph.add("QLinearAdd", *numbers, domain="com.microsoft"))

    def _halve(self, value: _Value) -> _Value:
        facts: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2], "domain": "com.microsoft"}
        numbers = [*self._numbers(value), *self._numbers(value)[1:]]
        return value._replace(name=self.graph.add("QLinearAveragePool", *numbers, **facts))

    def _pad(self, value: _Value, channels: int, edge: int) -> _Value:
        """Zeros after the last channel, row and column."""
        if not (channels or edge):
            return value
        pads = self.graph.whole([0, 0, 0, 0, 0, channels, edge, edge])
        zero = self.graph.array(np.array(value.zero, np.uint8))
        return value._replace(name=self.graph.add("Pad", value.name, pads, zero))

    def _meant(self, layer: str, *, relu: bool) -> _Value:
        """How the numbers of a layer's output are meant, by the largest that there is."""
        most = float(self._arrays[f"{layer}/most"])
        return _Value("", most / 255) if relu else _Value("", most / 127, 128)

    def _numbers(self, value: _Value) -> tuple[str, str, str]:
        """A value and what it means, as the operators take it."""
        scale = self.graph.constant(np.array(value.scale, np.float32))
        return value.name, scale, self.graph.array(np.array(value.zero, np.uint8))

    def finish(self, value: _Value) -> bytes:
        """The mean over all px and the last layer."""
        name = self.graph.add("DequantizeLinear", *self._numbers(value))
        name = self.graph.add("Flatten", self.graph.add("GlobalAveragePool", name))
        last = self._arrays["fc/weight"] * self._arrays["fc/scale"]
        self.graph.add("MatMul", name, self.graph.constant(last), output="out")
        return self.graph.serialize([bytes_of("pixels", ("n", 3, SIDE, SIDE))], [floats("out", ("n", SIZE))])


_WIDTHS = (("conv2", 3), ("conv1", 2))


def make_graph(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The network as an ONNX model from `pixels` (n, 3, 150, 150) uint8 RGB to `out` (n, 128) float32.

    Args:
        arrays: of each layer `weight` int8 (height, width, in, out), `scale` and `bias` float32 (out,), and `most`, the
            largest number of its output; of each block `most`.
    """
    builder = _Builder(arrays)
    value = builder.convolve(_Value("pixels", 1 / 255), STEM, 2, 0, relu=True)
    pooled = builder.graph.add("MaxPool", value.name, kernel_shape=[3, 3], strides=[2, 2])
    value, side = value._replace(name=pooled), FIRST_SIDE
    for name, stride in BLOCKS:
        value, side = builder.block(value, name, stride, side), side // stride
    return builder.finish(value)


def make_identity() -> IdentityNetwork:
    """The network of this thread, loaded once."""
    return _network(os.getpid(), threading.get_ident())


@lru_cache(maxsize=1)
def _network(_pid: int, _thread: int) -> IdentityNetwork:
    """It is not thread-safe, and a forked child can't use its parent's."""
    return IdentityNetwork()
