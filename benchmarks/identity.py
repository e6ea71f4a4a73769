#!/usr/bin/env python3
"""Whose face it is: how well the embeddings tell people apart, and what one costs.

    python benchmarks/identity.py [DATA] [--work DIR] [--picture] [SET]...

DATA (default ../shared/data) holds the SETs (default lfw, lfw_people, ytf), each a directory of photographs a person.
Faces come from `facepipe extract`, kept in `--work` where it is given. They are embedded from the crops that it stores,
with `--picture` from the photographs themselves. AUC and TAR are over all pairs of a set; the guard's figure is the
share of strangers below the similarity that 1 % of a person's own faces fall below, each face compared by the median
with four others of the person. The last but one columns are for a face against the mean of all others of a person with
three or more: the share of strangers, and of the person's own faces, below the threshold of the report. Prints Markdown.

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

from facepipe.config import GroupConfig
from facepipe.dataset.grouping import UNLIKE, compare, link_groups, similarity_to_others
from facepipe.face.identity import IdentityNetwork
from facepipe.stages.embed import read_crops, read_usable
from facepipe.storage import parquet, place, tables

SETS = ("lfw", "lfw_people", "ytf")
FALSE_ACCEPTS, FALSE_ALARMS = 1e-3, 0.01
OTHERS = 4


def extract(images: Path, faces: Path) -> None:
    """The photographs' faces; what is there already is kept."""
    command = [sys.executable, "-m", "facepipe", "extract", "-i", str(images), "-o", str(faces), "--quiet"]
    subprocess.run([*command, "--workers", "1"], check=True, stdout=subprocess.DEVNULL)


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


def guard(embeddings: np.ndarray, person: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The share of planted strangers that is caught at FALSE_ALARMS, and the similarity below which a face is told."""
    random = np.random.default_rng(seed)
    own, strange = [], []
    for name in np.unique(person):
        rows = np.flatnonzero(person == name)
        if len(rows) <= OTHERS:
            continue
        for row in rows:
            others = random.choice(rows[rows != row], OTHERS, replace=False)
            stranger = random.choice(np.flatnonzero(person != name))
            own.append(np.median(embeddings[others] @ embeddings[row]))
            strange.append(np.median(embeddings[others] @ embeddings[stranger]))
    threshold = float(np.quantile(own, FALSE_ALARMS))
    return float((np.array(strange) < threshold).mean()), threshold


def outliers(embeddings: np.ndarray, person: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The shares of strangers, and of people's own faces, that are less alike than UNLIKE to the mean of the others."""
    random, counts = np.random.default_rng(seed), np.bincount(person)
    sums = np.zeros((len(counts), embeddings.shape[1]))
    np.add.at(sums, person, embeddings)
    means = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    whose = random.choice(np.flatnonzero(counts >= 3), 20_000)
    face = random.integers(len(person), size=len(whose))
    strange = (means[whose] * embeddings[face]).sum(axis=1)[person[face] != whose]
    own = similarity_to_others(embeddings, person)[counts[person] >= 3]
    return float((strange < UNLIKE).mean()), float((own < UNLIKE).mean())


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
    network = IdentityNetwork()
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
        f"| photographs | people | faces | AUC | TAR at FAR 1e-3 | strangers caught | threshold | strangers below {UNLIKE} | own below | CPU ms a face |"
    )
    print(f"|{' --- |' * 10}")
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.sets:
            faces = (given.work or Path(scratch)) / name / "faces"
            extract(given.data / name, faces)
            embeddings, people, seconds = embed(given.data / name, faces, network, given.picture)
            person = np.unique(people, return_inverse=True)[1]
            auc, tar = verification(embeddings, person)
            caught, threshold = guard(embeddings, person)
            below = " | ".join(f"{share:.4f}" for share in outliers(embeddings, person))
            figures = f"{auc:.5f} | {tar:.4f} | {caught:.4f} | {threshold:.3f} | {below} | {seconds * 1e3:.2f} |"
            print(f"| {name} | {person.max() + 1} | {len(people):,} | {figures}", flush=True)


if __name__ == "__main__":
    main()
