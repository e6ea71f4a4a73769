"""Teaches the orientation network and writes `facepipe/models/orientation.tflite`.

    python tools/orientation_data.py DATA WORK      # once: faces and turned heads
    python tools/train_orientation.py DATA WORK     # teaches, tells how well it does, writes the network

About an hour on one core. What judges it: people of `ytf` that taught nothing, and the folder `umist`.
"""

from __future__ import annotations

import csv
import os
import queue
import sys
import threading
import time
from collections import defaultdict

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import keras
import numpy as np
import tensorflow as tf
from orientation_data import SIDE, held_out, overlap, square

INPUT, SHOWN = 64, 1.3
"""px, and the side of what the network sees in longer sides of the face's box."""
ROOM = 1.95
BATCH = 128
SAMPLES = int(os.environ.get("SAMPLES", "3200000"))
WIDTH = float(os.environ.get("WIDTH", "1"))
RATE = 2.5e-3
UNKNOWN = 45.0
"""degrees of error that squares without a face are to be given."""
LOG = os.environ.get("LOG", "")


def network(outputs: int = 7, width: float = WIDTH) -> keras.Model:
    """(n, 64, 64, 1) float32 in -0.5..0.5 -> (n, 7): forward x, y, z, the right axis x, y, z, log of the error, rad.

    With other `outputs`, what another network tells.
    """
    layers = keras.layers
    value = shown = layers.Input((INPUT, INPUT, 1))
    for channels, stride in ((16, 2), (32, 2), (32, 1), (64, 2), (64, 1), (96, 2), (96, 1)):
        value = layers.Conv2D(int(channels * width), 3, stride, padding="same", use_bias=False)(value)
        value = layers.ReLU()(layers.BatchNormalization(momentum=0.98)(value))
    value = layers.Dense(128, use_bias=False)(layers.Flatten()(value))
    value = layers.ReLU()(layers.BatchNormalization(momentum=0.98)(value))
    return keras.Model(shown, layers.Dense(outputs, dtype="float32")(value))


class Pool:
    """Squares with what is known of them: axes (n, 6), worth (n,), how often each is drawn (n,)."""

    def __init__(self, work: str, data: str) -> None:
        with np.load(f"{work}/faces.npz") as file:
            faces = {name: file[name] for name in file.files}
        with np.load(f"{work}/renders.npz") as file:
            views = {name: file[name] for name in file.files}
        parts = [path.split("/") for path in faces["path"]]
        judge = np.array([part[0] == "ytf" and held_out(part[1]) for part in parts])
        self.judges = {name: values[judge] for name, values in faces.items()}
        faces = {name: values[~judge] for name, values in faces.items()}
        nothing = no_faces(data)
        self.squares = np.concatenate([faces["square"], views["square"], nothing])
        axes = np.concatenate([faces["rotation"], views["rotation"]])
        self.axes = np.concatenate([-axes[:, :, 2], axes[:, :, 0]], axis=1).astype(np.float32)
        self.axes = np.concatenate([self.axes, np.zeros((len(nothing), 6), np.float32)])
        off = np.degrees(np.arccos(np.clip(-self.axes[: len(faces["square"]), 2], -1, 1)))
        known = np.concatenate([np.ones(len(faces["square"]), bool), ~views["back"], np.zeros(len(nothing), bool)])
        self.worth = np.concatenate([faces["worth"], np.ones(len(views["square"])), np.ones(len(nothing))]).astype(
            np.float32
        )
        self.known = known
        # Turned faces are rare among photographs, and true labels are.
        often = (1 + 3 * (off > 25) + 3 * (off > 40) + 4 * faces["true"]).astype(float)
        often *= 0.48 / often.sum()
        seen = np.where(views["seen"], 1.0, 0.4)
        seen *= 0.48 / seen.sum()
        self.often = np.concatenate([often, seen, np.full(len(nothing), 0.04 / len(nothing))])
        self.blank = np.cumsum(self.often / self.often.sum())
        print(
            f"{len(faces['square'])} faces, {len(views['square'])} views, {len(nothing)} squares without a face",
            flush=True,
        )


def no_faces(data: str) -> np.ndarray:
    """Squares of photographs in which no face lies, and of corners beside faces."""
    rng, found = np.random.default_rng(5), []
    folder = f"{data}/boxes/no_face"
    for name in sorted(os.listdir(folder)):
        image = cv2.imread(f"{folder}/{name}")
        if image is None:
            continue
        height, width, _ = image.shape
        for _ in range(60):
            side = rng.uniform(0.1, 0.5) * min(height, width)
            x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
            found.append(square(image, np.array([x, y, x + side, y + side])))
    rows = [row for row in csv.DictReader(open(f"{data}/orientation_reference.csv")) if row["path"].startswith("lfw")]
    for row in rows[::5]:
        image = cv2.imread(f"{data}/{row['path']}")
        height, width, _ = image.shape
        box = np.array([float(row[name]) for name in ("x1", "y1", "x2", "y2")])
        side = rng.uniform(25, 70)
        x, y = rng.uniform(0, width - side), rng.uniform(0, height - side)
        if overlap(np.array([x, y, x + side, y + side]), box) < 0.02:
            found.append(square(image, np.array([x, y, x + side, y + side])))
    return np.array(found)


def show(squares: np.ndarray) -> np.ndarray:
    """Stored squares as the network is shown them when nothing is changed, (n, 64, 64) uint8."""
    scale = INPUT / (SIDE * SHOWN / ROOM)
    shift = (INPUT - 1) / 2 - scale * (SIDE - 1) / 2
    matrix = np.array([[scale, 0, shift], [0, scale, shift]])
    return np.array([cv2.warpAffine(one, matrix, (INPUT, INPUT), flags=cv2.INTER_LINEAR) for one in squares])


class Camera:
    """Changes pictures as cameras and files do."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.noise = self.rng.normal(size=(64, INPUT, INPUT)).astype(np.float32)
        y, x = (np.mgrid[:INPUT, :INPUT] / (INPUT - 1) - 0.5).astype(np.float32)
        self.ramp = np.stack([x, y])

    def spoil(self, image: np.ndarray) -> np.ndarray:
        """(64, 64) uint8 -> float32 in -0.5..0.5."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.15:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
        elif kind < 0.4:
            side = int(rng.uniform(14, 48))
            small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            image = cv2.resize(small, (INPUT, INPUT), interpolation=cv2.INTER_LINEAR)
        if rng.random() < 0.15:
            quality = int(rng.uniform(15, 70))
            image = cv2.imdecode(
                cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE
            )
        if rng.random() < 0.1:
            x, y = rng.integers(0, INPUT, 2)
            w, h = rng.integers(4, 28, 2)
            image[y : y + h, x : x + w] = rng.integers(0, 256)
        value = image.astype(np.float32) / 255
        if rng.random() < 0.5:
            value **= np.float32(np.exp(rng.normal(0, 0.3)))
        gain, offset = np.float32(np.exp(rng.normal(0, 0.2))), np.float32(rng.normal(0, 0.08))
        value = (value - 0.5) * gain + offset
        if rng.random() < 0.3:
            value = value * (1 + np.tensordot(rng.normal(0, 0.5, 2).astype(np.float32), self.ramp, 1))
        if rng.random() < 0.3:
            value = value + self.noise[rng.integers(64)] * np.float32(rng.uniform(0, 0.06))
        return np.clip(value, -0.5, 0.5)


class Augmenter(Camera):
    """Draws pictures and changes them as cameras, files and detectors do."""

    def __init__(self, pool: Pool, seed: int) -> None:
        super().__init__(seed)
        self.pool = pool

    def one(self) -> tuple[np.ndarray, np.ndarray, float, bool]:
        rng, pool = self.rng, self.pool
        index = int(np.searchsorted(pool.blank, rng.random()))
        kind = rng.random()
        roll = rng.normal(0, 9) if kind < 0.7 else rng.uniform(-50, 50) if kind < 0.85 else rng.uniform(-180, 180)
        angle = np.radians(roll)
        cosine, sine = np.cos(angle), np.sin(angle)
        scale = INPUT / (SIDE * SHOWN / ROOM) * np.exp(rng.normal(0, 0.06))
        shift = (INPUT - 1) / 2 + rng.normal(0, 0.03, 2) * INPUT / SHOWN
        linear = scale * np.array([[cosine, -sine], [sine, cosine]])
        matrix = np.column_stack([linear, shift - linear.sum(axis=1) * (SIDE - 1) / 2])
        image = cv2.warpAffine(
            pool.squares[index], matrix, (INPUT, INPUT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        axes = pool.axes[index].reshape(2, 3).copy()
        axes[:, :2] = axes[:, :2] @ np.array([[cosine, sine], [-sine, cosine]], np.float32)
        return self.spoil(image), axes.reshape(6), pool.worth[index], pool.known[index]

    def batch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Half a batch, and its mirror images."""
        images, axes, worth, known = (
            np.array(values) for values in zip(*(self.one() for _ in range(BATCH // 2)), strict=True)
        )
        mirrored = axes * np.array([-1, 1, 1, 1, -1, -1], np.float32)
        return (
            np.concatenate([images, images[:, :, ::-1]])[..., None].astype(np.float32),
            np.concatenate([axes, mirrored]).astype(np.float32),
            np.tile(worth, 2).astype(np.float32),
            np.tile(known, 2).astype(np.float32),
        )


def angle_between(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Radians between vectors (n, 3), of which the first need not be of length 1."""
    across = tf.linalg.norm(tf.linalg.cross(a, b), axis=1)
    return tf.atan2(across + 1e-7, tf.reduce_sum(a * b, axis=1))


def losses(out: tf.Tensor, axes: tf.Tensor, worth: tf.Tensor, known: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    weight = tf.constant([2.0, 2.0, 0.7, 0.7, 1.0, 0.7])
    off = tf.reduce_sum(tf.abs(out[:, :6] - axes) * weight, axis=1) * worth * known
    error = tf.stop_gradient(angle_between(out[:, :3], axes[:, :3]))
    error = known * error + (1 - known) * np.radians(UNKNOWN)
    stated = tf.clip_by_value(out[:, 6], -6.0, 2.0)
    told = (error * tf.exp(-stated) + stated) * (known * worth + (1 - known))
    return tf.reduce_mean(off + 0.03 * told), tf.reduce_sum(error * known) / tf.reduce_sum(known)


def look(model: keras.Model, squares: np.ndarray, mirrored: bool = True) -> np.ndarray:
    """What the network says of stored squares, (n, 7); the mean with what it says of their mirror images."""
    images = (show(squares).astype(np.float32) / 255 - 0.5)[..., None]
    out = model.predict(images, batch_size=256, verbose=0)
    if mirrored:
        other = model.predict(images[:, :, ::-1], batch_size=256, verbose=0)
        out = (out + other * np.array([-1, 1, 1, 1, -1, -1, 1])) / 2
    return out


def degrees(out: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Yaw, pitch and frontal angle."""
    forward = out[:, :3] / np.linalg.norm(out[:, :3], axis=1, keepdims=True)
    yaw = np.degrees(np.arcsin(np.clip(-forward[:, 0], -1, 1)))
    return (
        yaw,
        np.degrees(np.arctan2(-forward[:, 1], -forward[:, 2])),
        np.degrees(np.arccos(np.clip(-forward[:, 2], -1, 1))),
    )


class Judges:
    """People that taught nothing."""

    def __init__(self, pool: Pool, data: str) -> None:
        true = {f"ytf/{row['path']}": row for row in csv.DictReader(open(f"{data}/ytf_labels.csv"))}
        judges = pool.judges
        kept = [i for i, path in enumerate(judges["path"]) if path in true]
        self.squares = judges["square"][kept]
        rows = [true[judges["path"][i]] for i in kept]
        self.people = [row["identity"] for row in rows]
        self.true = np.array([[float(row[name]) for name in ("yaw", "pitch", "frontal_angle")] for row in rows])
        reference = [
            row for row in csv.DictReader(open(f"{data}/orientation_reference.csv")) if row["path"].startswith("umist")
        ]
        self.series = np.array([row["path"].split("/")[1] for row in reference])
        self.yaw = np.array([float(row["yaw"]) for row in reference])
        self.angle = np.degrees(
            np.arccos(np.cos(np.radians(self.yaw)) * np.cos(np.radians([float(r["pitch"]) for r in reference])))
        )
        self.umist = np.array(
            [
                square(cv2.imread(f"{data}/{row['path']}"), np.array([float(row[k]) for k in ("x1", "y1", "x2", "y2")]))
                for row in reference
            ]
        )

    def score(self, model: keras.Model) -> str:
        yaw, pitch, angle = degrees(look(model, self.squares))
        off = [np.abs(d - np.median(d)).mean() for d in (yaw - self.true[:, 0], pitch - self.true[:, 1])]
        chosen = defaultdict(list)
        for person, told, real in zip(self.people, angle, self.true[:, 2], strict=True):
            chosen[person].append((told, real))
        regret = [min(v)[1] - min(r for _, r in v) for v in chosen.values()]
        out = look(model, self.umist)
        yaw, _, angle = degrees(out)
        wrong, order, worst = 0, [], []
        for name in np.unique(self.series):
            own = self.series == name
            best = np.argmin(angle[own])
            gap = np.abs(self.yaw[own])[best] - np.abs(self.yaw[own]).min()
            wrong += gap > 10
            worst.append(round(float(gap)))
            ranks = [np.argsort(np.argsort(v)) for v in (yaw[own], self.yaw[own])]
            order.append(np.corrcoef(*ranks)[0, 1])
        stated = np.degrees(np.exp(out[:, 6]))
        return (
            f"ytf yaw {off[0]:.2f} pitch {off[1]:.2f} regret {np.mean(regret):.2f} top1 {np.mean(np.array(regret) <= 1):.2f}"
            f" | umist wrong {wrong} gaps {worst} order {np.median(order):.2f} worst {min(order):.2f}"
            f" error stated {np.median(stated):.1f}"
        )


def batches(maker: Augmenter, count: int) -> queue.Queue:
    """Batches made beside the training."""
    ready: queue.Queue = queue.Queue(maxsize=8)

    def make() -> None:
        cv2.setNumThreads(1)
        for _ in range(count):
            ready.put(maker.batch())

    threading.Thread(target=make, daemon=True).start()
    return ready


def begun(outputs: int, steps: int) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    """A network and what teaches it in so many steps, on one thread; the same each time."""
    keras.utils.set_random_seed(0)
    tf.config.threading.set_intra_op_parallelism_threads(int(os.environ.get("THREADS", "1")))
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = network(outputs)
    rate = keras.optimizers.schedules.CosineDecay(1e-4, steps - 500, warmup_target=RATE, warmup_steps=500, alpha=0.002)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.01)
    optimizer.build(model.trainable_variables)
    return model, optimizer


def train(pool: Pool, judges: Judges, out: str) -> keras.Model:
    keras.config.set_dtype_policy("mixed_bfloat16")
    steps = SAMPLES // BATCH
    model, optimizer = begun(7, steps)

    @tf.function
    def step(images, axes, worth, known):
        with tf.GradientTape() as tape:
            total, error = losses(model(images, training=True), axes, worth, known)
        optimizer.apply(tape.gradient(total, model.trainable_variables), model.trainable_variables)
        return total, error

    ready, started, seen = batches(Augmenter(pool, 1), steps), time.time(), []
    for number in range(1, steps + 1):
        total, error = step(*ready.get())
        if number % 50 == 0:
            seen.append((float(total), float(error)))
        if number % 2000 == 0 or number == steps:
            loss, off = np.mean(seen, axis=0)
            seen = []
            print(
                f"{number}/{steps} {time.time() - started:.0f} s loss {loss:.3f} off {np.degrees(off):.2f} | {judges.score(model)}",
                flush=True,
            )
            model.save_weights(f"{out}/orientation.weights.h5")
    return model


def export(weights: str, out: str, outputs: int = 7, kept: int = 7) -> None:
    """Writes the network with weights of 8 bits as a TFLite file: (n, 64, 64, 1) float32 in -0.5..0.5 -> (n, kept) float32.

    Values between layers are turned into 8 bits by their own range, and the last layer stays exact. Ranges that are fixed
    by calibration move the direction by 1.3 degrees instead of 0.1, and the network takes no less time.
    """
    keras.config.set_dtype_policy("float32")
    model = network(outputs)
    model.load_weights(weights)
    if kept < outputs:
        model = keras.Model(model.inputs, model.outputs[0][:, :kept])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    with open(out, "wb") as file:
        file.write(converter.convert())
    print(f"{out}: {os.path.getsize(out)} bytes")


def main(data: str, work: str, out: str = "facepipe/models/orientation.tflite") -> None:
    pool = Pool(work, data)
    train(pool, Judges(pool, data), work)
    export(f"{work}/orientation.weights.h5", out)


if __name__ == "__main__":
    main(*sys.argv[1:])
