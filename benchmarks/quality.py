#!/usr/bin/env python3
"""How good the faces are: facepipe's two detectors beside the `mtcnn` package and OpenCV's FaceDetectorYN.

    python benchmarks/quality.py [DATA] [--without-package]

DATA (default ../shared/data) holds `ytf` (labelled YouTube Faces frames), `boxes` (web photographs with labelled boxes)
and `aflw2000` (photographs with a known pose), with their label files. facepipe's figures come from `facepipe extract`
and `facepipe select` as a user runs them; the others' boxes and landmarks are turned into a pose by the same function.
Prints Markdown. `--without-package` leaves the `mtcnn` package out, which needs TensorFlow.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from facepipe.detection import landmarks, networks, runtime, weights
from facepipe.detection.mtcnn import overlaps
from facepipe.pose import estimate_pose

ROOT = Path(__file__).resolve().parents[1]
TURNS = ((0, 10), (10, 20), (20, 90))
"""degrees of labelled yaw, the columns of the recall table."""


class Found(NamedTuple):
    """One face: box (4,), landmarks (5, 2), yaw, pitch and frontal angle in degrees."""

    box: np.ndarray
    landmarks: np.ndarray
    yaw: float
    pitch: float
    angle: float


class Labels:
    """The labelled photographs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ytf = self._read("ytf_labels.csv")
        self.aflw = self._read("aflw2000_labels.csv")
        self.boxes: dict[str, list[list[float]]] = defaultdict(list)
        for row in self._read("boxes_labels.csv"):
            self.boxes[row["path"]].append([float(row[c]) for c in ("x1", "y1", "x2", "y2")])
        for path in sorted((folder / "boxes").rglob("*.*")):
            self.boxes.setdefault(path.relative_to(folder / "boxes").as_posix(), [])

    def _read(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open() as file:
            return list(csv.DictReader(file))

    def images(self, part: str):
        """Path and RGB pixels of the labelled photographs in a folder."""
        names = {"ytf": [r["path"] for r in self.ytf], "aflw2000": [r["path"] for r in self.aflw], "boxes": self.boxes}
        for name in names[part]:
            yield name, cv2.cvtColor(cv2.imread(str(self.folder / part / name)), cv2.COLOR_BGR2RGB)


def facepipe(*arguments: str) -> None:
    command = [sys.executable, "-m", "facepipe", *arguments, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"facepipe {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def read_faces(folder: Path, statuses: tuple[str, ...]) -> dict[str, list[Found]]:
    import pyarrow.parquet as pq

    columns = ["path", "status", "bbox", "landmarks", "yaw", "pitch", "frontal_angle"]
    faces = defaultdict(list)
    for part in sorted(folder.glob("part-*.parquet")):
        for row in pq.read_table(part, columns=columns).to_pylist():
            if row["status"] in statuses:
                points = np.array(row["landmarks"]).reshape(5, 2)
                face = Found(np.array(row["bbox"]), points, row["yaw"], row["pitch"], row["frontal_angle"])
                faces[row["path"]].append(face)
    return faces


def run_facepipe(labels: Labels, work: Path, detector: str) -> dict[str, dict[str, list[Found]]]:
    """Extracts the three folders as a user would."""
    runs = {
        "ytf": ["--manifest", str(labels.folder / "ytf_labels.csv")],
        "aflw2000": ["--layout", "flat"],
        "boxes": ["--layout", "flat", "--min-face", "20"],
    }
    faces = {}
    for part, options in runs.items():
        output = work / detector / part
        facepipe("extract", "-i", str(labels.folder / part), "-o", str(output), "--detector", detector, *options)
        faces[part] = read_faces(output, ("ok", "other_face") if part == "boxes" else ("ok",))
    return faces


def posed(box: np.ndarray, landmarks: np.ndarray) -> Found:
    pose = estimate_pose(landmarks, None)
    return Found(box, landmarks, pose.yaw, pose.pitch, pose.frontal_angle)


def package_mtcnn():
    from mtcnn import MTCNN

    network = MTCNN()

    def detect(image: np.ndarray) -> list[Found]:
        rows = network.detect_faces(image, output_type="numpy", box_format="xyxy")
        return [posed(row[1:5], np.stack([row[6:11], row[11:16]], axis=1)) for row in rows]

    return detect


def opencv_yunet():
    network = cv2.FaceDetectorYN.create(weights.find_weights(weights.YUNET), "", (320, 320), 0.7)

    def detect(image: np.ndarray) -> list[Found]:
        network.setInputSize(image.shape[1::-1])
        rows = network.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        rows = np.zeros((0, 15)) if rows is None else rows
        return [posed(np.r_[r[:2], r[:2] + r[2:4]], r[4:14].reshape(5, 2)) for r in rows]

    return detect


def run_other(labels: Labels, detect) -> dict[str, dict[str, list[Found]]]:
    return {part: {p: detect(i) for p, i in labels.images(part)} for part in ("ytf", "aflw2000", "boxes")}


def cost(labels: Labels, detect) -> float:
    """CPU milliseconds a labelled frame, decoding not counted."""
    images = [image for _, image in labels.images("ytf")][::4]
    detect(images[0])
    start = time.process_time()
    for image in images:
        detect(image)
    return (time.process_time() - start) / len(images) * 1e3


def score_frames(rows: list[dict[str, str]], faces: dict[str, list[Found]]) -> dict[str, float]:
    """The figures of labelled video frames; those of the task's own scorer."""
    errors, offsets, groups = [], [], defaultdict(list)
    seen: dict[tuple[int, int], list[bool]] = defaultdict(list)
    for row in rows:
        truth = np.array([float(row[c]) for c in ("x1", "y1", "x2", "y2")])
        points = np.array([float(v) for k, v in row.items() if k.endswith(("_x", "_y"))]).reshape(5, 2)
        found = faces.get(row["path"], [])
        ratio = overlaps(truth[None], np.stack([f.box for f in found]))[0] if found else np.zeros(1)
        hit = bool(ratio.max() >= 0.3)
        turn = next(t for t in TURNS if t[0] <= abs(float(row["yaw"])) < t[1])
        seen[turn].append(hit)
        angle = np.nan
        if hit:
            face = found[int(ratio.argmax())]
            errors.append(np.linalg.norm(face.landmarks - points, axis=1).mean() / (truth[2:] - truth[:2]).max())
            if face.yaw == face.yaw:
                offsets.append((face.yaw - float(row["yaw"]), face.pitch - float(row["pitch"])))
                angle = face.angle
        groups[row["identity"]].append((angle, float(row["frontal_angle"])))
    yaw, pitch = np.array(offsets).T
    regret = [min((f for f in g if f[0] == f[0]), default=max(g))[1] - min(a for _, a in g) for g in groups.values()]
    return {
        "recall": np.mean([h for hits in seen.values() for h in hits]),
        **{f"yaw {low}-{high}": np.mean(seen[low, high]) for low, high in TURNS},
        "landmark error": np.mean(errors),
        "yaw error": np.abs(yaw - np.median(yaw)).mean(),
        "pitch error": np.abs(pitch - np.median(pitch)).mean(),
        "regret": np.mean(regret),
        "top1": np.mean(np.array(regret) <= 1.0),
    }


def score_boxes(truth: dict[str, list[list[float]]], faces: dict[str, list[Found]]) -> dict[str, float]:
    matched = others = false = 0
    for path, boxes in truth.items():
        found = faces.get(path, [])
        if not boxes:
            false += len(found)
        elif found:
            ratio = overlaps(np.stack([f.box for f in found]), np.array(boxes))
            matched, others = matched + (ratio.max(axis=0) >= 0.4).sum(), others + (ratio.max(axis=1) < 0.4).sum()
    return {"matched": matched / sum(map(len, truth.values())), "other faces": others, "false faces": false}


def score_turns(rows: list[dict[str, str]], faces: dict[str, list[Found]]) -> dict[str, float]:
    pairs = [(float(row["yaw"]), faces.get(row["path"], [])) for row in rows]
    best = [(yaw, found[0]) for yaw, found in pairs if found]
    errors = [abs(face.yaw - yaw) for yaw, face in best if face.yaw == face.yaw]
    profile = [face.angle for yaw, face in best if abs(yaw) > 50 and face.angle == face.angle]
    return {
        "found": len(best) / len(rows),
        "yaw error": np.mean(errors),
        "least angle beyond 50": min(profile, default=np.nan),
    }


def score_targets(labels: Labels, work: Path) -> dict[str, float]:
    """What `select` with the mesh chose of facepipe's own crops."""
    import pyarrow.parquet as pq

    facepipe("select", "-i", str(work / "yunet" / "ytf"), "-o", str(work / "targets"), "--refine", "mesh")
    angles = defaultdict(dict)
    for row in labels.ytf:
        angles[row["identity"]][row["path"]] = float(row["frontal_angle"])
    chosen = pq.read_table(work / "targets" / "targets.parquet", columns=["identity", "target_path"]).to_pylist()
    picked = {row["identity"]: row["target_path"] for row in chosen if row["target_path"]}
    regret = np.array([group[picked[i]] - min(group.values()) for i, group in angles.items() if i in picked])
    return {"missing": len(angles) - len(regret), "regret": regret.mean(), "top1": (regret <= 1.0).mean()}


def score_eight_bits(labels: Labels) -> dict[str, dict[str, float]]:
    """O-Net on the labelled boxes with weights of 8 bits, as facepipe runs it, beside itself in float32."""
    boxes = {row["path"]: [float(row[c]) for c in ("x1", "y1", "x2", "y2")] for row in labels.ytf}
    squares = [landmarks.cut(image, *landmarks.square(boxes[path])) for path, image in labels.images("ytf")]
    arrays = weights.read_arrays(weights.O_NET)
    exact = runtime.open_session(networks.o_net(arrays))
    lean = runtime.Network(landmarks.build(arrays), "O-Net")
    runs = {
        "float32, ONNX Runtime": lambda square: exact.run(None, {"pixels": runtime.to_planes([square])})[0][0],
        "8 bits, LiteRT": lambda square: lean.run(square[None])[0][0],
    }
    places, table = {}, {}
    for name, run in runs.items():
        start = time.process_time()
        places[name] = np.array([run(square)[4:14] for square in squares])
        spent = (time.process_time() - start) / len(squares) * 1e3
        off = places[name] - places["float32, ONNX Runtime"]
        table[name] = {"CPU ms": spent, "landmarks moved, % of the box": 100 * float(np.sqrt((off**2).mean()))}
    return table


def random_regret(rows: list[dict[str, str]]) -> float:
    """Degrees lost, on average, by a frame of each identity that is chosen blindly."""
    angles = defaultdict(list)
    for row in rows:
        angles[row["identity"]].append(float(row["frontal_angle"]))
    return np.mean([np.mean(group) - min(group) for group in angles.values()])


def print_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(rows.values())))
    print(f"\n{title}\n\n|  | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    for name, values in rows.items():
        print(f"| {name} | {' | '.join(f'{values[c]:.4g}' for c in columns)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--without-package", action="store_true")
    options = parser.parse_args()
    if not (options.data / "ytf_labels.csv").is_file():
        sys.exit(f"{options.data} holds no ytf_labels.csv; give the folder of labelled photographs")
    from facepipe.detection import make_detector

    labels = Labels(options.data)
    others = {"OpenCV FaceDetectorYN": opencv_yunet()}
    if not options.without_package:
        others = {"mtcnn package": package_mtcnn(), **others}
    with tempfile.TemporaryDirectory() as folder:
        ours = {"facepipe (yunet + O-Net)": "yunet", "facepipe --detector mtcnn": "mtcnn"}
        faces = {name: run_facepipe(labels, Path(folder), detector) for name, detector in ours.items()}
        targets = score_targets(labels, Path(folder))
    faces |= {name: run_other(labels, detect) for name, detect in others.items()}
    detectors = {name: make_detector(detector) for name, detector in ours.items()}
    timed = {
        name: lambda image, d=d: d.refine([image], d.detect([image], 40)) for name, d in detectors.items()
    } | others
    frames = {
        name: score_frames(labels.ytf, f["ytf"]) | {"CPU ms": cost(labels, timed[name])} for name, f in faces.items()
    }
    print_table(f"{len(labels.ytf)} labelled video frames (recall also by degrees of yaw)", frames)
    print_table("Targets chosen by `select` with the mesh", {"facepipe": targets})
    print(f"\nA frame chosen at random: regret {random_regret(labels.ytf):.4g}")
    labelled = sum(map(len, labels.boxes.values()))
    boxes = {name: score_boxes(labels.boxes, f["boxes"]) for name, f in faces.items()}
    print_table(f"{len(labels.boxes)} web photographs with {labelled} labelled faces, from 20 px", boxes)
    print_table(
        "Photographs turned up to 71 degrees", {n: score_turns(labels.aflw, f["aflw2000"]) for n, f in faces.items()}
    )
    print_table(f"O-Net on {len(labels.ytf)} labelled boxes (root mean square)", score_eight_bits(labels))


if __name__ == "__main__":
    main()
