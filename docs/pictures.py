#!/usr/bin/env python3
"""Makes the pictures of docs/how out of a demo workspace.

    facepipe demo -o demo-data
    python docs/pictures.py demo-data

Only the demo's faces are shown.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

from facepipe.dataset.noise import Noise, add_noise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "pictures"
PERSON = "person-000"
GAP = 6
CELL = 112
INK, PAPER = (40, 40, 40), (250, 250, 250)


def sheet(rows: Sequence[Sequence[tuple[Any, str]]]) -> Image.Image:
    """Rows of (picture, caption below it) on paper, every picture CELL px wide."""
    width = max(len(row) for row in rows) * (CELL + GAP) + GAP
    height = len(rows) * (CELL + 16 + GAP) + GAP
    paper = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(paper)
    for line, row in enumerate(rows):
        for column, (picture, caption) in enumerate(row):
            left, top = GAP + column * (CELL + GAP), GAP + line * (CELL + 16 + GAP)
            paper.paste(fitted(picture), (left, top))
            draw.text((left, top + CELL + 2), caption, fill=INK, font=ImageFont.load_default(11))
    return paper


def fitted(picture: Any) -> Image.Image:
    """CELL x CELL, cut at the longer side."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side)).resize((CELL, CELL), Image.Resampling.LANCZOS)


def save(name: str, rows: Sequence[Sequence[tuple[Any, str]]]) -> None:
    """Writes a sheet."""
    FOLDER.mkdir(exist_ok=True)
    sheet(rows).save(FOLDER / name, quality=85, optimize=True)
    print(FOLDER / name)


def crop_of(row: dict[str, Any]) -> Image.Image:
    """The stored crop of a row."""
    return Image.open(io.BytesIO(row["crop"]["bytes"])).convert("RGB")


def found(images: Path, row: dict[str, Any]) -> Image.Image:
    """The picture of a row with box and landmarks drawn in."""
    picture = Image.open(images / row["path"]).convert("RGB")
    draw = ImageDraw.Draw(picture)
    draw.rectangle(row["bbox"], outline=(0, 200, 160), width=2)
    for x, y in np.asarray(row["landmarks"]).reshape(5, 2):
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(255, 200, 0))
    return picture


def noisy(crop: Image.Image, noise: Noise) -> Image.Image:
    """A gray 64 px crop with noise, as in the shards."""
    gray: NDArray[np.uint8] = np.asarray(crop.convert("L").resize((64, 64), Image.Resampling.BOX))[None, :, :, None]
    return Image.fromarray(add_noise(gray, noise, lambda _: np.random.default_rng(0))[0, :, :, 0]).convert("RGB")


def main(workspace: Path) -> None:
    """Writes docs/pictures/*.jpg."""
    rows = [r for p in sorted((workspace / "faces").glob("part-*.parquet")) for r in pq.read_table(p).to_pylist()]
    good = [row for row in rows if row["status"] == "ok"]
    stills = sorted((r for r in good if r["identity"] == PERSON and not r["video"]), key=lambda r: r["yaw"])[:8]
    save(
        "extract.jpg",
        [
            [(Image.open(workspace / "images" / r["path"]).convert("RGB"), r["path"]) for r in stills],
            [(found(workspace / "images", r), f"yaw {r['yaw']:+.0f}, pitch {r['pitch']:+.0f}") for r in stills],
            [(crop_of(r), f"sharpness {r['sharpness']:.2f}") for r in stills],
        ],
    )
    people = list(dict.fromkeys(row["identity"] for row in good))[1:9]
    save(
        "crops.jpg",
        [[(crop_of(next(r for r in good[i::3] if r["identity"] == p)), p[:16]) for p in people] for i in (0, 1)],
    )
    targets = pq.read_table(workspace / "targets" / "targets.parquet").to_pylist()
    target = next(row for row in targets if row["identity"] == PERSON)
    by_key = {row["key"]: row for row in good}
    best = [(target["target_key"], target["target_angle"])]
    best += list(zip(target["runner_up_keys"], target["runner_up_angles"], strict=True))[:7]
    rest = sorted((r for r in good if r["identity"] == PERSON and r["key"] not in dict(best)), key=lambda r: r["yaw"])
    shown = rest[:: max(len(rest) // 8, 1)][:8]
    save(
        "select.jpg",
        [
            [
                (crop_of(by_key[key]), f"{'target' if i == 0 else 'runner-up'} {angle:.1f}")
                for i, (key, angle) in enumerate(best)
            ],
            [(crop_of(r), f"yaw {r['yaw']:+.0f}") for r in shown],
        ],
    )
    face = crop_of(by_key[target["target_key"]])
    kinds = ("gaussian", "salt-and-pepper", "speckle", "poisson", "blur", "jpeg", "low-resolution", "occlusion")
    save("noise.jpg", [[(noisy(face, Noise(k, s)), f"{k} {s:g}"[:20]) for k in kinds] for s in (0.1, 0.3, 0.6)])


def alignments() -> None:
    """Writes align.jpg: scikit-image's astronaut, in the public domain, in every alignment; the last one cut off."""
    import cv2
    from skimage import data

    from facepipe.detection import make_detector
    from facepipe.face.alignment import align_face, cut_aligned

    row = []
    for align, top in (("box", 0), ("arcface", 0), ("ffhq", 0), ("ffhq", 60)):
        image, detector = np.ascontiguousarray(data.astronaut()[top:]), make_detector("yunet")
        face = detector.refine([image], detector.detect([image], 40))[0][0]
        crop = cut_aligned(align, image, align_face(align, face, 0.0, 2 * CELL, 0.3), 2 * CELL)
        row.append((Image.fromarray(cv2.cvtColor(crop, cv2.COLOR_BGRA2RGB)), align + ", cut off" * bool(top)))
    save("align.jpg", [row])


if __name__ == "__main__":
    alignments()
    main(Path(sys.argv[1]))
