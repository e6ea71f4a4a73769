"""What an autoencoder learned, on people it was not taught on, beside answers that take no learning."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from train.data import fit_image, load_arrays, read_columns, read_examples, read_image
from train.metrics.identity import MOST_TARGETS, identification, principal_components, similarities
from train.metrics.images import bands_of, by_band, measures
from train.metrics.recognition import embed, embed_turned, face_mask, face_measures, find_face, find_frame
from train.runs import REPORT
from train.shards import ImageView, NoShards, View, examples_of, find_shards, need, need_subset, shards_to_measure
from train.summary import verdict, write_summary
from train.trained import Trained
from train.trained_people import count_trained, people_taught, read_people, tell_trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from train.config import AutoencoderConfig
    from train.data import Arrays
    from train.runs import Run
    from train.shards import Shards

Table = dict[str, dict[str, Any]]
CHUNK = 512
MOST_JUDGED = 2000
"""Pairs whose faces are judged by the identity embedding, which takes 5 ms for each answer."""


def evaluate(run: Run, folder: str, subset: str, checkpoint: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Measures a run and writes the report into it, named by `Run.report`; evaluation.json with the page that shows it.

    Reconstruction: the model, the mean training target, and the feature itself resized, each against the targets.
    Recognition: whose face each answer shows, by facepipe's identity embedding.
    Identity: fingerprints, raw pixels, and PCA of the training targets at the same dimension.

    Args:
        run: The run.
        folder: Its shards, or others of pairs.
        subset: validation, test or train.
        checkpoint: best or last.
        say: Takes each line of the tables.
    """
    trained = Trained(run, checkpoint)
    shards = shards_to_measure(run, folder, examples_of(run))
    need_subset(shards, subset)
    view = _view(trained.config)
    shards.check_fits(view)
    faces = load_arrays(shards, subset, view)
    columns = read_columns(shards, subset, ("feature_yaw", "target_angle"))
    bands, angles = bands_of(np.array(columns["feature_yaw"])), np.array(columns["target_angle"])
    mean, known = _training_targets(_taught_with(run, shards), view)
    frame = find_frame(faces.images[2])
    report = {
        "checkpoint": checkpoint,
        "epoch": trained.state["best_epoch"] if checkpoint == "best" else len(trained.state["history"]),
        "shards": folder,
        "subset": subset,
        "pairs": len(faces),
        "identities": len(set(faces.identities.tolist())),
        "trained_on": count_trained(run, faces.identities.tolist()),
        "reconstruction": _reconstruction(trained, faces, mean, bands, frame),
        "recognition": _recognition(trained, faces, mean, bands, angles, frame),
        "identity": _identity(trained, faces, angles, known, bands),
    }
    name = run.report(folder, subset, checkpoint)
    run.write_report(name, report, lines_of(report), say)
    if name == REPORT:
        write_summary(run)
    return report


def _view(config: AutoencoderConfig) -> View:
    """The feature and the target as the model has them, and the target at the feature's size, to be encoded."""
    size, channels = config.input_size, config.channels
    sides = (("feature", size), ("target", config.output_size), ("target", size))
    return View(tuple(ImageView(name, side, channels) for name, side in sides))


def _taught_with(run: Run, given: Shards) -> Shards:
    """The shards that the run was trained on; where they have moved, those given, if they teach the same people."""
    own = run.settings["shards"]
    try:
        return find_shards(own, examples_of(run))
    except NoShards:
        if given.lengths.get("train") and people_taught(given) == read_people(run.folder):
            return given
        raise NoShards(
            f"the figures stand beside the mean target that {run.folder} was trained on, which is not in {own}: "
            "run this in the folder that the training ran in"
        ) from None


def _training_targets(shards: Shards, view: View) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Of the training targets: their mean (h, w, c) 0..1, and one of each identity (n, s, s, c) at the feature's size.

    Read one by one: a training subset need not fit in memory.
    """
    need(shards, "train")
    _, small, large = view.images
    total, count = np.zeros((small.size, small.size, small.channels)), 0
    unique: dict[bytes, NDArray[np.uint8]] = {}
    for example in read_examples(shards, "train"):
        image = read_image(example["target"][0], shards, replace(large, size=shards.size))
        total += fit_image(image, small.size, small.channels)
        count += 1
        if len(unique) < MOST_TARGETS:
            unique.setdefault(example["identity"][0], fit_image(image, large.size, large.channels))
    return (total / count / 255).astype(np.float32), np.stack(list(unique.values()))


def _reconstruction(
    trained: Trained,
    faces: Arrays,
    mean: NDArray[np.float32],
    bands: NDArray[np.str_],
    frame: NDArray[np.float32],
) -> Table:
    """The model's, the mean target's and the resized feature's measures, by yaw band."""
    features, targets, _ = faces.images
    size, channels = targets.shape[1], targets.shape[3]
    face = face_mask(frame, size)
    found: dict[str, list[dict[str, NDArray[np.float64]]]] = {"model": [], "mean target": [], "feature resized": []}
    for start in range(0, len(faces), CHUNK):
        part = slice(start, start + CHUNK)
        wanted = targets[part].astype(np.float32) / 255
        resized = np.stack([fit_image(face, size, channels) for face in features[part]])
        answers = {
            "model": trained.reconstruct(features[part]),
            "mean target": np.broadcast_to(mean, wanted.shape),
            "feature resized": resized.astype(np.float32) / 255,
        }
        for name, answer in answers.items():
            found[name].append(measures(wanted, answer) | face_measures(wanted, answer, face))
    joined = {name: {m: np.concatenate([part[m] for part in parts]) for m in parts[0]} for name, parts in found.items()}
    return {name: by_band(values, bands) for name, values in joined.items()}


def _recognition(
    trained: Trained,
    faces: Arrays,
    mean: NDArray[np.float32],
    bands: NDArray[np.str_],
    angles: NDArray[np.float64],
    frame: NDArray[np.float32],
) -> Table:
    """Rank-1 and AUC of each answer as the face of its person, each person's most frontal target being the gallery."""
    judged = np.linspace(0, len(faces) - 1, min(len(faces), MOST_JUDGED)).astype(int)
    features, _, frontal = (images[judged] for images in faces.images)
    chosen = _gallery(faces.identities, angles)
    gallery = embed(faces.images[2][chosen], frame)
    own = [find_face(image) for image in features]
    points = np.stack([found[0] if found else frame for found in own])
    vectors = {
        "model": embed(trained.reconstruct(features), frame),
        "mesh": embed_turned(features, own, frame),
        "feature": embed(features, frame),
        "feature, aligned": embed(features, points),
        "mean target": np.repeat(embed(mean[None], frame), len(judged), axis=0),
        "target": embed(frontal, frame),
    }
    of, who = faces.identities[judged], faces.identities[chosen]
    return {name: identification(found @ gallery.T, of, who, bands[judged]) for name, found in vectors.items()}


def _identity(
    trained: Trained, faces: Arrays, angles: NDArray[np.float64], known: NDArray[np.uint8], bands: NDArray[np.str_]
) -> Table:
    """Rank-1 and AUC of fingerprints, raw pixels and PCA, each person's most frontal target being the gallery."""
    features, _, frontal = faces.images
    chosen = _gallery(faces.identities, angles)
    kinds = {"fingerprints": [trained.encode(images) for images in (features, frontal[chosen], known)]}
    pixels = [images.reshape(len(images), -1).astype(np.float32) for images in (features, frontal[chosen], known)]
    kinds["raw pixels"] = pixels
    axes = principal_components(pixels[2], kinds["fingerprints"][0].shape[1])
    kinds["PCA"] = [axes.project(vectors) for vectors in pixels]
    table: Table = {}
    for name, (probes, gallery, taught) in kinds.items():
        likeness = similarities(probes, gallery, taught.mean(axis=0))
        measured = identification(likeness, faces.identities, faces.identities[chosen], bands)
        table[name] = {"dimension": probes.shape[1], "gallery": len(chosen), **measured}
    return table


def _gallery(identities: NDArray[Any], angles: NDArray[np.float64]) -> NDArray[np.int64]:
    """The place of each identity's most frontal target; where the angle can't be told it comes last."""
    best: dict[bytes, int] = {}
    for at in np.argsort(np.where(np.isfinite(angles), angles, np.inf), kind="stable"):
        best.setdefault(identities[at], int(at))
    return np.array(sorted(best.values()))


def lines_of(report: dict[str, Any]) -> Iterator[str]:
    """The report as two tables for a terminal."""
    of = f"{report['pairs']:,} pairs of {tell_trained(report['identities'], report['trained_on'])}"
    yield f"{report['subset']}: {of if report['subset'] != 'train' else 'the training pairs themselves'}"
    title = f"{'':<16} {'|yaw|':>7} {'images':>7} {'MSE':>8} {'MAE':>8} {'PSNR dB':>8} {'SSIM':>7}"
    yield title + f" {'sharp':>6} {'gain-free':>9}"
    for name, table in report["reconstruction"].items():
        for band, row in table.items():
            figures = f"{row['mse']:8.5f} {row['mae']:8.4f} {row['psnr']:8.2f} {row['ssim']:7.4f}"
            figures += f" {row['sharpness']:6.2f} {row['gain_free']:9.5f}"
            yield f"{name:<16} {band:>7} {row['images']:>7,} {figures}"
    yield f"{'whose face':<16} {'|yaw|':>7} {'probes':>7} {'rank-1':>8} {'of 100':>8} {'AUC':>8}"
    vectors = {f"{name} ({table['dimension']})": table for name, table in report["identity"].items()}
    for title, table in (report["recognition"] | vectors).items():
        for band, row in table.items():
            if isinstance(row, dict):
                figures = f"{row['rank1']:8.3f} {row['rank1_of_100']:8.3f} {row['auc']:8.3f}"
                yield f"{title:<16} {band:>7} {row['probes']:>7,} {figures}"
    yield verdict(report)
