#!/usr/bin/env python3
"""Whose face it is: how well the embeddings tell people apart, and what one costs.

    python benchmarks/identity.py [DATA] [--work DIR] [--picture] [SET]...

DATA (default ../shared/data) holds the SETs (default lfw, lfw_people, ytf), each a directory of photographs a person.
Faces come from `facepipe extract`, kept in `--work` where it is given. They are embedded from the crops that it stores,
with `--picture` from the photographs themselves. AUC and TAR are over all pairs of a set; the guard's figure is the
share of strangers below the similarity that 1 % of a person's own faces fall below, each face compared by the median
with four others of the person. Prints Markdown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

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


def main() -> None:
    """Reads the command line, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--picture", action="store_true")
    given = parser.parse_args()
    network = IdentityNetwork()
    print("| photographs | people | faces | AUC | TAR at FAR 1e-3 | strangers caught | threshold | CPU ms a face |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.sets:
            faces = (given.work or Path(scratch)) / name / "faces"
            extract(given.data / name, faces)
            embeddings, people, seconds = embed(given.data / name, faces, network, given.picture)
            person = np.unique(people, return_inverse=True)[1]
            auc, tar = verification(embeddings, person)
            caught, threshold = guard(embeddings, person)
            figures = f"{auc:.5f} | {tar:.4f} | {caught:.4f} | {threshold:.3f} | {seconds * 1e3:.2f} |"
            print(f"| {name} | {person.max() + 1} | {len(people):,} | {figures}", flush=True)


if __name__ == "__main__":
    main()
