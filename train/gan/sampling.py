"""Faces out of a run: samples, ways between two of them, and the generator itself."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facepipe.errors import InputError, UsageError
from train import backend, checkpoints
from train.files import whole_file
from train.gan.config import GanConfig
from train.gan.draws import draw_latents, generator_for
from train.pictures import png, tile
from train.presets import from_json
from train.runs import Run

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

BATCH = 64


def open_run(folder: str | Path) -> tuple[Run, GanConfig]:
    """A GAN's run and its configuration; an `InputError` where it is another kind of run."""
    run = Run.open(folder)
    if run.kind != "gan":
        raise InputError(f"{folder} is the run of an {run.kind}; samples come from a GAN's (`python -m train gan`)")
    return run, from_json(GanConfig, run.settings)


def load_generator(run: Run, config: GanConfig, checkpoint: str = "last") -> keras.Model:
    """The run's generator for use: the averaged one where the run has one.

    It takes [z (n, z_size) float32] or [z, classes (n,) int32] and gives (n, h, w, c) float32 in -1..1.
    """
    # Weights are numbers that every backend reads: Keras stays on the one it runs on, as an export's.
    running = sys.modules.get("keras")
    backend.prepare(replace(config, backend=running.backend.backend()) if running else config)
    from train.models.gan import build_networks

    generator = build_networks(config)[0]
    checkpoints.load(run.checkpoint(checkpoint), {"average" if config.ema else "generator": generator.variables})
    return generator


def generate(generator: keras.Model, z: NDArray[np.float32], classes: NDArray[np.int32] | None) -> NDArray[np.uint8]:
    """Faces (n, h, w, c) uint8 for latents (n, z_size) and, of a class-conditional generator, classes (n,) int32."""
    faces = []
    for start in range(0, len(z), BATCH):
        # The last batch is filled up: one shape, one compilation.
        part = [backend.filled(a[start : start + BATCH], BATCH) for a in ([z] if classes is None else [z, classes])]
        made = np.asarray(generator.predict_on_batch(part), np.float32)
        faces.append(np.clip(np.rint((made + 1) * 127.5), 0, 255).astype(np.uint8))
    return np.concatenate(faces)[: len(z)]


def draw_faces(generator: keras.Model, config: GanConfig, count: int, stream: int) -> NDArray[np.uint8]:
    """Faces (count, h, w, c) uint8 from latents that the run's seed and `stream` decide, of all classes in turn."""
    z = draw_latents(generator_for(config.seed, stream), config.latent, (count, config.z_size))
    return generate(generator, z, spread_classes(config, count))


def spread_classes(config: GanConfig, count: int) -> NDArray[np.int32] | None:
    """(count,) classes in turn, or None for an unconditional run."""
    return np.arange(count, dtype=np.int32) % config.classes if config.classes else None


def chosen_classes(config: GanConfig, count: int, label: int | None) -> NDArray[np.int32] | None:
    """The classes to sample: of one label, else all in turn; a `UsageError` for a label the run does not know."""
    if label is None:
        return spread_classes(config, count)
    if label not in config.class_labels:
        known = ", ".join(map(str, config.class_labels)) or "no labels"
        raise UsageError(f"--label is {label}; the run knows {known}")
    return np.full(count, config.class_labels.index(label), np.int32)


def sample(
    folder: str | Path,
    *,
    count: int = 64,
    seed: int = 0,
    truncation: float = 0.0,
    grid: bool = False,
    output: str = "",
    label: int | None = None,
    checkpoint: str = "last",
) -> list[Path]:
    """Writes faces as PNG, one file each or all in one grid.

    Args:
        folder: The run.
        count: How many.
        seed: The same seed gives the same faces.
        truncation: See `draws.draw_latents`; 0: none.
        grid: One picture.
        output: The folder; empty: `samples` in the run's.
        label: Of a class-conditional run, faces of this label alone.
        checkpoint: `last` or `best`.

    Returns:
        The files.
    """
    if count < 1 or truncation < 0:
        raise UsageError(f"--count is {count} and --truncation {truncation:g}; give 1 or more, and 0 or more")
    run, config = open_run(folder)
    z = draw_latents(generator_for(seed, 3), config.latent, (count, config.z_size), truncation)
    classes = chosen_classes(config, count, label)
    faces = generate(load_generator(run, config, checkpoint), z, classes)
    stem = f"seed{seed}" if label is None else f"label{label}-seed{seed}"
    return _write(output or str(run.folder / "samples"), stem, faces, grid=grid)


def interpolate(
    folder: str | Path,
    *,
    steps: int = 8,
    count: int = 4,
    seed: int = 0,
    truncation: float = 0.0,
    output: str = "",
    checkpoint: str = "last",
) -> list[Path]:
    """Writes one grid: each row goes from one face to another in `steps` pictures.

    Normal latents go along the arc between the two, since points on the line are too short to be normal (White 2016,
    arXiv:1609.04468); uniform ones along the line.
    """
    if steps < 2 or count < 1:
        raise UsageError(f"--steps is {steps} and --count {count}; give 2 or more, and 1 or more")
    run, config = open_run(folder)
    ends = draw_latents(generator_for(seed, 4), config.latent, (2, count, config.z_size), truncation)
    between = arc if config.latent == "normal" else line
    z = np.stack([between(ends[0], ends[1], share) for share in np.linspace(0, 1, steps)], axis=1)
    classes = spread_classes(config, count)
    rows = None if classes is None else np.repeat(classes, steps)
    faces = generate(load_generator(run, config, checkpoint), z.reshape(-1, config.z_size).astype(np.float32), rows)
    target = output or str(run.folder / "samples")
    return _write(target, f"interpolation-seed{seed}", faces, grid=True, columns=steps)


def line(first: NDArray[np.float32], second: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Straight from one latent (n, z) to another."""
    return (1 - share) * first + share * second


def arc(first: NDArray[np.float32], second: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Along the great circle from one latent (n, z) to another, lengths going over evenly."""
    lengths = [np.linalg.norm(z, axis=1, keepdims=True) for z in (first, second)]
    cosine = (first / lengths[0] * second / lengths[1]).sum(axis=1, keepdims=True)
    angle = np.arccos(np.clip(cosine, -1, 1))
    near = np.sin(angle) < 1e-4
    safe = np.where(near, 1, np.sin(angle))
    weights = [np.where(near, w, np.sin(w * angle) / safe) for w in (1 - share, share)]
    direction = weights[0] * first / lengths[0] + weights[1] * second / lengths[1]
    return direction * line(lengths[0], lengths[1], share)


def _write(target: str, stem: str, faces: NDArray[np.uint8], *, grid: bool, columns: int = 0) -> list[Path]:
    pictures = [tile(faces, columns)] if grid else [np.broadcast_to(f, (*f.shape[:2], 3)) for f in faces]
    paths = []
    for number, picture in enumerate(pictures):
        path = Path(target) / (f"{stem}.png" if grid else f"{stem}-{number:05d}.png")
        with whole_file(path) as file:
            file.write(png(np.ascontiguousarray(picture)))
        paths.append(path)
    return paths
