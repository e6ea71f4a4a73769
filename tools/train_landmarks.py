"""Teaches the network of turned faces' landmarks and writes `facepipe/models/profile_landmarks.tflite`.

    facepipe extract -i PHOTOGRAPHS -o FACES     # of many people, frontal ones among them
    python tools/train_landmarks.py FACES WORK   # about 40 minutes on one core

Frontal faces are turned in 3D, so that where each landmark lies is exact, to full profile. Faces as they are, turned by
at most 30 degrees, stand beside them with the landmarks that `extract` found. One person in five teaches nothing:
those of the validation subset that `facepipe split` draws when nothing else is said.
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing import get_context

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import keras
import numpy as np
import tensorflow as tf
from train_orientation import BATCH, INPUT, SHOWN, Camera, batches

import facepipe
from facepipe.dataset.splitting import TRAIN, choose_subset
from facepipe.face.crop import points_in_crop
from facepipe.face.turning import FRONTAL, Turnable

SIDE, ROOM = 128, 1.6
"""px of a crop of `extract`, and its side in longer sides of the face's box."""
VIEWS = 5
"""Turned views of each frontal face."""
STRAIGHT = 30.0
"""Degrees to which `extract`'s landmarks are good enough to teach."""
SAMPLES = int(os.environ.get("SAMPLES", "1600000"))
RATE = 2.5e-3
SWAPPED = [1, 0, 2, 4, 3]
"""The landmarks of a mirror image."""


def network() -> keras.Model:
    """(n, 64, 64, 1) float32 in -0.5..0.5 -> (n, 10): x, y of each landmark, in box sides from the square's middle."""
    layers = keras.layers
    value = shown = layers.Input((INPUT, INPUT, 1))
    for channels, stride in ((16, 2), (32, 2), (32, 1), (64, 2), (64, 1), (96, 2), (96, 1)):
        value = layers.Conv2D(channels, 3, stride, padding="same", use_bias=False)(value)
        value = layers.ReLU()(layers.BatchNormalization(momentum=0.98)(value))
    value = layers.Dense(128, use_bias=False)(layers.Flatten()(value))
    value = layers.ReLU()(layers.BatchNormalization(momentum=0.98)(value))
    return keras.Model(shown, layers.Dense(10, dtype="float32")(value))


def gray(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def work(job: tuple[list[dict], int]) -> list[tuple[np.ndarray, np.ndarray, float, bool]]:
    """Pictures (SIDE, SIDE) with their landmarks (5, 2) px, yaw, and whether the person teaches."""
    cv2.setNumThreads(1)
    rows, seed = job
    rng, found = np.random.default_rng(seed), []
    for row in rows:
        crop = cv2.imdecode(np.frombuffer(row["crop"]["bytes"], np.uint8), cv2.IMREAD_COLOR_RGB)
        points = points_in_crop(row["landmarks"], row["transform"]).astype(np.float32)
        scale = SIDE / len(crop)
        teaches = choose_subset(row["identity"], 0, 0.2, 0) == TRAIN
        if row["frontal_angle"] <= STRAIGHT:
            found.append((gray(crop), (points + 0.5) * scale - 0.5, row["yaw"], teaches))
        if row["frontal_angle"] > FRONTAL:
            continue
        face = Turnable(crop, points, row["yaw"], row["pitch"])
        for _ in range(VIEWS):
            yaw = float(rng.choice([-1, 1]) * (rng.uniform(0, 90) if rng.random() < 0.3 else rng.uniform(35, 95)))
            view = face.turn(yaw, float(np.clip(rng.normal(0, 12), -35, 35)), SIDE, tuple(rng.normal(0, 0.03, 2)))
            found.append((gray(view.image), view.landmarks, yaw, teaches))
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
        squares, points, yaws, teaches = (np.array(values) for values in zip(*made, strict=True))
        self.squares, self.points = squares[teaches], points[teaches].astype(np.float32)
        self.judges = squares[~teaches], points[~teaches].astype(np.float32), np.abs(yaws[~teaches])
        print(f"{len(self.squares)} pictures, {(~teaches).sum()} judge, {time.time() - started:.0f} s", flush=True)


class Augmenter(Camera):
    """Draws pictures and changes them as cameras, files and detectors do."""

    def __init__(self, pool: Pool, seed: int) -> None:
        super().__init__(seed)
        self.pool = pool

    def one(self) -> tuple[np.ndarray, np.ndarray]:
        rng = self.rng
        index = rng.integers(len(self.pool.squares))
        roll = np.radians(rng.normal(0, 9) if rng.random() < 0.8 else rng.uniform(-50, 50))
        matrix = placing(roll, np.exp(rng.normal(0, 0.06)), rng.normal(0, 0.03, 2))
        image = cv2.warpAffine(
            self.pool.squares[index], matrix, (INPUT, INPUT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return self.spoil(image), told(self.pool.points[index] @ matrix[:, :2].T + matrix[:, 2])

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Half a batch, and its mirror images."""
        images, points = (np.array(values) for values in zip(*(self.one() for _ in range(BATCH // 2)), strict=True))
        mirrored = points[:, SWAPPED] * np.array([-1, 1])
        both = np.concatenate([points, mirrored]).reshape(BATCH, 10)
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
    """Mean distance, in hundredths of the box, by yaw."""
    squares, points, yaws = pool.judges
    matrix = placing()
    images = np.array([cv2.warpAffine(one, matrix, (INPUT, INPUT), flags=cv2.INTER_LINEAR) for one in squares])
    out = model.predict(images[..., None].astype(np.float32) / 255 - 0.5, batch_size=256, verbose=0)
    off = np.linalg.norm(out.reshape(-1, 5, 2) - told(points @ matrix[:, :2].T + matrix[:, 2]), axis=2).mean(axis=1)
    bands = ((0, 30), (30, 45), (45, 60), (60, 75), (75, 96))
    return "  ".join(f"{a}-{b}: {100 * off[(yaws >= a) & (yaws < b)].mean():.2f}" for a, b in bands)


def train(pool: Pool, work: str) -> None:
    keras.utils.set_random_seed(0)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model, steps = network(), SAMPLES // BATCH
    rate = keras.optimizers.schedules.CosineDecay(1e-4, steps - 500, warmup_target=RATE, warmup_steps=500, alpha=0.002)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(images, points):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(model(images, training=True) - points))
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


def export(work: str, out: str) -> None:
    """Writes the network with weights of 8 bits, as `train_orientation.py` does."""
    keras.config.set_dtype_policy("float32")
    model = network()
    model.load_weights(f"{work}/landmarks.weights.h5")
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    with open(out, "wb") as file:
        file.write(converter.convert())
    print(f"{out}: {os.path.getsize(out)} bytes")


def main(faces: str, work: str, out: str = "facepipe/models/profile_landmarks.tflite") -> None:
    os.makedirs(work, exist_ok=True)
    train(Pool(faces), work)
    export(work, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
