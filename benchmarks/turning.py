"""How fast are faces turned in 3D, where does the detector find them, where their landmarks, and how far do they look?

    python benchmarks/turning.py [PHOTOGRAPHS, default ../shared/data/lfw] [--faces 60] [--sheet FILE.png]

One core and one thread, as a worker of `facepipe shard` has them; seconds of it, not of the clock. A face's fit is shared by four views, as `facepipe shard --turns 4` has it.
Faces are of people who taught none of facepipe's networks about landmarks: the validation subset that `facepipe split --validation 0.2` draws.
`--sheet` writes a picture of photographs and their views, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np

import facepipe
from facepipe.dataset.splitting import VALIDATION, choose_subset
from facepipe.detection import make_detector
from facepipe.face.crop import points_in_crop
from facepipe.face.orientation import make_orientation
from facepipe.face.turning import FRONTAL, Turnable

ROOT = Path(__file__).resolve().parents[1]
YAWS = (0, 20, 40, 60, 75, 90)
SIZES = (64, 128, 256)


def frontal_faces(folder, count, size):
    """Crop, landmarks in it, yaw and pitch of frontal faces."""
    with tempfile.TemporaryDirectory() as work:
        facepipe.extract(input=str(folder), output=work, limit=15 * count, crop_size=size)
        rows = facepipe.open_faces(work).to_table().to_pylist()
    held = [row for row in rows if choose_subset(row["identity"], 0, 0.2, 0) == VALIDATION]
    for row in [r for r in held if r["status"] == "ok" and r["frontal_angle"] <= FRONTAL][:count]:
        points = points_in_crop(row["landmarks"], row["transform"])
        crop = cv2.imdecode(np.frombuffer(row["crop"]["bytes"], np.uint8), cv2.IMREAD_COLOR_RGB)
        yield crop, points.astype(np.float32), row["yaw"], row["pitch"]


def speed(faces, size):
    """Views a second and core."""
    faces = [(cv2.resize(f[0], (size, size)), f[1] * size / len(f[0]), *f[2:]) for f in faces]
    Turnable(*faces[0]).turn(30, 0, size)
    began = time.process_time()
    for face in faces:
        turnable = Turnable(*face)
        for yaw in (-70, -20, 30, 60):
            turnable.turn(yaw, 5, size)
    return 4 * len(faces) / (time.process_time() - began)


def looks(faces):
    """By yaw: what share the detector finds, how far off box and landmarks are, and the yaw and pitch told."""
    detector, network = make_detector("yunet"), make_orientation()
    for yaw in YAWS:
        boxes, poses, landmarks = [], [], []
        for number, face in enumerate(faces):
            side = 1 if number % 2 else -1
            turned = Turnable(*face).turn(side * yaw, 0, 128)
            view = turned.image
            pose = network.look([view], [np.array([24, 24, 104, 104], np.float32)])[0].pose
            poses.append((side * pose.yaw, pose.pitch))
            if found := detector.detect([view], 30)[0]:
                x1, y1, x2, y2 = found[0].box
                boxes.append(((x1 + x2) / 2 - 63.5, (y1 + y2) / 2 - 63.5, max(x2 - x1, y2 - y1) - 80))
                told = facepipe.detect(view, min_face=30, min_score=0.3)[0].landmarks, found[0].landmarks
                landmarks.append([np.linalg.norm(points - turned.landmarks, axis=1).mean() for points in told])
        off = np.sqrt(np.mean(np.square(boxes), axis=0)) / 80
        told = np.nanmedian(poses, axis=0)
        points = np.mean(landmarks, axis=0) / 80
        yield (
            f"yaw {yaw:2d}: found {len(boxes) / len(faces):4.0%}, box off by {off[0]:.3f} {off[1]:.3f} and {off[2]:.3f} in "
            f"size (RMS, shares of its side), landmarks by {points[0]:.3f} (the detector's own {points[1]:.3f}), "
            f"told yaw {told[0]:.0f}, pitch {told[1]:.0f} (median)"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=ROOT.parent / "shared" / "data" / "lfw")
    parser.add_argument("--faces", type=int, default=60)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    if not options.photographs.is_dir():
        sys.exit(f"{options.photographs} is not a directory; give one of photographs")
    cv2.setNumThreads(1)
    faces = list(frontal_faces(options.photographs, options.faces, 128))
    for size in SIZES:
        print(f"{size} px: {speed(faces, size):.0f} views a second and core")
    print(*looks(faces), sep="\n")
    if options.sheet:
        rows = []
        for number, face in enumerate(faces[:: max(len(faces) // 12, 1)][:12]):
            turnable = Turnable(*face)
            views = [turnable.turn(yaw * (-1) ** number, 0, 128).image for yaw in YAWS]
            rows.append(np.concatenate([face[0], *views], axis=1))
        cv2.imwrite(str(options.sheet), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
