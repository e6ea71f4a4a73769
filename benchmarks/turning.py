"""How fast are faces turned in 3D, where does the detector find them, where their landmarks, and how far do they look?

    python benchmarks/turning.py [PHOTOGRAPHS..., default ../shared/data/lfw and lfw_people] [--faces 60] [--sheet FILE.png]

One core and one thread, as a worker of `facepipe shard` has them; seconds of it, not of the clock. A face's fit is shared by four views, as `facepipe shard --turns 4` has it.
Faces to turn are of the first folder, of people who taught none of facepipe's networks about landmarks: the validation subset that `facepipe split --validation 0.2` draws.
Then photographs of people who really look 25 degrees and more aside: how often is each found to be its person's, by the identity network, among everybody's most frontal
photographs: as it is, aligned by `extract`'s landmarks or by YuNet's and O-Net's, and turned to the front (`python -m train reconstruct mesh`)?
`--sheet` writes a picture of photographs and their views, to be looked at.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import cv2
import numpy as np

import facepipe
from facepipe.dataset.splitting import VALIDATION, choose_subset
from facepipe.detection import make_detector
from facepipe.face.crop import points_in_crop
from facepipe.face.identity import make_identity
from facepipe.face.orientation import make_orientation
from facepipe.face.turning import FRONTAL, Turnable, turn_to_front
from facepipe.records import Face

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
ASIDE = 25
YAWS = (0, 20, 40, 60, 75, 90)
SIZES = (64, 128, 256)


def extracted(folder):
    """Rows of usable faces of known pose."""
    with tempfile.TemporaryDirectory() as work:
        facepipe.extract(input=str(folder), output=work, crop_size=128)
        rows = facepipe.open_faces(work).to_table().to_pylist()
    return [row for row in rows if row["status"] == "ok" and np.isfinite(row["frontal_angle"])]


def held_back(row):
    return choose_subset(row["identity"], 0, 0.2, 0) == VALIDATION


def face_of(row):
    """Crop, landmarks in it, yaw and pitch."""
    points = points_in_crop(row["landmarks"], row["transform"])
    crop = cv2.imdecode(np.frombuffer(row["crop"]["bytes"], np.uint8), cv2.IMREAD_COLOR_RGB)
    return crop, points.astype(np.float32), row["yaw"], row["pitch"]


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
                [[blended]] = detector.refine([view], [found[:1]])
                told = facepipe.detect(view, min_face=30, min_score=0.3)[0], blended, found[0]
                landmarks.append([np.linalg.norm(one.landmarks - turned.landmarks, axis=1).mean() for one in told])
        off = np.sqrt(np.mean(np.square(boxes), axis=0)) / 80
        told = np.nanmedian(poses, axis=0)
        points = np.mean(landmarks, axis=0) / 80
        yield (
            f"yaw {yaw:2d}: found {len(boxes) / len(faces):4.0%}, box off by {off[0]:.3f} {off[1]:.3f} and {off[2]:.3f} in "
            f"size (RMS, shares of its side), landmarks by {points[0]:.3f} (YuNet's and O-Net's "
            f"{points[1]:.3f}, YuNet's {points[2]:.3f}), "
            f"told yaw {told[0]:.0f}, pitch {told[1]:.0f} (median)"
        )


def whose(rows):
    """Rank-1 of the photographs turned ASIDE and more, among everybody's most frontal one and among 100 people's."""
    from train.metrics.identity import identification  # a framework comes with it

    people = defaultdict(list)
    for row in rows:
        people[row["identity"]].append(row)
    gallery = [min(some, key=lambda row: row["frontal_angle"]) for some in people.values() if len(some) > 1]
    frontal = {row["key"] for row in gallery}
    turned = [row for some in people.values() for row in some if row["frontal_angle"] >= ASIDE]
    turned = [row for row in turned if row["key"] not in frontal and len(people[row["identity"]]) > 1]
    network, detector = make_identity(), make_detector("yunet")
    faces = [face_of(row) for row in turned]
    crops, points = [face[0] for face in faces], [face[1] for face in faces]
    began = time.process_time()
    views = [turn_to_front(*face) for face in faces]
    each = 1000 * (time.process_time() - began) / len(faces)
    box = np.array([24, 24, 104, 104], np.float32)  # where a crop with the default margin has it
    found = [detector.detect([crop], 30)[0][:1] or [Face(box, own, 0.0)] for crop, own, *_ in faces]
    blended = [face.landmarks for [face] in detector.refine(crops, found)]
    answers = {
        "aligned by extract's landmarks": (crops, points),
        "aligned by YuNet's and O-Net's": (crops, blended),
        "mesh": ([view.image for view in views], [view.landmarks for view in views]),
    }
    known = network.embed(*zip(*(face_of(row)[:2] for row in gallery), strict=True))
    own = np.array([row["identity"] for row in turned])
    of = np.array([row["identity"] for row in gallery])
    held = np.array(["held back" if held_back(row) else "" for row in turned])
    yield f"{len(turned)} photographs turned {ASIDE} degrees and more, {(held != '').sum()} of people held back; {len(of)} people; mesh takes {each:.0f} ms"
    for name, (images, places) in answers.items():
        likeness = network.embed(images, places) @ known.T
        for kept in (np.ones(len(own), bool), held != ""):
            told = identification(likeness[kept], own[kept], of, held[kept])["all"]
            yield f"{name}: rank-1 {told['rank1']:.3f}, among 100 {told['rank1_of_100']:.3f} ({told['probes']} photographs)"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = [ROOT.parent / "shared" / "data" / name for name in ("lfw", "lfw_people")]
    parser.add_argument("photographs", nargs="*", type=Path, default=usual)
    parser.add_argument("--faces", type=int, default=60)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    for folder in options.photographs:
        if not folder.is_dir():
            sys.exit(f"{folder} is not a directory; give one of photographs, a folder a person")
    cv2.setNumThreads(1)
    rows = [extracted(folder) for folder in options.photographs]
    frontal = [row for row in rows[0] if held_back(row) and row["frontal_angle"] <= FRONTAL]
    faces = [face_of(row) for row in frontal[: options.faces]]
    for size in SIZES:
        print(f"{size} px: {speed(faces, size):.0f} views a second and core")
    print(*looks(faces), sep="\n")
    print(*whose([row for some in rows for row in some]), sep="\n")
    if options.sheet:
        rows = []
        for number, face in enumerate(faces[:: max(len(faces) // 12, 1)][:12]):
            turnable = Turnable(*face)
            views = [turnable.turn(yaw * (-1) ** number, 0, 128).image for yaw in YAWS]
            rows.append(np.concatenate([face[0], *views], axis=1))
        cv2.imwrite(str(options.sheet), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
