#!/usr/bin/env python3
"""How fast `facepipe review` shows many people.

    python benchmarks/review.py [--people N] [--work DIR]

Makes N people (default 100,000) of six faces with real crops (of scikit-image's faces, 128 px), kept in `--work` where
it is given; opens them as `facepipe review` does, and asks for pages as a browser does. Prints Markdown: CPU time, and
the memory at the end.
"""

from __future__ import annotations

import argparse
import io
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import cv2
import numpy as np
from skimage import data

from facepipe.records import FaceRow
from facepipe.report.review import Review
from facepipe.report.server import make_app
from facepipe.storage import parquet, place, tables
from facepipe.storage.settings import write_settings

FRAMES, PART = 6, 512
HOST, TOKEN = "127.0.0.1:1", "token"


def make_people(folder: Path, people: int) -> None:
    """Faces at random angles, and the third of everybody as the target."""
    rng, faces = np.random.default_rng(0), place(str(folder / "faces"))
    pictures = [cv2.resize((face * 255).astype(np.uint8), (128, 128)) for face in data.lfw_subset()[:100]]
    crops = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
    targets = []
    for part, start in enumerate(range(0, people * FRAMES, PART)):
        rows = []
        for number in range(start, min(start + PART, people * FRAMES)):
            name, frame = f"p{number // FRAMES:06d}", number % FRAMES
            angle, sharpness = rng.uniform(0, 40), rng.uniform(0, 1)
            row = FaceRow(f"{name}/{frame}.jpg#0", f"{name}/{frame}.jpg", name, "", frame, 0, "ok", "", 250, 250)
            row.bbox, row.landmarks, row.score = [80.0, 80.0, 170.0, 175.0], [0.0] * 10, 0.9
            row.yaw, row.pitch, row.roll, row.frontal_angle, row.pose_error = angle - 20, 0.0, 0.0, angle, 3.0
            row.sharpness, row.crop = sharpness, crops[number % len(crops)]
            rows.append(row)
            targets += [row] if frame == 2 else []
        parquet.write_table(faces, parquet.part_name(part), parquet.rows_to_table(rows))
    columns = {
        "identity": [row.identity for row in targets],
        "target_key": [row.key for row in targets],
        "target_path": [row.path for row in targets],
        "target_angle": [row.frontal_angle for row in targets],
        "frames": [FRAMES] * people,
        "reason": ["the most frontal of 6 usable frames"] * people,
    }
    columns |= {name: [[]] * people for name in ("runner_up_keys", "runner_up_angles")} | {"video": [""] * people}
    chosen = place(str(folder / "targets"))
    parquet.write_table(chosen, "targets.parquet", tables.make_table(parquet.TARGETS, columns))
    write_settings(chosen, {"stage": "select", "per": "identity"})


def ask(app, path: str, form: dict[str, str] | None = None) -> str:
    """An answer's text."""
    body = urlencode(form or {}).encode()
    path, _, query = path.partition("?")
    environment = {
        "REQUEST_METHOD": "POST" if form else "GET",
        "PATH_INFO": f"/{TOKEN}/{path}",
        "QUERY_STRING": query,
        "HTTP_HOST": HOST,
        "HTTP_ORIGIN": f"http://{HOST}",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }
    statuses = []
    text = b"".join(app(environment, lambda status, *_: statuses.append(status))).decode("utf-8", "replace")
    assert statuses[0][:3] in ("200", "303"), (path, statuses, text)
    return text


def measure(folder: Path, people: int) -> None:
    """A line of Markdown for each step."""
    started = time.process_time()
    review = Review(str(folder), str(folder / "overrides.csv"), read_only=False)
    app = make_app(review, TOKEN, {HOST})

    def tell(what: str) -> None:
        nonlocal started
        print(f"| {what} | {1000 * (time.process_time() - started):,.0f} ms |", flush=True)
        started = time.process_time()

    print(f"| {people:,} people of {FRAMES} faces | CPU |\n| --- | --- |")
    tell("open")
    for sort in ("doubt", "angle", "sharpness", "name"):
        page = ask(app, f"?sort={sort}")
        tell(f"a page by {sort}")
    ask(app, f"?sort=name&from={people - 24}")
    tell("the last page")
    ask(app, "?q=p00077")
    tell("search")
    page, crops = ask(app, "?sort=angle"), []
    tell("a page again")
    crops = re.findall(r"crop/\d+/\d+", page)
    for crop in crops:
        ask(app, crop)
    tell(f"its {len(crops)} crops")
    ask(app, "person/77")
    tell("a person")
    ask(app, "person/77", {"key": "p000077/1.jpg#0", "action": "drop"})
    tell("a correction")
    ask(app, "person/77", {"action": "undo"})
    tell("and back")
    print(f"\nPeak: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


def main() -> None:
    """Makes people where there are none, and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.work or Path(scratch)
        if not (folder / "targets").exists():
            make_people(folder, options.people)
        measure(folder, options.people)


if __name__ == "__main__":
    main()
