"""The demo's people: heads, skins, hair and clothes of MakeHuman, drawn by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from makehuman import smaller
from studio import Figure

if TYPE_CHECKING:
    from makehuman import MakeHuman, Mesh

ORIGINS, AGES = ("caucasian", "african", "asian"), ("young", "middleage", "old")
HAIR = {
    "male": ("short01", "short02", "short04", "short02", "short01", "short04", ""),
    "female": ("long01", "ponytail01", "Braid01", "long01", "ponytail01"),
}
COLOURS = {
    "african": ((0.009, 0.008, 0.007), (0.016, 0.012, 0.010)),
    "asian": ((0.009, 0.008, 0.008), (0.02, 0.014, 0.011)),
    "caucasian": (
        (0.03, 0.018, 0.011),
        (0.08, 0.045, 0.023),
        (0.26, 0.17, 0.08),
        (0.10, 0.045, 0.02),
        (0.013, 0.01, 0.009),
    ),
}
"""Of hair, linear RGB."""
GRAY = (0.30, 0.29, 0.28)
CLOTHES = {
    "male": ("male_casualsuit01", "male_casualsuit02", "male_casualsuit03", "male_casualsuit05", "male_casualsuit06",
             "male_elegantsuit01"),
    "female": ("female_casualsuit01", "female_casualsuit02", "female_elegantsuit01", "female_sportsuit01"),
}  # fmt: skip
SHAPES = (
    "head/head-oval", "head/head-round", "head/head-square", "head/head-triangular", "head/head-invertedtriangular",
    "head/head-rectangular", "head/head-diamond", "head/head-fat-incr", "head/head-fat-decr", "head/head-scale-vert-incr",
    "chin/chin-width-incr", "chin/chin-width-decr", "chin/chin-height-incr", "chin/chin-height-decr",
    "chin/chin-prominent-incr", "chin/chin-prominent-decr", "chin/chin-cleft-incr", "nose/nose-scale-horiz-incr",
    "nose/nose-scale-horiz-decr", "nose/nose-scale-vert-incr", "nose/nose-scale-vert-decr", "nose/nose-hump-incr",
    "nose/nose-greek-incr", "nose/nose-point-up", "nose/nose-point-down", "nose/nose-volume-incr",
    "nose/nose-width3-incr", "mouth/mouth-scale-horiz-incr", "mouth/mouth-scale-horiz-decr",
    "mouth/mouth-upperlip-volume-incr", "mouth/mouth-lowerlip-volume-incr", "mouth/mouth-upperlip-volume-decr",
    "mouth/mouth-laugh-lines-in", "mouth/mouth-trans-up", "forehead/forehead-scale-vert-incr",
    "forehead/forehead-nubian-incr", "eyebrows/eyebrows-trans-up", "eyebrows/eyebrows-angle-up",
)  # fmt: skip
PAIRED = (
    "eyes/{}-eye-scale-incr", "eyes/{}-eye-scale-decr", "eyes/{}-eye-trans-in", "eyes/{}-eye-trans-out",
    "eyes/{}-eye-bag-incr", "eyes/{}-eye-height2-incr", "eyes/{}-eye-height2-decr", "eyes/{}-eye-corner2-up",
    "eyes/{}-eye-corner2-down", "cheek/{}-cheek-bones-incr", "cheek/{}-cheek-volume-incr", "cheek/{}-cheek-volume-decr",
    "ears/{}-ear-scale-incr", "ears/{}-ear-scale-decr", "ears/{}-ear-wing-incr", "ears/{}-ear-wing-decr",
)  # fmt: skip


class Person:
    """A head with its skin, eyes, hair and clothes, all drawn by chance."""

    def __init__(self, number: int, world: MakeHuman) -> None:
        rng = self.rng = np.random.default_rng(number)
        self.world = world
        self.sex, self.origin = ("male", "female")[number % 2], ORIGINS[number // 2 % 3]
        self.old = float(rng.choice([0.0, 0.0, 0.1, 0.3, 0.5, 0.8]))
        self.shape = self._shape()
        self.lying = self._lying()
        self.skin = self._skin()
        self.figure = Figure(self.meshes(self.shape), rng)

    def _shape(self) -> dict[str, float]:
        """How much of which of MakeHuman's shapes."""
        rng, shape = self.rng, {}
        mixed = rng.dirichlet([0.25, 0.25, 0.25]) * 0.3
        mixed[ORIGINS.index(self.origin)] += 0.7
        weight = rng.choice(["minweight", "averageweight", "averageweight", "maxweight"])
        for age, share in (("young", 1 - self.old), ("old", self.old)):
            for origin, part in zip(ORIGINS, mixed, strict=True):
                shape[f"macrodetails/{origin}-{self.sex}-{age}"] = share * part
            for how, part in (("averageweight", 0.5), (weight, 0.5)):
                name = f"macrodetails/universal-{self.sex}-{age}-averagemuscle-{how}"
                shape[name] = shape.get(name, 0) + share * part
        for name in rng.choice(SHAPES, 9, replace=False):
            shape[str(name)] = rng.uniform(0.1, 0.6)
        for name in rng.choice(PAIRED, 4, replace=False):
            share = rng.uniform(0.1, 0.6)
            for side in "lr":
                shape[name.format(side)] = share * rng.uniform(0.7, 1.3)
        return shape

    def _lying(self) -> list[tuple[str, str, np.ndarray]]:
        """Kind, name and picture of what lies on the skin."""
        rng, world = self.rng, self.world
        colours = COLOURS[self.origin]
        colour = np.array(colours[rng.integers(len(colours))])
        if rng.random() < self.old - 0.1:
            colour = np.array(GRAY) * rng.uniform(0.12, 0.6)
        eyes = (
            ("brown", "brown", "brownlight", "blue", "green", "grey")
            if self.origin == "caucasian"
            else ("brown", "brownlight")
        )
        brows = f"eyebrow{rng.choice([1, 4, 8, 9, 12] if self.sex == 'male' else [1, 2, 3, 6, 10, 11]):03d}"
        hair = str(rng.choice(HAIR[self.sex]))
        if self.origin == "african" and self.sex == "male" and rng.random() < 0.5:
            hair = ""
        shirt = str(rng.choice(CLOTHES[self.sex]))
        lying = [
            ("eyes", "HighPolyEyes", smaller(world.texture("eyes", "HighPolyEyes", f"/{rng.choice(eyes)}_eye"), 160)),
            ("eyebrows", brows, dyed(smaller(world.texture("eyebrows", brows), 256), colour * 0.6)),
            ("eyelashes", "eyelashes02", smaller(world.texture("eyelashes", "eyelashes02"), 256)),
            ("clothes", shirt, recoloured(world.texture("clothes", shirt, "diffuse"), rng)),
        ]
        return [*lying, ("hair", hair, dyed(world.texture("hair", hair), colour))] if hair else lying

    def _skin(self) -> np.ndarray:
        """(1024, 1024, 4) the skin's picture, in the person's own tone."""
        rng, world = np.random.default_rng(self.rng.integers(1 << 30)), self.world
        age = AGES[int(np.clip(self.old * 3, 0, 2))]
        one = world.skin_texture(f"{age}_{self.origin}_{self.sex}", int(rng.integers(3)))
        other = world.skin_texture(f"{AGES[rng.integers(2)]}_{self.origin}_{self.sex}")
        skin = cv2.resize(0.65 * one + 0.35 * other, (1024, 1024), interpolation=cv2.INTER_CUBIC)[..., :3]
        blotches = sum(
            share * cv2.GaussianBlur(rng.normal(0, size, (1024, 1024, 1)), (0, 0), size)[..., None]
            for size, share in ((2, 0.03), (7, 0.035), (25, 0.05))
        )
        # The skins differ much in hue: half of the way to a common one, and some lightness of one's own.
        mean = skin[100:500, 200:600].mean(axis=(0, 1))
        common = mean.mean() * np.array([1.0, 0.76, 0.63]) / 0.797
        skin = skin * (common / mean) ** 0.6 * rng.uniform(0.88, 1.08) * (1 + rng.normal(0, 0.015, 3))
        blood = sum(
            spot(*place)
            for place in ((0.872, 0.449, 0.03, 0.045), (0.872, 0.583, 0.03, 0.045), (0.877, 0.516, 0.02, 0.02))
        )
        lips = spot(0.909, 0.516, 0.014, 0.032) * rng.uniform(0.3, 1.0 if self.sex == "male" else 2.2)
        red = rng.uniform(0.1, 0.7) * blood + lips
        skin = skin * (1 + blotches * np.array([0.5, 1.0, 1.0])) * (1 - red[..., None] * np.array([0.03, 0.13, 0.12]))
        if self.sex == "male" and rng.random() < 0.6:
            skin = skin * (1 - rng.uniform(0.1, 0.45) * stubble(rng)[..., None] * np.array([1.0, 0.95, 0.85]))
        return np.concatenate([np.clip(skin, 0, 1), np.ones((1024, 1024, 1))], axis=2).astype(np.float32)

    def meshes(self, shape: dict[str, float]) -> list[Mesh]:
        """The person's surfaces in one shape."""
        vertices = self.world.shaped(shape)
        return [self.world.skin(vertices, self.skin), *(self.world.proxy(vertices, *what) for what in self.lying)]

    def smiling(self, rng: np.random.Generator) -> Figure:
        """The person with some expression."""
        smile, shape = float(np.clip(rng.normal(0.45, 0.3), 0, 0.9)), dict(self.shape)
        units = {"mouthSmile": smile, "cheekSquint": 0.6 * smile, "eyeSquint": 0.2 * smile, "mouthDimple": 0.4 * smile}
        units |= {"browOuterUp": max(rng.normal(0, 0.3), 0), "eyeBlink": max(rng.normal(0, 0.08), 0)}
        for name, share in units.items():
            for side in ("Left", "Right"):
                shape[f"faceunits/{name}{side}"] = share * rng.uniform(0.85, 1.15)
        return self.figure.reshaped(self.meshes(shape))


def spot(x: float, y: float, high: float, wide: float) -> np.ndarray:
    """(1024, 1024) a soft spot in the skin's picture, where faces lie on their side."""
    rows, columns = np.mgrid[:1024, :1024] / 1024
    return np.exp(-(((columns - x) / high) ** 2) - ((rows - y) / wide) ** 2)


def stubble(rng: np.random.Generator) -> np.ndarray:
    """(1024, 1024) where a beard is shaved, 0..1, in the skin's picture."""
    y, x = np.mgrid[:1024, :1024] / 1024
    around = np.clip(2.4 - 2 * np.hypot((x - 0.955) / 0.075, (y - 0.517) / 0.17), 0, 1)
    lips = np.clip(2.5 - 2 * np.hypot((x - 0.91) / 0.022, (y - 0.517) / 0.045), 0, 1)
    grain = np.clip(0.75 + 0.5 * cv2.GaussianBlur(rng.normal(0, 1, (1024, 1024)), (0, 0), 0.7), 0.2, 1.5)
    return cv2.GaussianBlur(around * (1 - lips), (0, 0), 8) * grain


def dyed(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Hair of a colour (linear RGB) that keeps its lights and strands."""
    alpha = picture[..., 3]
    light = picture[..., :3].mean(axis=2) ** 2.2
    around = cv2.GaussianBlur(light * alpha, (0, 0), 25) / (cv2.GaussianBlur(alpha, (0, 0), 25) + 1e-3)
    light = (light + 0.003) / (around + 0.003)
    dyed = np.clip((np.minimum(light, 1.9) ** 0.8)[..., None] * colour, 0, 1) ** (1 / 2.2)
    return np.concatenate([dyed, picture[..., 3:]], axis=2).astype(np.float32)


def recoloured(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clothes in another colour."""
    hsv = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(0, 360)) % 360
    hsv[..., 1] *= rng.uniform(0.1, 0.9)
    hsv[..., 2] = np.clip(hsv[..., 2] * rng.uniform(0.6, 1.2), 0, 1)
    return np.concatenate([cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), picture[..., 3:]], axis=2)
