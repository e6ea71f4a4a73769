"""The pictures that the orientation network is taught with: faces of photographs, and the same heads turned in 3D.

    python tools/orientation_data.py DATA WORK

DATA holds the photographs and `orientation_reference.csv`, `ytf_labels.csv` (see `docs/how/pose.md`). WORK gets
`faces.npz` and `renders.npz`: squares (n, 128, 128) uint8 gray around each face's box, 1.95 times its longer side, with
where the head's axes point. People of `HELD_OUT` and the folder `umist` are left out of both.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from multiprocessing import get_context

import cv2
import heads
import numpy as np
from face_mesh import FaceMesh, mesh_angles
from five_points import estimate_pose

from facepipe.detection import make_detector
from facepipe.face.head import rotation
from facepipe.media.image import decode

SIDE, ROOM = 128, 1.95
"""px of a stored square, and its side in longer sides of the face's box."""
FOLDERS = ("lfw", "lfw_single", "lfw_people", "ytf")
YAW_OF_REFERENCE = ([0, 25, 47, 72, 88], [0, 19.5, 42, 69, 88])
"""The reference's yaw -> the true one, degrees, where 484 frames with true labels and the mesh tell it."""
PITCH_OF_REFERENCE = (0.75, 2.4)
LOOKS = 6
"""Turned views of each photograph."""
VIEW, ZOOM = 176, 0.62
"""px of a rendered view, and how large the head stands in it."""


def held_out(identity: str) -> bool:
    """Whether a person of YouTube Faces judges, and teaches nothing: every second name."""
    return sum(identity.encode()) % 2 == 1


def level(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The rotation of angles that are told of the levelled head: roll is a turn of the picture."""
    y, p, r = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    tilt = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return tilt @ turn @ nod


def square(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The gray square (SIDE, SIDE) uint8 around a box."""
    x1, y1, x2, y2 = box
    side = ROOM * max(x2 - x1, y2 - y1)
    scale = SIDE / side
    centre = np.array([(x1 + x2 - 1) / 2, (y1 + y2 - 1) / 2])
    shift = (SIDE - 1) / 2 - scale * centre
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if scale < 0.5:
        blocks = int(1 / scale)
        small = cv2.resize(gray, None, fx=1 / blocks, fy=1 / blocks, interpolation=cv2.INTER_AREA)
        shift, scale, gray = shift + scale * (blocks - 1) / 2, scale * blocks, small
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(gray, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both + 1e-9)


def labelled(data: str) -> list[dict]:
    """The faces that teach or judge: path, the reference's box and angles, true angles where there are."""
    true = {f"ytf/{r['path']}": r for r in csv.DictReader(open(f"{data}/ytf_labels.csv"))}
    reference = csv.DictReader(open(f"{data}/orientation_reference.csv"))
    return [{**row, "true": true.get(row["path"])} for row in reference if row["path"].split("/")[0] in FOLDERS]


def truth(row: dict, mesh: np.ndarray, formula: tuple[float, float, float]) -> tuple[np.ndarray, float]:
    """A face's rotation, and how much it is worth: the true one, else the mean of mesh and formula where the face is
    turned little, the reference's where it is turned far."""
    if row["true"]:
        angles = [float(row["true"][name]) for name in ("yaw", "pitch", "roll")]
        return rotation(*angles), 1.0
    yaw, pitch, roll = (float(row[name]) for name in ("yaw", "pitch", "roll"))
    yaw = float(np.sign(yaw) * np.interp(abs(yaw), *YAW_OF_REFERENCE))
    pitch = PITCH_OF_REFERENCE[0] * pitch + PITCH_OF_REFERENCE[1]
    share = float(np.interp(abs(yaw), [22, 38], [0, 1]))
    near = 0.7 * np.array(mesh) + 0.3 * np.array(formula[:2])
    mixed = (1 - share) * near + share * np.array([yaw, pitch])
    level_roll = (1 - share) * formula[2] + share * roll
    # Where the two disagree, neither is worth much.
    worth = float(np.clip(1.5 - np.abs(near - [yaw, pitch]).max() / 12, 0.1, 1)) if share < 1 else 0.7
    return level(mixed[0], mixed[1], level_roll), worth


class Maker:
    """What a process needs to make faces and views."""

    def __init__(self, data: str) -> None:
        cv2.setNumThreads(1)
        self.data = data
        self.detector = make_detector("yunet", "", 0.3)
        self.mesh = FaceMesh()

    def face(self, row: dict):
        """(image, box, mesh points or None, rotation, worth) of a photograph."""
        image = decode(open(f"{self.data}/{row['path']}", "rb").read(), max_pixels=1 << 27)
        wanted = np.array([float(row[k]) for k in ("x1", "y1", "x2", "y2")])
        [faces] = self.detector.refine([image], self.detector.detect([image], 20))
        found = max(faces, key=lambda f: overlap(f.box, wanted), default=None)
        if found is None or overlap(found.box, wanted) < 0.3:
            return None
        formula = estimate_pose(found.landmarks, found.box)
        if np.isnan(formula.yaw):
            return None
        points = self.mesh.points(image, found.box, formula.roll)
        if points is None:
            return None
        # The mesh was shown a levelled face: its angles are those of the levelled head.
        r = np.radians(-formula.roll)
        flat = points.copy()
        flat[:, :2] = points[:, :2] @ np.array([[np.cos(r), -np.sin(r)], [np.sin(r), np.cos(r)]]).T
        turned, worth = truth(row, mesh_angles(flat), formula[:3])
        return image, found.box, points, turned, worth

    def view(self, fitted, rng: np.random.Generator, sources: list[np.ndarray], source_yaw: float):
        """A turned view: (square, rotation), or None where the head is not to be seen."""
        back = rng.random() < 0.06
        yaw = rng.uniform(115, 180) * rng.choice([-1, 1]) if back else self._yaw(rng, source_yaw)
        pitch = float(np.clip(rng.normal(0, 17), -45, 45))
        turned = rotation(yaw, pitch, rng.normal(0, 3))
        look = heads.Look(
            hair=float(rng.choice([0, rng.uniform(0.03, 0.25)])),
            long=bool(rng.random() < 0.15),
            light=(float(rng.normal(0, 0.6)), -0.5, -0.75),
            depth=float(rng.uniform(0.92, 1.08)),
        )
        view, points = heads.view(fitted, turned, VIEW, self._background(rng, sources), zoom=ZOOM, look=look)
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        size = (high - low).max()
        box = np.array([low[0], low[1] - 0.13 * size, high[0], high[1] + 0.02 * size])
        [faces] = self.detector.detect([view], 30)
        found = max(faces, key=lambda f: overlap(f.box, box), default=None)
        seen = found is not None and overlap(found.box, box) > 0.4
        return square(view, found.box if seen else box), turned, back, seen

    def _yaw(self, rng: np.random.Generator, source: float) -> float:
        """To the side that the photograph shows, mostly, and far from it, for profiles are rare among photographs."""
        side = np.sign(source) if abs(source) > 8 and rng.random() < 0.85 else rng.choice([-1, 1])
        return float(side * rng.choice([rng.uniform(0, 40), rng.uniform(35, 100)], p=[0.3, 0.7]))

    def _background(self, rng: np.random.Generator, sources: list[np.ndarray]) -> np.ndarray:
        other = sources[rng.integers(len(sources))]
        height, width, _ = other.shape
        side = int(rng.uniform(0.25, 0.5) * min(height, width))
        left = 0 if rng.random() < 0.5 else width - side
        top = int(rng.integers(0, height - side + 1))
        patch = cv2.resize(other[top : top + side, left : left + side], (VIEW, VIEW), interpolation=cv2.INTER_LINEAR)
        return cv2.blur(patch, (k := int(rng.integers(1, 20)), k))


def work(job: tuple[str, list[dict], int]) -> tuple[list, list]:
    """Faces and views of some rows."""
    data, rows, seed = job
    maker, rng = Maker(data), np.random.default_rng(seed)
    faces, views, sources = [], [], []
    for row in rows:
        made = maker.face(row)
        if made is None:
            continue
        image, box, points, turned, worth = made
        faces.append((row["path"], square(image, box), turned, worth, bool(row["true"])))
        folder, identity = row["path"].split("/")[:2]
        if folder == "ytf" and held_out(identity):
            continue
        sources.append(image)
        if len(sources) > 50:
            sources.pop(0)
        fitted = heads.fit(image, points)
        yaw = np.degrees(np.arctan2(fitted.rotation[0, 2], fitted.rotation[2, 2]))
        # Renders are told by their geometry: a photograph whose fit contradicts its label is left out.
        if np.degrees(np.arccos(np.clip(fitted.rotation[:, 2] @ turned[:, 2], -1, 1))) > 15:
            continue
        count = LOOKS + (6 if abs(yaw) > 18 else 0) if rng.random() < float(os.environ.get("SHARE", "1")) else 0
        views += [maker.view(fitted, rng, sources, yaw) for _ in range(count)]
    return faces, views


def main(data: str, out: str) -> None:
    os.makedirs(out, exist_ok=True)
    rows = labelled(data)
    # Each batch gets people of all folders.
    jobs = [(data, rows[start::128], start) for start in range(128)]
    started, faces, views = time.time(), [], []
    with get_context("spawn").Pool(2) as pool:
        for done, (some, turned) in enumerate(pool.imap(work, jobs), 1):
            faces += some
            views += turned
            if done % 8 == 0:
                print(
                    f"{done}/{len(jobs)}: {len(faces)} faces, {len(views)} views, {time.time() - started:.0f} s",
                    flush=True,
                )
    order = np.argsort([face[0] for face in faces])
    names, squares, turned, worth, true = zip(*(faces[i] for i in order), strict=True)
    np.savez(f"{out}/faces.npz", path=names, square=squares, rotation=turned, worth=worth, true=true)
    squares, turned, back, seen = zip(*views, strict=True)
    np.savez(f"{out}/renders.npz", square=squares, rotation=turned, back=back, seen=seen)


if __name__ == "__main__":
    main(*sys.argv[1:])
