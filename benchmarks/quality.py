#!/usr/bin/env python3
"""How good the faces are: facepipe's two detectors beside the `mtcnn` package and OpenCV's FaceDetectorYN.

    python benchmarks/quality.py [DATA] [--without-package]

DATA (default ../shared/data) holds `ytf` (labelled YouTube Faces frames), `boxes` (web photographs with labelled boxes),
`aflw2000` (photographs with a known pose), `umist` (people who turn from a profile towards frontal), LFW in three folders,
the label files, and `orientation_reference.csv`. facepipe's figures come from `facepipe extract` and `facepipe select` as
a user runs them; of the others' five landmarks the pose is told by formulas (`tools/five_points.py`). People that the
orientation network learned from are left out wherever a pose is judged, unless a title says otherwise. Prints Markdown.
`--without-package` leaves the `mtcnn` package out, which needs TensorFlow.
"""

from __future__ import annotations

import argparse
import csv
import math
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from facepipe.detection import landmarks, make_detector, networks, runtime, weights
from facepipe.detection.mtcnn import overlaps
from facepipe.face.orientation import make_orientation
from facepipe.records import SURE_DEG

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from five_points import estimate_pose  # noqa: E402
from orientation_data import YAW_OF_REFERENCE, held_out  # noqa: E402

SEEN = ((0, 10), (10, 20), (20, 90))
"""degrees of labelled yaw, the columns of the recall table."""
BANDS = tuple(pairwise((0, 15, 30, 45, 60, 75, 90)))
"""degrees of yaw, the rows of the pose table."""
TURNED = 60
"""Photographs that are turned by a quarter, a half and three quarters of a circle."""
UPRIGHT, RIGHT = 45.0, 40.0
"""degrees: a face of less roll is said to be upright; a roll not further off is right."""


class Found(NamedTuple):
    """One face: box (4,), landmarks (5, 2), yaw, pitch, roll, frontal angle and the angles' error in degrees."""

    box: np.ndarray
    landmarks: np.ndarray
    yaw: float
    pitch: float
    roll: float
    angle: float
    error: float = 0.0


Faces = dict[str, list[Found]]
"""Path of a picture -> its faces, the best first."""


class Labels:
    """The photographs and what is known of them. `paths`: by part of the data, where its pictures lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ytf = self._read("ytf_labels.csv")
        self.aflw = self._read("aflw2000_labels.csv")
        reference = self._read("orientation_reference.csv")
        self.umist = [row for row in reference if row["path"].startswith("umist/")]
        aside = [row for row in reference if row["path"].startswith(("lfw/", "lfw_people/"))]
        self.aside = [row for row in aside if 30 <= abs(true_yaw(row)) < 60]
        single = sorted((folder / "lfw_single").glob("*/*.jpg"))
        self.single = [str(path.relative_to(folder)) for path in single[:: max(len(single) // TURNED, 1)][:TURNED]]
        self.boxes: dict[str, list[list[float]]] = defaultdict(list)
        for row in self._read("boxes_labels.csv"):
            self.boxes[row["path"]].append([float(row[c]) for c in ("x1", "y1", "x2", "y2")])
        for path in sorted((folder / "boxes").rglob("*.*")):
            self.boxes.setdefault(path.relative_to(folder / "boxes").as_posix(), [])
        self.paths = {
            "ytf": {row["path"]: folder / "ytf" / row["path"] for row in self.ytf},
            "aflw2000": {row["path"]: folder / "aflw2000" / row["path"] for row in self.aflw},
            "boxes": {path: folder / "boxes" / path for path in self.boxes},
            "reference": {row["path"]: folder / row["path"] for row in self.umist + self.aside},
        }

    def _read(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open() as file:
            return list(csv.DictReader(file))

    def turn(self, work: Path) -> None:
        """Writes the photographs that lie on their side into `work`, as the part `turned`."""
        self.paths["turned"] = {}
        for number, path in enumerate(self.single):
            image = cv2.imread(str(self.folder / path))
            for quarters in range(4):
                name = f"{number:02d}-{quarters}.png"
                self.paths["turned"][name] = work / "turned" / name
                self.paths["turned"][name].parent.mkdir(exist_ok=True)
                cv2.imwrite(str(work / "turned" / name), np.ascontiguousarray(np.rot90(image, quarters)))

    def images(self, part: str):
        """Path and RGB pixels of a part's photographs."""
        for name, path in self.paths[part].items():
            yield name, cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def true_yaw(row: dict[str, str]) -> float:
    """The reference's yaw on the scale of true labels."""
    yaw = float(row["yaw"])
    return math.copysign(np.interp(abs(yaw), *YAW_OF_REFERENCE), yaw)


def facepipe(*arguments: str) -> None:
    command = [sys.executable, "-m", "facepipe", *arguments, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"facepipe {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def read_faces(folder: Path, statuses: tuple[str, ...]) -> Faces:
    import pyarrow.parquet as pq

    angles = ["yaw", "pitch", "roll", "frontal_angle", "pose_error"]
    faces = defaultdict(list)
    for part in sorted(folder.glob("part-*.parquet")):
        for row in pq.read_table(part, columns=["path", "status", "bbox", "landmarks", *angles]).to_pylist():
            if row["status"] in statuses:
                points = np.array(row["landmarks"]).reshape(5, 2)
                faces[row["path"]].append(Found(np.array(row["bbox"]), points, *(row[name] for name in angles)))
    return faces


def run_facepipe(labels: Labels, work: Path, detector: str) -> dict[str, Faces]:
    """Extracts every part as a user would."""
    names = ("x1", "y1", "x2", "y2")
    with (work / "reference.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "identity", *names])
        writer.writerows([row["path"], row["path"], *(row[n] for n in names)] for row in labels.umist + labels.aside)
    runs = {
        "ytf": [labels.folder / "ytf", "--manifest", str(labels.folder / "ytf_labels.csv")],
        "aflw2000": [labels.folder / "aflw2000", "--layout", "flat"],
        "boxes": [labels.folder / "boxes", "--layout", "flat", "--min-face", "20"],
    }
    if detector == "yunet":  # the pose is told by the same network whichever the detector
        runs["reference"] = [labels.folder, "--manifest", str(work / "reference.csv")]
        runs["turned"] = [work / "turned", "--layout", "flat"]
    faces = {}
    for part, (folder, *options) in runs.items():
        output = work / detector / part
        facepipe("extract", "-i", str(folder), "-o", str(output), "--detector", detector, *options)
        faces[part] = read_faces(output, ("ok", "other_face") if part == "boxes" else ("ok",))
    return faces


def posed(box: np.ndarray, points: np.ndarray) -> Found:
    pose = estimate_pose(points, None)
    return Found(box, points, pose.yaw, pose.pitch, pose.roll, pose.frontal_angle)


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


def run_other(labels: Labels, detect) -> dict[str, Faces]:
    return {part: {p: detect(i) for p, i in labels.images(part)} for part in labels.paths}


def cost(labels: Labels, detect) -> float:
    """CPU milliseconds a labelled frame, decoding not counted."""
    images = [image for _, image in labels.images("ytf")][::4]
    detect(images[0])
    start = time.process_time()
    for image in images:
        detect(image)
    return (time.process_time() - start) / len(images) * 1e3


def matched(row: dict[str, str], faces: Faces) -> Found | None:
    """The face found at a labelled box; the best where there is no box."""
    found = faces.get(row["path"], [])
    if not found or "x1" not in row:
        return found[0] if found else None
    truth = np.array([[float(row[c]) for c in ("x1", "y1", "x2", "y2")]])
    ratio = overlaps(truth, np.stack([f.box for f in found]))[0]
    return found[int(ratio.argmax())] if ratio.max() >= 0.3 else None


def score_detection(rows: list[dict[str, str]], faces: Faces) -> dict[str, float]:
    """Which labelled faces of video frames are found, and how far off their landmarks are."""
    errors, seen = [], defaultdict(list)
    for row in rows:
        face = matched(row, faces)
        seen[next(t for t in SEEN if t[0] <= abs(float(row["yaw"])) < t[1])].append(face is not None)
        if face is not None:
            points = np.array([float(v) for k, v in row.items() if k.endswith(("_x", "_y"))]).reshape(5, 2)
            size = max(float(row["x2"]) - float(row["x1"]), float(row["y2"]) - float(row["y1"]))
            errors.append(np.linalg.norm(face.landmarks - points, axis=1).mean() / size)
    return {
        "recall": np.mean([h for hits in seen.values() for h in hits]),
        **{f"yaw {low}-{high}": np.mean(seen[low, high]) for low, high in SEEN},
        "landmark error": np.mean(errors),
    }


def known(face: Found | None) -> bool:
    return face is not None and not math.isnan(face.yaw)


def best_of(group: list[tuple[Found | None, float]]) -> tuple[float, float]:
    """What is lost by a group's choice, and the choice's own value: (face, true angle) of each frame."""
    usable = [(face.error > SURE_DEG, face.angle, true) for face, true in group if known(face)]
    chosen = min(usable)[2] if usable else max(true for _, true in group)
    return chosen - min(true for _, true in group), chosen


def score_pose(rows: list[dict[str, str]], faces: Faces) -> dict[str, float]:
    """Errors of labelled poses, each angle's own offset taken out, and what the choice of a frame loses."""
    groups, offsets = defaultdict(list), []
    for row in rows:
        face = matched(row, faces)
        groups[row["identity"]].append((face, float(row["frontal_angle"])))
        if known(face):
            offsets.append((face.yaw - float(row["yaw"]), face.pitch - float(row["pitch"])))
    yaw, pitch = np.array(offsets).T
    regret = np.array([best_of(group)[0] for group in groups.values()])
    return {
        "unknown": len(rows) - len(offsets),
        "yaw error": np.abs(yaw - np.median(yaw)).mean(),
        "pitch error": np.abs(pitch - np.median(pitch)).mean(),
        "regret": regret.mean(),
        "top1": (regret <= 1.0).mean(),
    }


def score_boxes(truth: dict[str, list[list[float]]], faces: Faces) -> dict[str, float]:
    right = others = false = 0
    for path, boxes in truth.items():
        found = faces.get(path, [])
        if not boxes:
            false += len(found)
        elif found:
            ratio = overlaps(np.stack([f.box for f in found]), np.array(boxes))
            right, others = right + (ratio.max(axis=0) >= 0.4).sum(), others + (ratio.max(axis=1) < 0.4).sum()
    return {"matched": right / sum(map(len, truth.values())), "other faces": others, "false faces": false}


def score_wild(rows: list[dict[str, str]], faces: Faces) -> dict[str, float]:
    """Photographs of all kinds of turns: mean errors of what is told, and the least angle told of a far turn."""
    pairs = [(row, matched(row, faces)) for row in rows]
    told = [(row, face) for row, face in pairs if known(face)]
    errors = {
        f"{name} error": np.mean([abs(getattr(face, name) - float(row[name])) for row, face in told])
        for name in ("yaw", "pitch", "roll")
    }
    profile = [face.angle for row, face in told if abs(float(row["yaw"])) > 50]
    return {"told": len(told) / len(rows), **errors, "least angle beyond 50": min(profile, default=np.nan)}


def band_rows(labels: Labels, faces: dict[str, dict[str, Faces]]) -> dict[str, dict[str, float]]:
    """By degrees of true yaw: how many faces, and each way's share told and mean error of yaw."""
    judges = [row for row in labels.ytf if held_out(row["identity"])]
    known_yaw = [(row, float(row["yaw"]), "ytf") for row in judges]
    known_yaw += [(row, float(row["yaw"]), "aflw2000") for row in labels.aflw]
    known_yaw += [(row, true_yaw(row), "reference") for row in labels.umist]
    table = {}
    for low, high in BANDS:
        inside = [one for one in known_yaw if low <= abs(one[1]) < high or (high == 90 and abs(one[1]) >= 90)]
        line = table[f"{low} to {high}"] = {"faces": len(inside)}
        for name, found in faces.items():
            told = [(matched(row, found[part]), yaw) for row, yaw, part in inside]
            errors = [abs(face.yaw - yaw) for face, yaw in told if known(face)]
            line[f"{name}: told"] = len(errors) / max(len(inside), 1)
            line[f"{name}: error"] = np.mean(errors) if errors else math.nan
    return table


def ranks(values: list[float]) -> np.ndarray:
    return np.argsort(np.argsort(values))


def score_series(rows: list[dict[str, str]], faces: Faces) -> dict[str, float]:
    """UMIST: whose chosen picture is far from their best, by the reference; the order of yaw within a person."""
    series = defaultdict(list)
    for row in rows:
        series[row["path"].split("/")[1]].append((matched(row, faces), float(row["yaw"])))
    lost = [best_of([(face, abs(yaw)) for face, yaw in group])[0] for group in series.values()]
    told = [[(face.yaw, yaw) for face, yaw in group if known(face)] for group in series.values()]
    order = [np.corrcoef(*(ranks(list(values)) for values in zip(*group, strict=True)))[0, 1] for group in told]
    frontal = [
        face for group in series.values() for face, yaw in group if known(face) and abs(yaw) > 70 and face.angle < 30
    ]
    return {
        "told": sum(map(len, told)) / len(rows),
        "over 10 degrees lost": sum(gap > 10 for gap in lost),
        "mean lost": np.mean(lost),
        "worst": max(lost),
        "order, median": np.median(order),
        "order, worst": min(order),
        "profiles under 30, surely": sum(face.error <= SURE_DEG for face in frontal),
    }


def score_aside(rows: list[dict[str, str]], faces: Faces) -> dict[str, float]:
    told = [(matched(row, faces), true_yaw(row)) for row in rows]
    errors = [abs(face.yaw - yaw) for face, yaw in told if known(face)]
    return {"photographs": len(rows), "told": len(errors) / len(rows), "apart": np.mean(errors)}


def score_turned(count: int, faces: Faces) -> dict[str, float]:
    """Of photographs that lie on their side or head, and of the same ones upright."""
    first = {(n, q): next(iter(faces.get(f"{n:02d}-{q}.png", [])), None) for n in range(count) for q in range(4)}
    out = dict.fromkeys(("upright: stays so", "turned: taken as upright", "turned: right roll", "turned: no face"), 0)
    for (number, quarters), face in first.items():
        standing = known(face) and abs(face.roll) < UPRIGHT
        if quarters == 0:
            out["upright: stays so"] += standing
        elif face is None:
            out["turned: no face"] += 1
        else:
            upright = first[number, 0]
            want = (upright.roll if known(upright) else 0.0) - 90 * quarters
            out["turned: taken as upright"] += standing
            out["turned: right roll"] += known(face) and abs((face.roll - want + 180) % 360 - 180) <= RIGHT
    return out


def score_targets(labels: Labels, work: Path) -> dict[str, float]:
    """What `select` chose of facepipe's own crops, of people that nobody learned from."""
    import pyarrow.parquet as pq

    facepipe("select", "-i", str(work / "yunet" / "ytf"), "-o", str(work / "targets"))
    angles = defaultdict(dict)
    for row in labels.ytf:
        angles[row["identity"]][row["path"]] = float(row["frontal_angle"])
    chosen = pq.read_table(work / "targets" / "targets.parquet", columns=["identity", "target_path"]).to_pylist()
    picked = {row["identity"]: row["target_path"] for row in chosen if row["target_path"]}
    table = {}
    for name, people in {"people held out": [i for i in angles if held_out(i)], "everybody": list(angles)}.items():
        regret = np.array([angles[i][picked[i]] - min(angles[i].values()) for i in people if i in picked])
        table[name] = {"people": len(people), "missing": len(people) - len(regret), "regret": regret.mean()}
        table[name]["top1"] = (regret <= 1.0).mean()
    return table


def score_look(labels: Labels) -> dict[str, float]:
    """What telling a face's orientation costs, its crop included."""
    network, boxes = (
        make_orientation(),
        {r["path"]: [float(r[c]) for c in ("x1", "y1", "x2", "y2")] for r in labels.ytf},
    )
    shown = [(image, np.array(boxes[path], np.float32)) for path, image in labels.images("ytf")]
    images, places = zip(*shown, strict=True)
    network.look(images, places)
    start = time.process_time()
    network.look(images, places)
    return {"CPU ms a face": (time.process_time() - start) / len(images) * 1e3}


def score_eight_bits(labels: Labels) -> dict[str, dict[str, float]]:
    """O-Net on the labelled boxes with weights of 8 bits, as facepipe runs it, beside itself in float32."""
    boxes = {row["path"]: [float(row[c]) for c in ("x1", "y1", "x2", "y2")] for row in labels.ytf}
    squares = [landmarks.cut(image, *landmarks.square(boxes[path])) for path, image in labels.images("ytf")]
    arrays = weights.read_arrays(weights.O_NET)
    exact = runtime.open_session(networks.o_net(arrays))
    lean = runtime.Network(weights.read_packaged(landmarks.MODEL), "O-Net")
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


def print_poses(labels: Labels, faces: dict[str, dict[str, Faces]]) -> None:
    """The tables of `docs/how/pose.md`."""
    judges = [row for row in labels.ytf if held_out(row["identity"])]
    people = len({row["identity"] for row in judges})

    def each(score, rows, part):
        return {name: score(rows, found[part]) for name, found in faces.items()}

    print_table(
        "Yaw error in degrees by true yaw: YouTube Faces (people held out), AFLW2000, UMIST", band_rows(labels, faces)
    )
    print_table(f"{len(judges)} labelled video frames of {people} people held out", each(score_pose, judges, "ytf"))
    print(f"\nA frame chosen at random: regret {random_regret(judges):.4g}")
    print_table(f"UMIST: {len(labels.umist)} pictures of 10 people", each(score_series, labels.umist, "reference"))
    print_table(
        f"{len(labels.aflw)} photographs of AFLW2000, yaw to 66 degrees", each(score_wild, labels.aflw, "aflw2000")
    )
    print_table(
        "LFW where the reference says 30 to 60 degrees of yaw (facepipe's network learned from these people)",
        each(score_aside, labels.aside, "reference"),
    )
    print_table(
        f"{len(labels.single)} photographs of LFW (facepipe's network learned from these people), upright and turned three ways",
        {name: score_turned(len(labels.single), found["turned"]) for name, found in faces.items()},
    )
    print_table("What it costs to tell a face's orientation", {"the network": score_look(labels)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--without-package", action="store_true")
    options = parser.parse_args()
    if not (options.data / "ytf_labels.csv").is_file():
        sys.exit(f"{options.data} holds no ytf_labels.csv; give the folder of labelled photographs")
    labels = Labels(options.data)
    others = {"FaceDetectorYN": opencv_yunet()}
    if not options.without_package:
        others = {"mtcnn package": package_mtcnn(), **others}
    ours = {"facepipe": "yunet", "facepipe --detector mtcnn": "mtcnn"}
    with tempfile.TemporaryDirectory() as folder:
        labels.turn(Path(folder))
        faces = {name: run_facepipe(labels, Path(folder), detector) for name, detector in ours.items()}
        targets = score_targets(labels, Path(folder))
        faces |= {name: run_other(labels, detect) for name, detect in others.items()}
    detectors = {name: make_detector(detector) for name, detector in ours.items()}
    timed = {name: lambda image, d=d: d.refine([image], d.detect([image], 40)) for name, d in detectors.items()}
    timed |= others
    frames = {
        name: score_detection(labels.ytf, f["ytf"]) | {"CPU ms": cost(labels, timed[name])} for name, f in faces.items()
    }
    print_table(f"{len(labels.ytf)} labelled video frames (recall also by degrees of yaw)", frames)
    labelled = sum(map(len, labels.boxes.values()))
    boxes = {name: score_boxes(labels.boxes, f["boxes"]) for name, f in faces.items()}
    print_table(f"{len(labels.boxes)} web photographs with {labelled} labelled faces, from 20 px", boxes)
    print_table(f"O-Net on {len(labels.ytf)} labelled boxes (root mean square)", score_eight_bits(labels))
    print_poses(labels, {name: f for name, f in faces.items() if name != "facepipe --detector mtcnn"})
    print_table("Targets chosen by `select`", targets)


if __name__ == "__main__":
    main()
