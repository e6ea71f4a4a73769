"""O-Net with weights of 8 bits: less than half the time of float32, landmarks that move by 0.1 % of the box."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from facepipe.detection import networks, tflite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SIDE = 48
"""px, its input."""


def for_pairs(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """A convolution of single pixels as one of pairs of neighbours in a row, of which it gives pairs.

    Kernels for 8 bits take the channels of a pixel by the eight: three of them leave more of it idle than six do, which
    costs the first layer a third of its time.

    Args:
        kernel: (3, 3, channels, outputs).

    Returns:
        (3, 2, 2 * channels, 2 * outputs), half of a pair after the other.
    """
    rows, columns, channels, outputs = kernel.shape
    pairs = np.zeros((rows, 2, 2, channels, 2, outputs), np.float32)
    for half in range(2):
        for column in range(columns):
            pairs[:, (half + column) // 2, (half + column) % 2, :, half] = kernel[:, column]
    return pairs.reshape(rows, 2, 2 * channels, 2 * outputs)


def build(weights: Sequence[NDArray[np.float32]], number: int = 1) -> bytes:
    """MTCNN's output network (Zhang et al. 2016) as a TFLite file.

    The last layer stays exact: rounding its weights alone moves the landmarks by twice what all the others' does.

    Args:
        weights: its 21 arrays, in the order of the Keras layers.
        number: of squares in one go. Each is turned into 8 bits by its own values, so they don't change each other.

    Returns:
        A model from (number, 48, 48, 3) float32 RGB in 0..255 to (number, 16): what `networks.o_net` gives.
    """
    graph = tflite.Graph()
    pixels = graph.value(number, SIDE, SIDE, 3)
    kernel, bias = networks.first_layer(weights)
    value = graph.reshape(pixels, SIDE, SIDE // 2, 6)
    value = graph.convolve(value, for_pairs(kernel.transpose(2, 3, 1, 0)), np.tile(bias, 2))
    value = graph.prelu(value, np.tile(weights[2].reshape(-1), 2))
    value = graph.pool(graph.reshape(value, SIDE - 2, SIDE - 2, 32), 3, same=True)
    value = graph.prelu(graph.convolve(value, weights[3], weights[4]), weights[5])
    value = graph.pool(value, 3)
    value = graph.prelu(graph.convolve(value, weights[6], weights[7]), weights[8])
    value = graph.pool(value, 2)
    value = graph.prelu(graph.convolve(value, weights[9], weights[10]), weights[11])
    hidden, bias, slope, *heads = weights[12:]
    # The package flattens (width, height, channels): its networks were trained on transposed images.
    hidden = hidden.reshape(3, 3, 128, -1).swapaxes(0, 1).reshape(hidden.shape)
    value = graph.prelu(graph.dense(graph.reshape(value, len(hidden)), hidden, bias), slope)
    ends = np.concatenate(heads[0::2], axis=1), np.concatenate(heads[1::2])
    return graph.serialize(pixels, graph.dense(value, *ends, exact=True))
