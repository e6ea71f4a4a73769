"""Takes pictures of `makehuman.Mesh`es: soft light, the figure's own shadows, skin that lets light through.

Axes as in images: x to the right, y down, z away from the camera.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import cv2
import numpy as np
from fragments import Fragments, fragments, layered
from light import sphere
from scipy.ndimage import map_coordinates
from scipy.sparse import coo_matrix, diags

from facepipe.face.head import normals, rotation

if TYPE_CHECKING:
    from light import Lighting
    from makehuman import Mesh

DIRECTIONS = 120
"""From how many directions light falls on the figure."""
NECK = np.array([0.0, 0.95, 0.75])
"""dm from between the eyes: about what the head turns."""
BODY = np.array([0.45, 0.12, 0.25])
"""By what share of the head's yaw, pitch and roll the body turns with it."""
DISTANCE = 14.0
"""dm between camera and head."""
SCATTER = (26, 8, 4)
"""How often red, green and blue light on skin are blurred over the mesh."""
PORES = ((0.018, 0.07), (0.04, 0.07), (0.1, 0.06))
"""dm and strength of what turns the skin's normals."""
GLOSS = {"skin": 0.5, "hair": 0.25, "clothes": 0.2}


class Figure:
    """A person as one surface, with what each direction's light does to it."""

    def __init__(self, meshes: list[Mesh], noise: np.random.Generator) -> None:
        self.meshes = meshes
        starts = np.cumsum([0] + [len(m.vertices) for m in meshes])
        self.vertices = self._stacked(meshes)
        self.triangles = np.concatenate([m.triangles + s for m, s in zip(meshes, starts, strict=False)])
        self.mesh = np.repeat(np.arange(len(meshes)), [len(m.triangles) for m in meshes])
        self.places = np.concatenate([m.places for m in meshes]).astype(np.float32)
        self.turns = np.clip(np.concatenate([m.turns for m in meshes]), 0, 1)
        self.both = np.array([m.kind not in {"skin", "eyes"} for m in meshes])[self.mesh]
        self.owner = np.repeat(np.arange(len(meshes)), [len(m.vertices) for m in meshes])
        eyes = self.vertices[self.of("eyes")].mean(axis=0) * [0, 1, 1]
        self.pivot = eyes + NECK
        self.normals = normals(self.vertices.astype(np.float32), self.triangles)
        self.noise = np.stack([noise.normal(0, 1, (48, 48, 48)) for _ in range(3)]).astype(np.float32)
        self.ways = sphere(DIRECTIONS)
        self.reached = self._reached()
        self.blur = self._blur()

    def reshaped(self, meshes: list[Mesh]) -> Figure:
        """The same person with another expression; its own shadows stay."""
        other = copy(self)
        other.meshes, other.vertices = meshes, self._stacked(meshes)
        other.normals = normals(other.vertices.astype(np.float32), self.triangles)
        return other

    def _stacked(self, meshes: list[Mesh]) -> np.ndarray:
        """(n, 3) vertices in the axes of images."""
        return np.concatenate([m.vertices for m in meshes]) * [1, -1, -1]

    def _pictured(self, found: Fragments) -> np.ndarray:
        """(k, 4) RGBA of the pictures."""
        out, places = np.empty((len(found.pixel), 4), np.float32), found.spread(self.places)
        for number, mesh in enumerate(self.meshes):
            of = np.flatnonzero(self.mesh[found.triangle] == number)
            high, wide = mesh.picture.shape[:2]
            at = places[of] * [wide, high] - 0.5
            pad = -len(at) % 1024
            at = np.pad(at, ((0, pad), (0, 0))).reshape(-1, 1024, 2).astype(np.float32)
            seen = cv2.remap(mesh.picture, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            out[of] = seen.reshape(-1, 4)[: len(of)]
        return out

    def _reached(self, side: int = 160) -> np.ndarray:
        """(n, DIRECTIONS) float32: the cosine with which light of a direction falls on each vertex, 0 in shadow."""
        size, hair = 3.6, self.of("hair", "eyelashes")
        out = np.zeros((len(self.vertices), DIRECTIONS), np.float32)
        moved = self.vertices + 0.03 * self.normals
        for number, way in enumerate(self.ways):
            across = np.cross(way, [0.0, 1.0, 0.1])
            across /= np.linalg.norm(across)
            frame = np.stack([across, np.cross(way, across), -way])
            placed, x_y_z = (
                (points - self.pivot) @ frame.T * (side / 2 / size) + [side / 2, side / 2, 0]
                for points in (self.vertices, moved)
            )
            found = fragments(placed, self.triangles, side, np.ones(len(self.triangles), bool))
            opaque = self._pictured(found)[:, 3] > 0.5
            depth = np.full(side * side, np.inf, np.float32)
            np.minimum.at(depth, found.pixel[opaque], found.depth[opaque])
            x, y, z = x_y_z.T
            at = np.clip(np.rint(y), 0, side - 1).astype(int) * side + np.clip(np.rint(x), 0, side - 1).astype(int)
            lit = z < depth[at] + 0.06 * side / 2 / size
            facing = self.normals @ way
            facing = np.where(hair, 0.25 + 0.75 * np.abs(facing), facing)
            out[:, number] = lit * np.clip(facing, 0, 1)
        return out

    def _blur(self):
        """The mean of each vertex and those around it."""
        pairs = np.concatenate([self.triangles[:, [0, 1]], self.triangles[:, [1, 2]], self.triangles[:, [2, 0]]])
        pairs = np.concatenate([pairs, pairs[:, ::-1], np.arange(len(self.vertices))[:, None].repeat(2, axis=1)])
        near = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(self.vertices),) * 2).tocsr()
        near.data[:] = 1
        return diags(1 / np.asarray(near.sum(axis=1)).ravel()) @ near

    def posed(self, turn: tuple[float, float, float]) -> np.ndarray:
        """(n, 3, 3): how each vertex is turned."""
        steps = np.linspace(0, 1, 33)
        turned = np.stack([rotation(*(np.array(turn) * (BODY + (1 - BODY) * s))) for s in steps])
        return turned[np.rint(self.turns * 32).astype(int)]

    def taken(
        self, turn: tuple[float, float, float], side: int, zoom: float, lighting: Lighting
    ) -> tuple[np.ndarray, np.ndarray]:
        """The figure from the front of the camera, its head turned.

        Returns:
            (side, side, 3) float32 linear RGB, multiplied by its alpha, and that, (side, side) 0..1.
        """
        turned, head, middle = self.posed(turn), rotation(*turn), np.array([0, 0.2, 0]) - NECK
        seen = np.einsum("nij,nj->ni", turned, self.vertices - self.pivot)
        normals = np.einsum("nij,nj->ni", turned, self.normals)
        seen -= 0.75 * head @ middle + 0.25 * middle
        scale = zoom * side / 4 * DISTANCE / (DISTANCE + seen[:, 2:])
        placed = np.concatenate([seen[:, :2] * scale + side / 2, seen[:, 2:]], axis=1)
        # Clothes and brows lie on the skin, also where their triangles are larger.
        placed[:, 2] -= np.where(self.of("clothes"), 0.06, np.where(self.of("eyebrows"), 0.03, 0.0))
        found = fragments(placed, self.triangles, side, self.both)
        found, pictured, weight = layered(found, self._pictured(found))
        colour = self._shaded(found, pictured, seen, normals, head, lighting) * weight[:, None]
        channels = [np.bincount(found.pixel, colour[:, c], side * side) for c in range(3)]
        alpha = np.bincount(found.pixel, weight, side * side)
        return np.stack(channels, axis=1).reshape(side, side, 3), np.clip(alpha, 0, 1).reshape(side, side)

    def of(self, *kinds: str) -> np.ndarray:
        """(n,) which vertices belong to such meshes."""
        return np.array([m.kind in kinds for m in self.meshes])[self.owner]

    def _falling(self, head: np.ndarray, lighting: Lighting) -> np.ndarray:
        """(n, 3) light on the vertices; in skin it spreads, red the farthest."""
        falling = self.reached @ lighting.at(self.ways @ head.T) * (4 / DIRECTIONS)
        spread = falling.copy()
        for channel, often in enumerate(SCATTER):
            for _ in range(often):
                spread[:, channel] = self.blur @ spread[:, channel]
        return np.where(self.of("skin")[:, None], 0.25 * falling + 0.75 * spread, falling)

    def _shaded(
        self,
        found: Fragments,
        pictured: np.ndarray,
        seen: np.ndarray,
        normals: np.ndarray,
        head: np.ndarray,
        lighting: Lighting,
    ) -> np.ndarray:
        """(k, 3) linear RGB of fragments."""
        open_ = self.reached.sum(axis=1) / (DIRECTIONS / 4)
        values = np.concatenate([self._falling(head, lighting), open_[:, None], normals, seen, self.vertices], axis=1)
        at = found.spread(values[self.triangles].astype(np.float32))
        diffuse, opened, normal, place, own = at[:, :3], np.clip(at[:, 3:4], 0, 1), at[:, 4:7], at[:, 7:10], at[:, 10:]
        kind = np.array([m.kind for m in self.meshes])[self.mesh[found.triangle]]
        normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-6
        view = np.array([0, 0, -DISTANCE], np.float32) - place
        view /= np.linalg.norm(view, axis=1, keepdims=True)
        normal = self._rough(normal, view, own, kind == "skin")
        wet = kind == "eyes"
        out = pictured[:, :3] ** 2.2 * np.where(wet, np.float32(0.55), np.float32(1))[:, None] * diffuse
        facing = np.clip((normal * view).sum(axis=1, keepdims=True), 0, 1)
        bounced = 2 * facing * normal - view
        fresnel = 0.028 + 0.35 * (1 - facing) ** 5
        shine = lighting.at(bounced, 10) * 0.6 + lighting.at(bounced, 40) * 0.5
        gloss = np.array([GLOSS.get(m.kind, 0) for m in self.meshes], np.float32)[self.mesh[found.triangle]]
        out += gloss[:, None] * fresnel * shine * opened**1.5
        out[wet] += 0.05 * lighting.at(bounced[wet], 900) * (opened[wet] > 0.1)
        return out

    def _rough(self, normal: np.ndarray, view: np.ndarray, own: np.ndarray, of_skin: np.ndarray) -> np.ndarray:
        """(k, 3) normals, those of skin turned by pores and small folds."""
        bumps, frontal = np.zeros_like(normal), np.clip((normal * view).sum(axis=1, keepdims=True), 0, 1)
        for size, strength in PORES:
            at = (own[of_skin] / size).T
            found = [map_coordinates(n, at, np.float32, order=1, mode="grid-wrap") for n in self.noise]
            bumps[of_skin] += np.float32(strength) * np.stack(found, axis=1)
        bumps *= frontal
        turned = normal + bumps - normal * (bumps * normal).sum(axis=1, keepdims=True)
        return turned / np.linalg.norm(turned, axis=1, keepdims=True)
