#!/usr/bin/env python3
"""Whose face it is: how well the embeddings tell people apart, and what one costs.

    python benchmarks/identity.py [DATA] [--work DIR] [--picture] [--once] [SET]...

DATA (default ../shared/data) holds the SETs (default lfw, lfw_people, ytf), each a directory of photographs a person.
Faces come from `facepipe extract`, kept in `--work` where it is given. They are embedded from the crops that it stores,
with `--picture` from the photographs themselves, with `--once` not mirrored as well. AUC and TAR are over all pairs of a set. The guard's figures are those
of `facepipe select --guard`, with one stranger to each five photographs of a person: the share that is caught by the
threshold that 1 % of people's own faces fall below, and by the default. People are put together and cut in half to see
who is told to be two, and which two to be one. Prints Markdown.

    python benchmarks/identity.py [DATA] --group [SET]...

runs `facepipe group` on the photographs without their names and compares the people that it finds with them, by BCubed
precision and recall over people with three or more photographs. Of a photograph's faces the one at its centre is the
named person's; one that is left out is a group of its own. Other faces have no name and count for nothing.

    python benchmarks/identity.py --many N

groups N embeddings of ten faces a person, drawn at random as those of the first SET are distributed.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from facepipe.config import GUARD, GroupConfig
from facepipe.dataset.grouping import compare, link_groups
from facepipe.dataset.outliers import FEWEST, find_same, find_second, judge_faces
from facepipe.face.identity import BATCH, IdentityNetwork, cut_chip
from facepipe.stages.embed import read_crops, read_usable
from facepipe.storage import parquet, place, tables

SETS = ("lfw", "lfw_people", "ytf")
_ROW = ("key", "path", "identity", "status")
FALSE_ACCEPTS, FALSE_ALARMS = 1e-3, 0.01


def extract(images: Path, faces: Path, *options: str) -> None:
    """The photographs' faces; what is there already is kept."""
    call("extract", "-i", str(images), "-o", str(faces), "--workers", "1", *options)


class Once(IdentityNetwork):
    """The network without the mirrored look."""

    def embed(self, images: list[np.ndarray], landmarks: list[np.ndarray]) -> np.ndarray:
        chips = [cut_chip(image, points) for image, points in zip(images, landmarks, strict=True)]
        found = np.concatenate([self._look(chips[start : start + BATCH]) for start in range(0, len(chips), BATCH)])
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def embed(
    images: Path, faces: Path, network: IdentityNetwork, from_picture: bool
) -> tuple[np.ndarray, list[str], float]:
    """Embeddings (n, 128), whose each is, and the CPU seconds a face."""
    found, people, seconds, folder = [], [], 0.0, place(str(faces))
    columns = ("key", "path", "identity", "status", "landmarks", "transform", "crop.bytes")
    for name in parquet.part_names(folder):
        table = read_usable(folder, name, columns)
        pictures, points = read_crops(table)
        if from_picture:
            paths = [str(images / path) for path in table.column("path").to_pylist()]
            pictures = [np.asarray(cv2.imread(path, cv2.IMREAD_COLOR_RGB), np.uint8) for path in paths]
            points = list(tables.lists(table, "landmarks", 10).reshape(-1, 5, 2))
        started = time.process_time()
        found.append(network.embed(pictures, points))
        seconds += time.process_time() - started
        people += table.column("identity").to_pylist()
    return np.concatenate(found), people, seconds / max(len(people), 1)


def verification(embeddings: np.ndarray, person: np.ndarray) -> tuple[float, float]:
    """AUC over all pairs, and the true accept rate at FALSE_ACCEPTS."""
    a, b = np.triu_indices(len(person), 1)
    similarity, same = (embeddings @ embeddings.T)[a, b], person[a] == person[b]
    rank = np.empty(len(same))
    rank[np.argsort(similarity)] = np.arange(1, len(same) + 1)
    own = int(same.sum())
    auc = (rank[same].sum() - own * (own + 1) / 2) / (own * (len(same) - own))
    return auc, float((similarity[same] > np.quantile(similarity[~same], 1 - FALSE_ACCEPTS)).mean())


def guard(images: Path, work: Path) -> tuple[float, float, float, float]:
    """Of strangers put among people's faces, `facepipe select --guard` catches what share.

    Returns:
        At FALSE_ALARMS: the share of strangers caught, and the threshold. At the default threshold: the share of
        strangers caught, and the share of people's own faces that are.
    """
    listed, planted = plant(images)
    work.mkdir(parents=True, exist_ok=True)
    with open(work / "planted.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "identity"), *listed])
    extract(images, work / "faces", "--manifest", str(work / "planted.csv"))
    call("embed", "-i", str(work / "faces"), "-o", str(work / "embeddings"), "--workers", "1")
    whole = place(str(work / "faces"))
    rows = [row for _, table in parquet.iterate_parts(whole, _ROW) for row in table.to_pylist()]
    strange = {row["key"] for row in rows if row["status"] == "ok" and (row["path"], row["identity"]) in planted}
    similarity = leave_out(work, 1.0)  # everything
    own = [value for key, value in similarity.items() if key not in strange]
    threshold = float(np.quantile(own, FALSE_ALARMS))
    caught = len(strange & leave_out(work, threshold).keys()) / len(strange)
    found = leave_out(work, GUARD).keys()
    return caught, threshold, len(strange & found) / len(strange), len(found - strange) / len(own)


def plant(images: Path, seed: int = 0) -> tuple[list[tuple[str, str]], set[tuple[str, str]]]:
    """Rows (path, identity) of a manifest: all photographs, and with one to each five of a person a stranger's."""
    random = np.random.default_rng(seed)
    own = [(str(file.relative_to(images)), file.relative_to(images).parts[0]) for file in sorted(images.rglob("*.jpg"))]
    people: dict[str, list[str]] = {}
    for path, identity in own:
        people.setdefault(identity, []).append(path)
    planted = set()
    for identity, paths in people.items():
        if len(paths) >= FEWEST:
            strangers = [path for path, other in own if other != identity]
            for path in random.choice(strangers, max(len(paths) // 5, 1), replace=False):
                planted.add((str(path), identity))
    return [*own, *sorted(planted)], planted


def leave_out(work: Path, threshold: float) -> dict[str, float]:
    """Key -> similarity of what `select --guard` leaves out."""
    paths = ["-i", str(work / "faces"), "--embeddings", str(work / "embeddings"), "-o", str(work / "targets")]
    call("select", *paths, "--guard", str(threshold), "--overwrite")
    found = parquet.read_table(place(str(work / "targets")), "left_out.parquet").to_pylist()
    return {row["key"]: row["value"] for row in found}


def judge(embeddings: np.ndarray, person: np.ndarray, seed: int = 0) -> list[float]:
    """How well people who are two, and two who are one, are told.

    Returns:
        Shares of: people of four faces and more that are said to be two; two people put together that are; pairs of
        people that are said to be one; people of four faces and more cut in half that are.
    """
    random = np.random.default_rng(seed)
    rows = [np.flatnonzero(person == number) for number in range(person.max() + 1)]
    large = [own for own in rows if len(own) >= 4]
    pairs = [random.choice(len(large), 2, replace=False) for _ in range(1000)]
    halves = np.full(len(person), -1)
    for number, own in enumerate(large):
        halves[random.permutation(own)] = 2 * number + (np.arange(len(own)) >= len(own) // 2)
    found = find_same(judge_faces(embeddings[halves >= 0], halves[halves >= 0], 2 * len(large)).medians)
    alike = find_same(judge_faces(embeddings, person, len(rows)).medians)
    many = sum(len(own) >= 2 for own in rows)
    return [
        float(np.mean([find_second(embeddings[own]).any() for own in large])),
        float(np.mean([find_second(embeddings[np.r_[large[a], large[b]]]).any() for a, b in pairs])),
        len(alike) / (many * (many - 1) / 2),
        sum(b == a + 1 and a % 2 == 0 for a, b, _ in found) / len(large),
    ]


def call(*arguments: str) -> None:
    """Runs a command of facepipe."""
    subprocess.run([sys.executable, "-m", "facepipe", *arguments, "--quiet"], check=True, stdout=subprocess.DEVNULL)


def bcubed(found: np.ndarray, person: np.ndarray, least: int = 3) -> tuple[float, float]:
    """Precision and recall of groups, averaged over the faces of people who have `least` or more."""
    pair = np.unique(np.stack([found, person]), axis=1, return_inverse=True)[1].ravel()
    both, group, own = (np.bincount(one)[one] for one in (pair, found, person))
    large = own >= least
    return float((both / group)[large].mean()), float((both / own)[large].mean())


def group(images: Path, work: Path) -> str:
    """Runs `facepipe group` and tells how well it did, as a row of the table."""
    command = [sys.executable, "-m", "facepipe", "group", str(images), "--data", str(work), "--log-format", "json"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    reports = {one["stage"]: one for one in map(json.loads, said) if one.get("event") == "report"}
    with (work / "people.csv").open(encoding="utf-8") as file:
        names = {row["key"]: row["identity"] for row in csv.DictReader(file)}
    at_centre: dict[str, tuple[float, str]] = {}
    columns = ["key", "path", "status", "bbox", "width", "height"]
    for _, table in parquet.iterate_parts(place(str(work / "group" / "faces")), columns):
        for row in table.to_pylist():
            if row["status"] == "ok":
                x1, y1, x2, y2 = row["bbox"]
                off = float(np.hypot(x1 + x2 - row["width"], y1 + y2 - row["height"]))
                at_centre[row["path"]] = min(at_centre.get(row["path"], (np.inf, "")), (off, row["key"]))
    keys = [key for _, key in at_centre.values()]
    found = np.unique([names.get(key, key) for key in keys], return_inverse=True)[1]
    person = np.unique([path.partition("/")[0] for path in at_centre], return_inverse=True)[1]
    precision, recall = bcubed(found, person)
    counts = reports["group"]["counts"]
    seconds = " | ".join(f"{reports[stage]['wall_s']:.0f}" for stage in ("extract", "embed", "group"))
    told = " | ".join(f"{counts[name]:,}" for name in ("people", "unsure", "like no others"))
    return f"{len(keys):,} | {person.max() + 1} | {precision:.4f} | {recall:.4f} | {told} | {seconds} |"


def group_many(embeddings: np.ndarray, person: np.ndarray, count: int, each: int = 10) -> str:
    """How long grouping many embeddings takes, in how much memory, and how well it goes, as a row of the table."""
    random = np.random.default_rng(0)
    means = np.stack([embeddings[person == one].mean(axis=0) for one in range(person.max() + 1)])
    many = np.bincount(person)[person] >= 5
    apart = (embeddings - means[person])[many]
    whose = np.repeat(np.arange(count // each), each)
    drawn = random.multivariate_normal(means.mean(axis=0), np.cov(means.T), len(whose) // each).astype(np.float32)[
        whose
    ]
    drawn += apart[random.integers(len(apart), size=len(whose))]
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    started = time.monotonic()
    found = link_groups(drawn, np.arange(len(drawn)), 0, GroupConfig.min_similarity)
    compare(drawn, found)
    seconds, memory = time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    precision, recall = bcubed(np.unique(found, return_inverse=True)[1], whose)
    return f"{len(whose):,} | {len(whose) // each:,} | {precision:.4f} | {recall:.4f} | {seconds:.0f} | {memory:.1f} |"


def main() -> None:
    """Reads the command line, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--picture", action="store_true")
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--group", action="store_true")
    parser.add_argument("--many", type=int, default=0)
    given = parser.parse_args()
    if given.group:
        print("| photographs | faces | people | precision | recall | people found | unsure | like no others", end=" ")
        print("| s extract | s embed | s group |")
        print(f"|{' --- |' * 11}")
        with tempfile.TemporaryDirectory() as scratch:
            for name in given.sets:
                print(f"| {name} | {group(given.data / name, (given.work or Path(scratch)) / name)}", flush=True)
        return
    network = Once() if given.once else IdentityNetwork()
    if given.many:
        print("| faces | people | precision | recall | s | GB |")
        print(f"|{' --- |' * 6}")
        with tempfile.TemporaryDirectory() as scratch:
            faces = (given.work or Path(scratch)) / given.sets[0] / "faces"
            extract(given.data / given.sets[0], faces)
            embeddings, people, _ = embed(given.data / given.sets[0], faces, network, from_picture=False)
        print("|", group_many(embeddings, np.unique(people, return_inverse=True)[1], given.many))
        return
    print(
        "| photographs | people | faces | AUC | TAR at FAR 1e-3 | CPU ms a face | strangers caught | threshold |",
        end=" ",
    )
    print(f"caught by {GUARD:g} | false alarms of {GUARD:g} |", end=" ")
    print("one person told to be two | two told to be two | two told to be one | one told to be one |")
    print(f"|{' --- |' * 14}")
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.sets:
            faces = (given.work or Path(scratch)) / name / "faces"
            extract(given.data / name, faces)
            embeddings, people, seconds = embed(given.data / name, faces, network, given.picture)
            person = np.unique(people, return_inverse=True)[1]
            auc, tar = verification(embeddings, person)
            caught, threshold, by_default, alarms = guard(given.data / name, faces.parent / "planted")
            figures = f"{auc:.5f} | {tar:.4f} | {seconds * 1e3:.2f} | {caught:.4f} | {threshold:.3f}"
            figures += f" | {by_default:.4f} | {alarms:.4f}"
            figures += "".join(f" | {share:.3g}" for share in judge(embeddings, person)) + " |"
            print(f"| {name} | {person.max() + 1} | {len(people):,} | {figures}", flush=True)


if __name__ == "__main__":
    main()
