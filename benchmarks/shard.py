#!/usr/bin/env python3
"""Examples a second of `facepipe shard` beside a plain `tf.io.TFRecordWriter` loop.

    python benchmarks/shard.py [--frames 12000] [--workers 2] [--runs 3]

The loop is given the pictures as arrays in memory, encodes them (tf.io.encode_png, encode_jpeg), makes a
`tf.train.Example` of each pair and writes it, on one process, as a user's script would. `facepipe shard` reads Parquet parts, decodes every crop, draws noise, shuffles across everything,
encodes and writes; start-up is taken out by a run over a hundredth of the frames. Wall time and CPU time (user + system,
all processes) are the medians over the runs; each run takes the two in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import cv2
import numpy as np
from measuring import measure

ENCODINGS = ("raw", "png", "jpeg")
COPIES = 5
LOOP = """
import sys, time, numpy as np, tensorflow as tf
count, path, encoding = int(sys.argv[1]), sys.argv[2], sys.argv[3]
pictures = np.load(sys.argv[4])
noisy = pictures[::-1].copy()
bytes_of = lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
float_of = lambda value: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
int_of = lambda value: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
encode = {"raw": lambda image: image.tobytes(), "png": lambda image: tf.io.encode_png(image).numpy(),
          "jpeg": lambda image: tf.io.encode_jpeg(image, quality=95).numpy()}[encoding]
started, cpu = time.perf_counter(), time.process_time()
with tf.io.TFRecordWriter(path) as writer:
    for i in range(count):
        example = tf.train.Example(features=tf.train.Features(feature={
            "key": bytes_of(b"p0001/v0/%06d.jpg#0" % i), "identity": bytes_of(b"p0001"),
            "feature": bytes_of(encode(noisy[i % 512])), "target": bytes_of(encode(pictures[i % 512])),
            "feature_angle": float_of(3.5), "target_angle": float_of(1.5), "feature_yaw": float_of(3.0),
            "noise_strength": float_of(0.1), "noise": bytes_of(b"gaussian"), "copy": int_of(4), "label": int_of(-1)}))
        writer.write(example.SerializeToString())
print(time.perf_counter() - started, time.process_time() - cpu)
"""


def crops() -> list[bytes]:
    """800 crops of 128 px: scikit-image's faces, each eight times a little different."""
    from skimage import data

    found = []
    for face in data.lfw_subset()[:100]:
        large = cv2.resize((face * 255).astype(np.uint8), (128, 128), interpolation=cv2.INTER_CUBIC)
        for shift in range(8):
            picture = cv2.cvtColor(np.roll(large, shift, axis=1), cv2.COLOR_GRAY2BGR)
            found.append(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    return found


def make_workspace(folder: str, frames: int) -> None:
    """Faces of 20 frames a person in parts of 512, targets and pairs."""
    from facepipe.api import select, split
    from facepipe.records import FaceRow
    from facepipe.storage import parquet, place
    from facepipe.storage.partlist import describe, write_list
    from facepipe.storage.settings import write_settings

    pictures, faces = crops(), place(f"{folder}/faces")
    starts = range(0, frames, 512)
    for number, start in enumerate(starts):
        rows = []
        for i in range(start, min(start + 512, frames)):
            angle = 1.0 + i % 20
            row = FaceRow(
                f"p{i // 20:06d}/{i:07d}.jpg#0", f"p{i // 20:06d}/{i:07d}.jpg", f"p{i // 20:06d}", "", i, 0, "ok"
            )
            row.bbox, row.score, row.yaw, row.pitch, row.frontal_angle = [0.0, 0.0, 99.0, 99.0], 0.9, angle, 0.0, angle
            row.sharpness, row.crop = 0.5, pictures[i % len(pictures)]
            rows.append(row)
        parquet.write_table(faces, parquet.part_name(number), parquet.rows_to_table(rows))
    write_settings(faces, {"stage": "extract", "parts": len(starts), "crop_size": 128})
    write_list(faces, [describe(faces, name) for name in parquet.part_names(faces)])
    select(input=f"{folder}/faces", output=f"{folder}/targets")
    split(faces=f"{folder}/faces", targets=f"{folder}/targets", output=f"{folder}/pairs", validation=0.0)


def time_shard(folder: str, output: str, workers: int, encoding: str) -> tuple[int, float, float]:
    """Examples, wall seconds and CPU seconds of one run of the command."""
    command = [sys.executable, "-m", "facepipe", "shard", "-i", f"{folder}/pairs", "--faces", f"{folder}/faces"]
    command += ["-o", output, "--workers", str(workers), "--encoding", encoding, "--quiet", "--shards", "4"]
    used = measure(*command)
    with open(f"{output}/pairs/1.0.0/run.json", encoding="utf-8") as file:
        examples = sum(sum(lengths) for lengths in json.load(file)["lengths"].values())
    return examples, used.wall_s, used.cpu_s


def time_loop(count: int, folder: str, encoding: str) -> tuple[float, float]:
    """Wall and CPU seconds of the plain loop."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    pictures = [cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_2) for crop in crops()[:512]]
    np.save(f"{folder}/pictures.npy", np.stack(pictures)[..., None])
    arguments = [str(count), f"{folder}/loop.tfrecord", encoding, f"{folder}/pictures.npy"]
    command = [sys.executable, "-c", LOOP, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    wall, cpu = map(float, done.stdout.split())
    return wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=12_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_workspace(f"{folder}/all", options.frames)
        make_workspace(f"{folder}/few", max(options.frames // 100, 40))
        examples = options.frames * COPIES
        rows = {(who, encoding): [] for encoding in ENCODINGS for who in ("loop", "shard")}
        for run in range(options.runs):
            for encoding in ENCODINGS:
                loop_wall, loop_cpu = time_loop(examples, folder, encoding)
                rows["loop", encoding].append((examples / loop_wall, loop_cpu / examples))
                outputs = [f"{folder}/{name}-{encoding}-{run}" for name in ("all", "few")]
                runs = [
                    time_shard(f"{folder}/{name}", output, options.workers, encoding)
                    for name, output in zip(("all", "few"), outputs, strict=True)
                ]
                count, wall, cpu = (a - b for a, b in zip(*runs, strict=True))
                rows["shard", encoding].append((count / wall, cpu / count))
                for output in outputs:
                    shutil.rmtree(output)
    print(f"{examples:,} examples of 2 x 64 x 64 gray, {options.workers} workers, medians of {options.runs}")
    for (who, encoding), values in rows.items():
        rate, cpu = (statistics.median(column) for column in zip(*values, strict=True))
        loop = statistics.median(rate for rate, _ in rows["loop", encoding])
        title = "tf.io.TFRecordWriter loop, 1 process" if who == "loop" else "facepipe shard, with noise"
        print(f"{title:<38} {encoding:<5} {rate:9,.0f} examples/s  {1e6 * cpu:7.1f} us CPU each  {rate / loop:5.2f} x")


if __name__ == "__main__":
    main()
