"""facepipe's identity network as frozen Keras layers, and the loss by it: how unlike the person a drawn face is.

The network is `facepipe.face.identity`'s, its weights as they are stored, without the 8 bits of the outputs between.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from facepipe.face.identity import BLOCKS, MEAN, POINTS, SIDE, STEM, WEIGHTS
from train.metrics.recognition import find_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


def identity_network() -> keras.Model:
    """(n, 150, 150, 3) RGB, 0..1 less MEAN -> (n, 128) of any length; nothing in it is trained."""
    with np.load(WEIGHTS) as file:
        arrays = dict(file)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    inputs = keras.Input((SIDE, SIDE, 3), name="chips")
    x = layers.ReLU()(_convolution(arrays, STEM, 2)(inputs))
    x = layers.MaxPooling2D(3, 2)(x)
    for name, stride in BLOCKS:
        x = _block(arrays, name, stride, x)
    weight = arrays["fc/weight"] * arrays["fc/scale"]
    last = layers.Dense(weight.shape[1], use_bias=False, name="fc")
    outputs = last(layers.GlobalAveragePooling2D()(x))
    last.set_weights([weight])
    network = keras.Model(inputs, outputs, name="identity")
    keras.config.set_dtype_policy(policy)
    network.trainable = False
    return network


def _convolution(arrays: dict[str, Any], name: str, stride: int) -> Any:
    weight = arrays[f"{name}/weight"] * arrays[f"{name}/scale"]
    padding = "same" if stride == 1 else "valid"
    layer = layers.Conv2D(weight.shape[3], weight.shape[:2], stride, padding, name=name.replace("/", "_"))
    layer.build((None, None, None, weight.shape[2]))
    layer.set_weights([weight, arrays[f"{name}/bias"]])
    return layer


def _block(arrays: dict[str, Any], name: str, stride: int, x: Any) -> Any:
    """A residual block; where it halves, new channels begin at 0, and so do the row and column that one half lacks."""
    inner = layers.ReLU()(_convolution(arrays, f"{name}/conv1", stride)(x))
    inner = _convolution(arrays, f"{name}/conv2", 1)(inner)
    if stride == 2:
        x = layers.AveragePooling2D(2)(x)
        edge = x.shape[1] - inner.shape[1]
        inner = layers.ZeroPadding2D(((0, edge), (0, edge)))(inner)
        x = ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, inner.shape[3] - x.shape[3])))
    return layers.ReLU()(layers.Add()([x, inner]))


def with_identity(
    loss: Callable[[Any, Any], Any], weight: float, targets: NDArray[np.uint8]
) -> Callable[[Any, Any], Any]:
    """A loss and, `weight` times, how unlike the person the output is; (n,).

    Args:
        loss: Of target and output (n, s, s, channels and what else is taught).
        weight: 0 or more.
        targets: Some of the training targets, (n, s, s, channels) uint8.
    """
    unlike, channels = IdentityLoss(targets), targets.shape[3]

    def both(target: Any, output: Any) -> Any:
        own = ops.reshape(loss(target, output), (ops.shape(output)[0], -1))
        return ops.mean(own, axis=1) + weight * unlike(target[..., :channels], output[..., :channels])

    return both


class IdentityLoss:
    """1 - cosine of the embeddings of target and output, less what all faces share: (n,) in 0..2; a mean face has 1.

    Args:
        targets: Faces that tell where landmarks lie and what faces share, (n, s, s, 1 or 3) uint8.
    """

    def __init__(self, targets: NDArray[np.uint8]) -> None:
        self.frame, self.network = find_frame(targets), identity_network()
        self.shared = ops.convert_to_tensor(np.mean(self.embed(targets.astype(np.float32) / 255), axis=0))

    def __call__(self, target: Any, output: Any) -> Any:
        """Of pictures (n, s, s, 1 or 3), 0..1; the target takes no gradient."""
        wanted, drawn = (
            ops.normalize(x - self.shared) for x in ops.split(self.embed(ops.concatenate([target, output])), 2)
        )
        return 1 - ops.sum(ops.stop_gradient(wanted) * drawn, axis=1)

    def embed(self, pictures: Any) -> Any:
        """(n, 128) of length 1."""
        return ops.normalize(self.network(self.chips(pictures)))

    def chips(self, pictures: Any) -> Any:
        """What the network is shown of pictures (n, s, s, c): (n, 150, 150, 3), bilinear."""
        down, across = (ops.convert_to_tensor(m) for m in _resampling(self.frame.tobytes(), int(pictures.shape[1])))
        shown = ops.einsum("ij,njkc,lk->nilc", down, ops.cast(pictures, "float32"), across)
        return (shown if shown.shape[3] == 3 else ops.repeat(shown, 3, axis=3)) - (MEAN / 255).astype(np.float32)


@cache
def _resampling(frame: bytes, size: int) -> tuple[Floats, Floats]:
    """(150, size) for rows and columns: the scaling and shift that bring the landmarks closest to POINTS."""
    points = np.frombuffer(frame, np.float32).reshape(5, 2) * size - 0.5
    own, wanted = points - points.mean(axis=0), POINTS - POINTS.mean(axis=0)
    scale = (own * own).sum() / (own * wanted).sum()
    found = []
    for axis in (1, 0):
        at = (np.arange(SIDE) - POINTS[:, axis].mean()) * scale + points[:, axis].mean()
        weights = np.maximum(1 - np.abs(np.clip(at, 0, size - 1)[:, None] - np.arange(size)), 0)
        found.append(weights.astype(np.float32))
    return found[0], found[1]
