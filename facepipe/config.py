"""One frozen dataclass a stage, checked when made. Standard library only."""

from __future__ import annotations

import os
from dataclasses import Field, dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any

from facepipe.errors import UsageError
from facepipe.noisespec import NO_NOISE, parse_noise
from facepipe.values import check_choice, check_range, show, to_type

LAYOUTS = ("auto", "identity", "youtube-faces", "lfw", "celeba", "vggface2", "flat")
DETECTORS = ("yunet", "mtcnn")
FACES = ("identity", "largest", "all")
ENGINES = ("local", "dask")
REFINEMENTS = ("mesh", "none")
ENCODINGS = ("raw", "png", "jpeg")
COLORS = ("gray", "rgb")
EXAMPLES = ("pairs", "faces")
SUBSETS = ("train", "validation", "test")
DEFAULT_NOISE = ("gaussian:0.03,0.06,0.09,0.1",)


def join(base: str, name: str) -> str:
    """`base/name` for a local path or an object-store URI, whose options stay at its end."""
    if "://" not in base:
        return os.path.join(base, name)
    path, mark, options = base.partition("?")
    return f"{path.rstrip('/')}/{name}{mark}{options}"


def option_name(field_name: str) -> str:
    """A field's name on the command line: `crop_size` is `--crop-size`."""
    return "--" + field_name.removesuffix("_s").replace("_", "-")


class _Checked:
    """A config whose values have their types: what can only mean one thing is taken for it, None for the default."""

    def __post_init__(self) -> None:
        """Converts every value or refuses it."""
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            object.__setattr__(self, item.name, item.default if value is None else _convert(item, value))


def _convert(item: Field[Any], value: object) -> Any:
    """A field's value in the field's type."""
    if item.name == "part_of":
        return value if isinstance(value, PartOf) else PartOf.parse(value)
    if item.name == "execution":
        if not isinstance(value, Execution):
            raise UsageError(f"execution is {show(value)}; it must be a facepipe.Execution")
        return value
    return to_type(option_name(item.name), str(item.type), value)


@dataclass(frozen=True)
class PartOf:
    """Share `k` of `n` machines' work (`--part-of K/N`), k from 1."""

    k: int = 1
    n: int = 1

    def __post_init__(self) -> None:
        """Refuses shares that don't exist."""
        for name in ("k", "n"):
            object.__setattr__(self, name, to_type("--part-of", "int", getattr(self, name)))
        if not 1 <= self.k <= self.n:
            raise UsageError(f"--part-of is {self.k}/{self.n}; give K/N with K from 1 to N, such as 3/10")

    @classmethod
    def parse(cls, text: object) -> PartOf:
        """`3/10` -> PartOf(3, 10)."""
        try:
            k, n = (int(piece) for piece in str(text).split("/"))
        except ValueError:
            raise UsageError(f"--part-of is {show(text)}; give K/N, such as 3/10") from None
        return cls(k, n)

    def owns(self, number: int) -> bool:
        """Whether part `number` (from 0) belongs to this share."""
        return number % self.n == self.k - 1

    def __str__(self) -> str:
        """`3/10`, as on the command line."""
        return f"{self.k}/{self.n}"


@dataclass(frozen=True)
class Execution(_Checked):
    """How work is spread: changes speed, never a byte of the output."""

    workers: int = 0
    """0: all usable cores."""
    engine: str = "local"
    scheduler: str = ""
    overwrite: bool = False
    dry_run: bool = False
    retry_failed: bool = False
    """`extract` alone."""

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        check_choice("--engine", self.engine, ENGINES)
        if self.workers < 0:
            raise UsageError(f"--workers is {self.workers}; give 1 or more")
        if self.scheduler and self.engine != "dask":
            raise UsageError("--scheduler needs --engine dask")


@dataclass(frozen=True)
class ExtractConfig(_Checked):
    """`facepipe extract`: images in, one row a face out."""

    input: str = "data/images"
    output: str = "data/faces"
    layout: str = "auto"
    manifest: str = ""
    label: str = "label"
    detector: str = "yunet"
    min_face: float = 40.0
    """px, on the full-size image."""
    min_score: float = 0.7
    crop_size: int = 128
    """px."""
    margin: float = 0.3
    """Share of the face box's side added on each side."""
    face: str = "identity"
    cropped: bool = False
    every: int = 1
    limit: int = 0
    """0: all."""
    part_of: PartOf = PartOf()
    part_size: int = 512
    timeout_s: float = 60.0
    max_pixels: int = 200_000_000
    max_failed: float = 0.5
    model: str = ""
    track: bool = True
    execution: Execution = field(default=Execution(), metadata={"settings": False})

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        check_choice("--layout", self.layout, LAYOUTS)
        check_choice("--detector", self.detector, DETECTORS)
        check_choice("--face", self.face, FACES)
        check_range("--min-face", self.min_face, 8, 10_000)
        check_range("--min-score", self.min_score, 0, 1)
        check_range("--crop-size", self.crop_size, 16, 2048)
        check_range("--margin", self.margin, 0, 3)
        check_range("--every", self.every, 1, 1_000_000)
        check_range("--limit", self.limit, 0, 2**40)
        check_range("--part-size", self.part_size, 1, 1_000_000)
        check_range("--timeout", self.timeout_s, 0.1, 86_400)
        check_range("--max-pixels", self.max_pixels, 1, 2**34)
        check_range("--max-failed", self.max_failed, 0, 1)


@dataclass(frozen=True)
class SelectConfig(_Checked):
    """`facepipe select`: the most frontal frame of every identity."""

    input: str = "data/faces"
    output: str = "data/targets"
    per: str = "identity"
    max_angle: float = 0.0
    """degrees; 0: no limit."""
    min_frames: int = 1
    refine: str = "mesh"
    candidates: int = 10
    overrides: str = ""
    mesh_model: str = ""
    execution: Execution = field(default=Execution(), metadata={"settings": False})

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        check_choice("--per", self.per, ("identity", "video"))
        check_choice("--refine", self.refine, REFINEMENTS)
        check_range("--max-angle", self.max_angle, 0, 180)
        check_range("--min-frames", self.min_frames, 1, 1_000_000)
        check_range("--candidates", self.candidates, 1, 10_000)


@dataclass(frozen=True)
class SplitConfig(_Checked):
    """`facepipe split`: feature/target pairs, subsets by identity."""

    faces: str = "data/faces"
    targets: str = "data/targets"
    output: str = "data/pairs"
    validation: float = 0.1
    test: float = 0.0
    seed: int = 0
    images: str = ""
    execution: Execution = field(default=Execution(), metadata={"settings": False})

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        check_range("--validation", self.validation, 0, 1)
        check_range("--test", self.test, 0, 1)
        check_range("--validation and --test together", self.validation + self.test, 0, 1)


@dataclass(frozen=True)
class ShardConfig(_Checked):
    """`facepipe shard`: pairs or single faces as TFRecord shards."""

    input: str = "data/pairs"
    faces: str = "data/faces"
    output: str = "data/shards"
    shards: int = 0
    """0: by size, about 128 MB each."""
    noise: tuple[str, ...] = ()
    """As given, `KIND:STRENGTH[,STRENGTH...]`; empty: gaussian for pairs, none for faces."""
    keep_clean: bool = True
    size: int = 64
    """px."""
    color: str = ""
    """Empty: gray for pairs, rgb for faces."""
    encoding: str = "raw"
    examples: str = "pairs"
    seed: int = 0
    execution: Execution = field(default=Execution(), metadata={"settings": False})

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        check_choice("--examples", self.examples, EXAMPLES)
        check_choice("--encoding", self.encoding, ENCODINGS)
        if self.color:
            check_choice("--color", self.color, COLORS)
        check_range("--size", self.size, 8, 1024)
        check_range("--shards", self.shards, 0, 99_999)
        if not parse_noise(self.resolved_noise) and not self.keep_clean:
            raise UsageError("--no-keep-clean leaves nothing where there is no noise")

    @property
    def resolved_color(self) -> str:
        """`gray` or `rgb`."""
        return self.color or ("gray" if self.examples == "pairs" else "rgb")

    @property
    def resolved_noise(self) -> tuple[str, ...]:
        """What `--noise` means when it was not given; `none` is no noise."""
        chosen = self.noise or (DEFAULT_NOISE if self.examples == "pairs" else ())
        return () if chosen == (NO_NOISE,) else chosen


StageConfig = ExtractConfig | SelectConfig | SplitConfig | ShardConfig


def settings_of(config: StageConfig) -> dict[str, Any]:
    """What of a config decides the output's bytes, JSON-ready; paths, speed and the machine's share are left out."""
    skip = {"input", "output", "faces", "targets", "part_of", "images", "overrides", "timeout_s", "max_failed"}
    values = {
        f.name: getattr(config, f.name)
        for f in fields(config)
        if f.name not in skip and f.metadata.get("settings", True)
    }
    for name in ("manifest", "model", "mesh_model"):
        if values.get(name):
            values[name] = PurePosixPath(str(values[name]).replace("\\", "/")).name
    if isinstance(config, ShardConfig):
        values["color"], values["noise"] = config.resolved_color, list(config.resolved_noise)
    return values
