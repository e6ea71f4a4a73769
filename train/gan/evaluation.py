"""How near a GAN's faces are to real ones, each figure beside the one for real faces and the one for noise."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import InputError, UsageError
from train.data import fit_image, load_arrays, read_examples, read_image, view_of
from train.gan.config import GanConfig
from train.gan.sampling import draw_faces, load_generator
from train.metrics.distribution import frechet, precision_recall, sliced_wasserstein
from train.metrics.images import mean_ms_ssim, pairwise_distance
from train.metrics.inception import file_features
from train.metrics.recognition import embed, find_frame
from train.pictures import find_nearest, grid, png
from train.presets import from_json
from train.runs import REPORT, Run
from train.shards import NoShards, find_shards, need_subset, shards_to_measure
from train.summary import EMBEDDING, NEAREST, write_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Images = NDArray[np.uint8]
    Figures = dict[str, float]

MOST = 5000
"""Faces a side, at most: the distances' cost grows with their number."""
FEWEST = 8
EMBEDDED, TAUGHT = 2000, 10_000
"""Faces a side that are embedded, and training faces among which the nearest is sought: 5 ms each."""
SHOWN = 12
"""Samples beside their nearest training faces."""
PIXELS = 16
"""px: pictures are compared at this size where the nearest by pixels is sought."""


def evaluate(
    run: Run,
    folder: str,
    subset: str,
    checkpoint: str,
    say: Callable[[str], None] = print,
    *,
    encoder: str = "",
    inception: str = "",
) -> dict[str, Any]:
    """Measures a run and writes the report into it, named by `Run.report`.

    Half of the subset's faces are the reference. Against them stand as many samples, the other half of the faces, and
    uniform noise: sliced Wasserstein distance by pyramid level, mean pairwise distance and MS-SSIM; on facepipe's
    identity embedding Fréchet distance, precision, recall, and how near the nearest training face is; the first three
    also on the features of a given encoder, and with Inception's weights FID. nearest.png shows samples above the
    training faces nearest to them.

    Args:
        run: A GAN's.
        folder: Its shards, or others of faces.
        subset: validation, test or train; train, saying so, where the shards have no validation.
        checkpoint: best or last.
        say: Takes each line of the table.
        encoder: The run of an autoencoder whose encoder gives the features; empty: none.
        inception: A file with Inception-v3; empty: none.
    """
    config = from_json(GanConfig, run.settings)
    name = run.report(folder, subset, checkpoint)
    subset, real = _real_faces(run, config, folder, subset, say)
    reference, others = real[::2], real[1::2]
    sets = {
        "samples": draw_faces(load_generator(run, config, checkpoint), config, len(others), 6),
        "real faces": others,
        "noise": np.random.default_rng(0).integers(0, 256, others.shape, dtype=np.uint8),
    }
    report: dict[str, Any] = {"checkpoint": checkpoint, "shards": folder, "subset": subset, "faces": len(reference)}
    report["against the reference"] = {name: _pixels(reference, images) for name, images in sets.items()}
    frame = find_frame(reference)
    report[EMBEDDING] = _on_features(lambda images: embed(images[:EMBEDDED], frame), reference, sets, EMBEDDING)
    nearest = _measure_nearness(report[EMBEDDING], sets, _training_faces(run, config, say), frame, subset)
    for title, features in _feature_kinds(encoder, inception):
        report[title] = _on_features(features, reference, sets, title)
    run.write_report(name, report, lines_of(report), say)
    if name == REPORT:
        if nearest:
            run.write(NEAREST, nearest)
        write_summary(run)
    return report


def _measure_nearness(told: dict[str, Any], sets: dict[str, Images], taught: Images, frame: Any, subset: str) -> bytes:
    """Adds to what is `told` of each set how near training faces are; gives a picture of the samples' nearest."""
    if not len(taught):
        return b""
    vectors = embed(taught, frame)
    found = {title: embed(images[:EMBEDDED], frame) for title, images in sets.items()}
    for title, own in found.items():
        # Real faces that were trained on have themselves among the training faces.
        itself = subset == "train" and title == "real faces"
        told[title] |= _nearness(own, vectors, 1 + itself)
    return _nearest(sets["samples"][:SHOWN], taught, found["samples"][:SHOWN], vectors)


def _training_faces(run: Run, config: GanConfig, say: Callable[[str], None]) -> Images:
    """Up to TAUGHT faces that the run was trained on, as it sees them; none where its shards have moved."""
    try:
        shards = find_shards(run.settings["shards"], "faces")
    except NoShards:
        say(f"{run.settings['shards']}, which the run was trained on, is not here: no nearest training faces")
        return np.zeros((0, config.image_size, config.image_size, config.channels), np.uint8)
    view = view_of(config).images[0]
    examples = islice(read_examples(shards, "train"), TAUGHT)
    return np.stack([read_image(example["image"][0], shards, view) for example in examples])


def _nearness(found: NDArray[np.float32], taught: NDArray[np.float32], place: int) -> Figures:
    """How like the nearest training face is (the `place`-th nearest): products of embeddings, 1 for the same face."""
    likeness = np.sort(found @ taught.T, axis=1)[:, -min(place, len(taught))]
    return {"nearest training face, median": float(np.median(likeness)), "the same, highest": float(likeness.max())}


def _nearest(samples: Images, taught: Images, found: NDArray[np.float32], vectors: NDArray[np.float32]) -> bytes:
    """Rows, as PNG: samples, the training faces nearest to them by embedding, and by pixels."""
    small = [np.stack([fit_image(image, PIXELS, 1) for image in images]) for images in (samples, taught)]
    by_pixels = find_nearest(*small)
    return png(grid([samples, taught[(found @ vectors.T).argmax(axis=1)], taught[by_pixels]]))


def _real_faces(
    run: Run, config: GanConfig, folder: str, subset: str, say: Callable[[str], None]
) -> tuple[str, Images]:
    """The subset that is taken, and its faces; of few people nobody may have been held back."""
    shards = shards_to_measure(run, folder, "faces")
    if subset == "validation" and subset not in shards.files and "train" in shards.files:
        say(f"{shards.place} holds nobody back: the reference are faces that the run has learned from")
        subset = "train"
    need_subset(shards, subset)
    view = replace(view_of(config), mirror=False)
    shards.check_fits(view)
    faces = load_arrays(shards, subset, view).images[0]
    if len(faces) < 2 * FEWEST:
        raise InputError(f"{shards.place} has {len(faces)} faces in {subset}; {2 * FEWEST} or more tell something")
    # In no one's order: neighbours in the shards may be pictures of one person.
    return subset, faces[np.random.default_rng(0).permutation(len(faces))[: 2 * MOST]]


def _pixels(reference: Images, images: Images) -> Figures:
    levels = sliced_wasserstein(reference, images)
    by_level = {f"swd {side} px": value for side, value in levels.items()}
    return {
        "swd": float(np.mean(list(levels.values()))),
        **by_level,
        "pairwise distance": pairwise_distance(images),
        "ms-ssim": mean_ms_ssim(images),
    }


def _feature_kinds(encoder: str, inception: str) -> Iterator[tuple[str, Callable[[Images], NDArray[np.float32]]]]:
    """Named as what they are; the networks are loaded when their turn comes."""
    if encoder:
        yield f"on features of the encoder {encoder}", _encoder_features(encoder)
    if inception:
        yield f"on features of Inception ({inception})", lambda images: file_features(inception, images)


def _encoder_features(folder: str) -> Callable[[Images], NDArray[np.float32]]:
    from train.trained import Trained

    run = Run.open(folder)
    if run.kind != "autoencoder":
        raise UsageError(f"--encoder {folder} is the run of a {run.kind}; give an autoencoder's")
    trained = Trained(run)
    size, channels = trained.config.input_size, trained.config.channels

    def features(images: Images) -> NDArray[np.float32]:
        return trained.encode(np.stack([_fitted(image, size, channels) for image in images]))

    return features


def _fitted(image: Images, size: int, channels: int) -> Images:
    """As the encoder takes it; gray pictures stand in all three channels, small ones are enlarged."""
    fitted = fit_image(image, size, min(channels, image.shape[2]))
    return np.ascontiguousarray(np.broadcast_to(fitted, (size, size, channels)))


def _on_features(
    features: Callable[[Images], NDArray[np.float32]], reference: Images, sets: dict[str, Images], title: str
) -> dict[str, Figures]:
    known = features(reference)
    distance = "FID" if "Inception" in title else "frechet distance"
    table = {}
    for name, images in sets.items():
        found = features(images)
        precision, recall = precision_recall(known, found)
        table[name] = {distance: frechet(known, found), "precision": precision, "recall": recall}
    return table


def lines_of(report: dict[str, Any]) -> Iterator[str]:
    """The report as tables for a terminal: a line a figure, a column a set."""
    yield f"{report['subset']}: {report['faces']:,} real faces are the reference"
    for title, table in report.items():
        if not isinstance(table, dict):
            continue
        yield f"{title:<44}" + "".join(f"{name:>12}" for name in table)
        for figure in next(iter(table.values())):
            yield f"  {figure:<42}" + "".join(f"{row[figure]:>12.4g}" for row in table.values())
