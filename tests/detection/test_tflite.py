"""TFLite files built from arrays, run by LiteRT, against plain numpy."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from facepipe.detection import landmarks, runtime, tflite
from facepipe.errors import WeightsError


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def _convolved(x, kernel, bias):
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(0, 1))
    return np.einsum("ijchw,hwco->ijo", windows, kernel) + bias


@pytest.mark.parametrize(("exact", "least", "most"), [(True, 0, 1e-6), (False, 1e-3, 0.03)])
def test_a_convolution_and_a_dense_layer(rng, exact, least, most):
    """What numpy gives, to the last digits of float32 or to about a hundredth with weights of 8 bits."""
    kernel, bias = rng.normal(size=(3, 2, 5, 8)).astype(np.float32), rng.normal(size=8).astype(np.float32)
    weight, shift = rng.normal(size=(8 * 7 * 6, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    graph = tflite.Graph()
    start = graph.value(1, 8, 8, 5)
    end = graph.convolve(start, kernel, bias, exact=exact)
    end = graph.dense(graph.reshape(end, len(weight)), weight, shift, exact=exact)
    network = runtime.Network(graph.serialize(start, end), "a test")
    assert (network.input_shapes, network.output_sizes) == ([(1, 8, 8, 5)], [4])
    pixels = rng.normal(size=(20, 8, 8, 5)).astype(np.float32)
    expected = np.array([_convolved(x, kernel, bias).reshape(-1) @ weight + shift for x in pixels])
    found = np.concatenate([network.run(pixels[i : i + n])[0] for i, n in ((0, 1), (1, 16), (17, 3))])
    assert least < np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean()) < most


@pytest.mark.parametrize("exact", [True, False])
def test_a_convolution_of_pairs_gives_what_that_of_pixels_does(rng, exact):
    """The same numbers in the same order, with weights of 8 bits to the last bit."""
    kernel, bias = rng.normal(size=(3, 3, 3, 8)).astype(np.float32), rng.normal(size=8).astype(np.float32)
    graphs = tflite.Graph(), tflite.Graph()
    starts = [graph.value(2, 12, 12, 3) for graph in graphs]
    ends = [graphs[0].convolve(starts[0], kernel, bias, exact=exact)]
    pairs = graphs[1].reshape(starts[1], 12, 6, 6)
    pairs = graphs[1].convolve(pairs, landmarks.for_pairs(kernel), np.tile(bias, 2), exact=exact)
    ends.append(graphs[1].reshape(pairs, 10, 10, 8))
    pixels = rng.normal(size=(2, 12, 12, 3)).astype(np.float32)
    files = [graph.serialize(start, end) for graph, start, end in zip(graphs, starts, ends, strict=True)]
    [[single], [paired]] = [runtime.Network(file, "a test").run(pixels) for file in files]
    assert paired == pytest.approx(single, abs=1e-5 if exact else 0)


@pytest.mark.parametrize(("same", "rows"), [(True, 5), (False, 4)])
def test_a_pool_and_a_prelu(rng, same, rows):
    """The maximum of 3x3 squares two apart, with or without room at the far edge; a slope below zero for each channel."""
    graph = tflite.Graph()
    start = graph.value(1, 9, 9, 3)
    slope = np.array([0.1, -0.5, 2.0], np.float32)
    end = graph.prelu(graph.pool(start, 3, same=same), slope)
    x = rng.normal(size=(9, 9, 3)).astype(np.float32) - 1
    [found] = runtime.Network(graph.serialize(start, end), "a test").run(x[None])
    # An odd side with room at both edges: TensorFlow puts one row before and one behind.
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf) if same else x
    pooled = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))[::2, ::2].max(axis=(3, 4))
    assert found.shape == (1, rows, rows, 3)
    assert found[0] == pytest.approx(np.where(pooled > 0, pooled, pooled * slope))


def test_the_same_arrays_give_the_same_file(rng):
    """Nothing but the arrays is in it."""
    weight = rng.normal(size=(6, 2)).astype(np.float32)

    def build():
        graph = tflite.Graph()
        start = graph.value(1, 6)
        return graph.serialize(start, graph.dense(start, weight, np.zeros(2, np.float32)))

    assert build() == build()


def test_a_channel_without_weights_is_nothing_special():
    """Its scale would be zero."""
    graph = tflite.Graph()
    start = graph.value(1, 3)
    end = graph.dense(start, np.array([[0, 1], [0, 2], [0, -3]], np.float32), np.array([5, 0], np.float32))
    [found] = runtime.Network(graph.serialize(start, end), "a test").run(np.ones((1, 3), np.float32))
    assert found[0] == pytest.approx([5, 0], abs=0.05)


def test_what_is_no_network_is_refused():
    """LiteRT's own complaint, in a sentence with the name."""
    with pytest.raises(WeightsError, match="a text is no TFLite model"):
        runtime.Network(b"not a network", "a text")


def test_without_litert_the_error_names_the_command(monkeypatch):
    """What an import finds where it is broken or gone."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(WeightsError, match="pip install --force-reinstall ai-edge-litert"):
        runtime.Network(b"", "a text")
