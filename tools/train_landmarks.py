"""Teaches the network of turned faces' landmarks and writes `facepipe/models/profile_landmarks.tflite`.

    facepipe extract -i PHOTOGRAPHS -o FACES     # of many people, frontal ones among them
    python tools/train_landmarks.py FACES WORK   # about half an hour on one core

Frontal faces are turned in 3D, so that where each landmark lies is exact, to full profile. Faces as they are, turned by
at most 30 degrees, stand beside them with the landmarks that `extract` found. One person in five teaches nothing:
those of the validation subset that `facepipe split --validation 0.2` draws.
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing import get_context
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
import tensorflow as tf
from train_orientation import BATCH, INPUT, SHOWN, Camera, batches, begun, export

import facepipe
from facepipe.dataset.splitting import TRAIN, choose_subset
from facepipe.face.crop import points_in_crop
from facepipe.face.head import rotation
from facepipe.face.turning import FRONTAL, Turnable

if TYPE_CHECKING:
    import keras

SIDE, ROOM = 128, 1.6
"""px of a crop of `extract`, and its side in longer sides of the face's box."""
VIEWS, ZOOM = 5, 0.8
"""Turned views of each frontal face, and how large it is in them, for detectors' boxes of profiles lie far off at times."""
STRAIGHT = 30.0
"""Degrees to which `extract`'s landmarks are good enough to teach."""
SAMPLES = int(os.environ.get("SAMPLES", "1280000"))
LANDMARKS, OUTPUTS = 10, 13
"""x, y of each landmark, in box sides from the square's middle; beside them the direction in which the head's axis
points, which is taught and left out of what is written."""
SWAPPED = [1, 0, 2, 4, 3]
"""The landmarks of a mirror image."""


def gray(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def axis(yaw: float, pitch: float) -> np.ndarray:
    """Where a head of these angles points, (3,)."""
    return -rotation(yaw, pitch, 0)[:, 2]


def work(job: tuple[list[dict], int]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, float, bool]]:
    """Pictures (SIDE, SIDE) with their landmarks (5, 2) px, the head's axis, ZOOM or 1, and whether the person teaches."""
    cv2.setNumThreads(1)
    rows, seed = job
    rng, found = np.random.default_rng(seed), []
    for row in rows:
        crop = cv2.imdecode(np.frombuffer(row["crop"]["bytes"], np.uint8), cv2.IMREAD_COLOR_RGB)
        points = points_in_crop(row["landmarks"], row["transform"]).astype(np.float32)
        scale = SIDE / len(crop)
        teaches = choose_subset(row["identity"], 0, 0.2, 0) == TRAIN
        if row["frontal_angle"] <= STRAIGHT:
            found.append((gray(crop), (points + 0.5) * scale - 0.5, axis(row["yaw"], row["pitch"]), 1.0, teaches))
        if row["frontal_angle"] > FRONTAL:
            continue
        face = Turnable(crop, points, row["yaw"], row["pitch"])
        for _ in range(VIEWS):
            yaw = float(rng.choice([-1, 1]) * (rng.uniform(0, 90) if rng.random() < 0.3 else rng.uniform(35, 95)))
            pitch = float(np.clip(rng.normal(0, 12), -35, 35))
            view = face.turn(yaw, pitch, SIDE, zoom=ZOOM)
            found.append((gray(view.image), view.landmarks, axis(yaw, pitch), ZOOM, teaches))
    return found


class Pool:
    """What teaches, and what judges."""

    def __init__(self, faces: str) -> None:
        names = ["identity", "status", "landmarks", "transform", "crop", "yaw", "pitch", "frontal_angle"]
        rows = [row for row in facepipe.open_faces(faces).to_table(columns=names).to_pylist() if row["status"] == "ok"]
        rows = [row for row in rows if np.isfinite([*row["landmarks"], row["frontal_angle"] or np.nan]).all()]
        started = time.time()
        with get_context("spawn").Pool(2) as pool:
            made = [one for some in pool.map(work, [(rows[i::64], i) for i in range(64)], 1) for one in some]
        *known, teaches = (np.array(values) for values in zip(*made, strict=True))
        self.squares, self.points, self.axes, self.zooms = (values[teaches] for values in known)
        self.judges = [values[~teaches] for values in known]
        print(f"{len(self.squares)} pictures, {(~teaches).sum()} judge, {time.time() - started:.0f} s", flush=True)


class Augmenter(Camera):
    """Draws pictures and changes them as cameras, files and detectors do."""

    def __init__(self, pool: Pool, seed: int) -> None:
        super().__init__(seed)
        self.pool = pool

    def one(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = self.rng
        index = rng.integers(len(self.pool.squares))
        roll = np.radians(rng.normal(0, 9) if rng.random() < 0.8 else rng.uniform(-50, 50))
        often = rng.random() < 0.6
        zoom = np.exp(rng.normal(0, 0.06 if often else 0.12)) / self.pool.zooms[index]
        matrix = placing(roll, zoom, rng.normal(0, 0.03 if often else 0.1, 2))
        image = cv2.warpAffine(
            self.pool.squares[index], matrix, (INPUT, INPUT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        x, y, z = self.pool.axes[index]
        turned = np.array([np.cos(roll) * x - np.sin(roll) * y, np.sin(roll) * x + np.cos(roll) * y, z])
        return self.spoil(image), told(self.pool.points[index] @ matrix[:, :2].T + matrix[:, 2]), turned

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Half a batch, and its mirror images."""
        images, points, axes = (np.array(v) for v in zip(*(self.one() for _ in range(BATCH // 2)), strict=True))
        points = np.concatenate([points, points[:, SWAPPED] * np.array([-1, 1])]).reshape(BATCH, 10)
        both = np.concatenate([points, np.concatenate([axes, axes * np.array([-1, 1, 1])])], axis=1)
        return np.concatenate([images, images[:, :, ::-1]])[..., None].astype(np.float32), both.astype(np.float32)


def placing(roll: float = 0.0, zoom: float = 1.0, shift: np.ndarray | float = 0.0) -> np.ndarray:
    """(2, 3), from px of a stored picture to px of what the network is shown."""
    scale = INPUT / (SIDE * SHOWN / ROOM) * zoom
    linear = scale * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    centre = (INPUT - 1) / 2 + shift * np.full(2, INPUT / SHOWN)
    return np.column_stack([linear, centre - linear.sum(axis=1) * (SIDE - 1) / 2])


def told(points: np.ndarray) -> np.ndarray:
    """px of what the network is shown -> what it tells."""
    return (points - (INPUT - 1) / 2) * (SHOWN / INPUT)


def score(model: keras.Model, pool: Pool) -> str:
    """By yaw: the mean distance of landmarks, in hundredths of the box, and degrees between told and true axis."""
    matrices = [placing(zoom=1 / zoom) for zoom in pool.judges[3]]
    images = [cv2.warpAffine(one, m, (INPUT, INPUT)) for one, m in zip(pool.judges[0], matrices, strict=True)]
    true = np.array([told(p @ m[:, :2].T + m[:, 2]) for p, m in zip(pool.judges[1], matrices, strict=True)])
    shown = np.array(images, np.float32)[..., None] / 255 - 0.5
    out = model.predict(shown, batch_size=256, verbose=0)
    off = 100 * np.linalg.norm(out[:, :10].reshape(-1, 5, 2) - true, axis=2).mean(axis=1)
    axes, pointed = pool.judges[2], out[:, 10:] / np.linalg.norm(out[:, 10:], axis=1, keepdims=True)
    turned = np.degrees(np.arccos(np.clip((pointed * axes).sum(axis=1), -1, 1)))
    yaws = np.degrees(np.abs(np.arctan2(axes[:, 0], -axes[:, 2])))
    bands = [(f"{a}-{b}", (yaws >= a) & (yaws < b)) for a, b in ((0, 30), (30, 45), (45, 60), (60, 75), (75, 96))]
    return "  ".join(f"{name}: {off[band].mean():.2f} {turned[band].mean():.1f}" for name, band in bands)


def train(pool: Pool, work: str) -> None:
    steps = SAMPLES // BATCH
    model, optimizer = begun(OUTPUTS, steps)

    @tf.function
    def step(images, points):
        with tf.GradientTape() as tape:
            off = tf.reduce_mean(tf.abs(model(images, training=True) - points), axis=0)
            loss = tf.reduce_mean(off[:10]) + 0.3 * tf.reduce_mean(off[10:])
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    ready, started, seen = batches(Augmenter(pool, 1), steps), time.time(), []
    for number in range(1, steps + 1):
        seen.append(step(*ready.get()))
        if number % 1000 == 0 or number == steps:
            loss = 100 * float(np.mean(seen))
            seen = []
            print(f"{number}/{steps} {time.time() - started:.0f} s {loss:.2f} | {score(model, pool)}", flush=True)
            model.save_weights(f"{work}/landmarks.weights.h5")


def main(faces: str, work: str, out: str = "facepipe/models/profile_landmarks.tflite") -> None:
    os.makedirs(work, exist_ok=True)
    train(Pool(faces), work)
    export(f"{work}/landmarks.weights.h5", out, OUTPUTS, LANDMARKS)


if __name__ == "__main__":
    main(*sys.argv[1:])
