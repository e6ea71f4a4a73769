"""Losses, penalties and augmentation against what the papers say, in numbers."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow
SCORES = np.array([-2.0, 0.0, 0.5, 3.0], np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


REAL = {
    "bce": lambda s: -np.log(sigmoid(s)),
    "least-squares": lambda s: (s - 1) ** 2,
    "hinge": lambda s: np.maximum(0, 1 - s),
    "wasserstein-gp": lambda s: -s,
    "relativistic": lambda s: -np.log(sigmoid(s)),
}
FAKE = {
    "bce": lambda s: -np.log(1 - sigmoid(s)),
    "least-squares": lambda s: s**2,
    "hinge": lambda s: np.maximum(0, 1 + s),
    "wasserstein-gp": lambda s: s,
    "relativistic": lambda s: -np.log(1 - sigmoid(s)),
}


@pytest.mark.parametrize("loss", REAL)
def test_losses_of_sure_targets(loss):
    """With target 1 the discriminator pays the real term, with 0 the fake term; the generator the real (hinge: -s)."""
    from train.gan.losses import discriminator_loss, generator_loss

    ones = np.ones(4, np.float32)
    assert float(discriminator_loss(loss, SCORES, ones)) == pytest.approx(REAL[loss](SCORES).mean(), rel=1e-5)
    assert float(discriminator_loss(loss, SCORES, 0 * ones)) == pytest.approx(FAKE[loss](SCORES).mean(), rel=1e-5)
    expected = -SCORES.mean() if loss == "hinge" else REAL[loss](SCORES).mean()
    assert float(generator_loss(loss, SCORES)) == pytest.approx(expected, rel=1e-5)


def test_smoothed_bce_is_cross_entropy_with_soft_targets():
    """Target 0.9 gives -0.9 log p - 0.1 log(1 - p)."""
    from train.gan.losses import discriminator_loss

    p = sigmoid(SCORES)
    expected = (-0.9 * np.log(p) - 0.1 * np.log(1 - p)).mean()
    assert float(discriminator_loss("bce", SCORES, np.full(4, 0.9, np.float32))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("real", "two_sided", "expected"),
    [(True, False, [0.9, 0.0]), (True, True, [0.9, 0.1]), (False, False, [0.0, 0.9]), (False, True, [0.1, 0.9])],
)
def test_targets(real, two_sided, expected):
    """One-sided smoothing leaves the fakes' 0, two-sided raises it; a flipped label swaps the two."""
    from train.gan.losses import targets

    actual = targets(0.1, np.array([0.0, 1.0], np.float32), real=real, two_sided=two_sided)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_feature_matching_compares_means():
    """The mean over features of the squared distance of batch means."""
    from train.gan.losses import feature_matching

    real, fake = np.array([[1.0, 0], [3, 0]], np.float32), np.array([[0.0, 1], [0, 1]], np.float32)
    assert float(feature_matching(real, fake)) == pytest.approx((4 + 1) / 2)


def test_penalties_of_known_slopes():
    """A slope of length 3 costs (3 - 1)^2 and, by R1, 9 / 2."""
    from train.gan.penalties import gradient_penalty, r1_penalty

    gradient = np.zeros((2, 2, 2, 1), np.float32)
    gradient[:, 0, 0] = 3
    assert float(gradient_penalty(gradient)) == pytest.approx(4)
    assert float(r1_penalty(gradient)) == pytest.approx(4.5)


def pictures():
    return np.random.default_rng(0).uniform(-1, 1, (5, 16, 16, 3)).astype(np.float32)


def numbers(**columns):
    names = ("brightness", "saturation", "contrast", "down", "right", "row", "column")
    values = dict.fromkeys(names, 0.5)
    return np.array([[({**values, **columns})[name] for name in names]] * 5, np.float32)


def test_color_strengths():
    """Brightness adds -0.5..0.5; no saturation is gray; contrast 0.5 halves the distance to the mean; 0.5 is nothing."""
    from train.gan.augmentation import augmented

    x = pictures()
    gray, mean = x.mean(axis=3, keepdims=True), x.mean(axis=(1, 2, 3), keepdims=True)
    wanted = (
        ({}, x),
        ({"brightness": 1.0}, x + 0.5),
        ({"saturation": 0.0}, gray + 0 * x),
        ({"contrast": 0.0}, (x + mean) / 2),
    )
    for columns, expected in wanted:
        np.testing.assert_allclose(augmented(x, numbers(**columns), ("color",)), expected, atol=1e-6)


@pytest.mark.parametrize(("down", "right", "shift"), [(0.5, 0.5, (0, 0)), (0.0, 0.99, (-2, 2)), (0.99, 0.3, (2, -1))])
def test_translation_moves_whole_pixels(down, right, shift):
    """Up to an eighth of the side each way; what comes in is 0."""
    from train.gan.augmentation import augmented

    x = pictures()
    expected = np.zeros_like(x)
    for i in range(16):
        for j in range(16):
            if 0 <= i - shift[0] < 16 and 0 <= j - shift[1] < 16:
                expected[:, i, j] = x[:, i - shift[0], j - shift[1]]
    actual = augmented(x, numbers(down=down, right=right), ("translation",))
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize(("row", "column", "box"), [(0.5, 0.5, (4, 12, 4, 12)), (0.0, 0.999, (0, 4, 12, 16))])
def test_cutout_makes_a_hole(row, column, box):
    """Half the side, anywhere, partly outside at times."""
    from train.gan.augmentation import augmented

    x = pictures()
    expected = x.copy()
    expected[:, box[0] : box[1], box[2] : box[3]] = 0
    np.testing.assert_allclose(augmented(x, numbers(row=row, column=column), ("cutout",)), expected, atol=1e-6)


def test_gradient_goes_through_augmentation():
    """The generator learns through it: the gradient's sum reaches every pixel that is still seen."""
    import tensorflow as tf

    from train.gan.augmentation import augmented

    x = tf.constant(pictures())
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(augmented(x, numbers(down=0.99, row=0.0), ("color", "translation", "cutout")) ** 2)
    gradient = np.asarray(tape.gradient(total, x))
    assert np.isfinite(gradient).all()
    assert (gradient[:, :12, 8:] != 0).mean() > 0.9


def test_draws_depend_on_seed_and_step_alone():
    """The same step draws the same, another one other numbers; truncated latents stay within."""
    from train.gan.config import GanConfig
    from train.gan.draws import draw_latents, draw_step, generator_for

    config = GanConfig(diff_augment=("color",), flip_labels=0.1, batch_size=8)
    first, again, later = draw_step(config, 5, None), draw_step(config, 5, None), draw_step(config, 6, None)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["z_g"], later["z_g"])
    for kind in ("uniform", "normal"):
        assert np.abs(draw_latents(generator_for(0), kind, (999,), 0.4)).max() <= 0.4


def test_average_starts_at_the_present():
    """The decay grows from 0.1 to the one asked for."""
    from train.gan.config import GanConfig
    from train.gan.draws import draw_step

    config = GanConfig(ema=0.99, batch_size=2)
    decays = [float(draw_step(config, step, None)["decay"]) for step in (0, 90, 10_000)]
    assert decays == [pytest.approx(0.1), pytest.approx(0.91), pytest.approx(0.99)]


PAPERS = {
    "assembly.py": ["1706.08500"],
    "losses.py": [
        "1406.2661",
        "1611.04076",
        "1705.02894",
        "1704.00028",
        "1606.03498",
        "1512.00567",
        "Chintala et al.",
        "2501.05441",
    ],
    "penalties.py": ["1704.00028", "1801.04406"],
    "step.py": ["1806.04498"],
    "augmentation.py": ["2006.10738"],
    "config.py": ["2006.02595"],
    "../models/layers.py": ["1802.05957", "1805.08318", "1710.10196"],
    "../models/blocks.py": ["1411.1784", "1802.05637"],
    "../models/gan.py": ["1511.06434", "2005.02494"],
    "../models/r3gan.py": ["2501.05441", "1901.09321"],
    "../metrics/distribution.py": ["1710.10196", "1706.08500", "1904.06991"],
    "../metrics/images.py": ["1610.09585"],
}
"""Where each loss, remedy and measure is, the papers that it comes from: by arXiv's numbers where they have one."""


@pytest.mark.parametrize("module", PAPERS)
def test_remedies_name_their_papers(module):
    """The strings that document a module name the papers; comments and other code don't count."""
    source = (Path(__file__).parents[2] / "train" / "gan" / module).read_text(encoding="utf-8")
    documented = "".join(
        node.value.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    assert [paper for paper in PAPERS[module] if paper not in documented] == []
