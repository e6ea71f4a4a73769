"""Every option, written down once: a frozen class a stage, checked when made. Standard library only.

The command line, the recipes, the library's functions, the settings that name an output, and the page of commands are
made from these fields. A new option is one field here and the code that reads it.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from facepipe.errors import UsageError
from facepipe.options import Checked, PartOf, option, options_of, parse_align
from facepipe.text import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

EXTRACT, SELECT, SPLIT, SHARD = STAGES = ("extract", "select", "split", "shard")
EMBED, GROUP = "embed", "group"
EXAMPLES = ("pairs", "faces")
TURNED = "turned"
FULL_TURN = "uniform:90"
SUBSETS = ("train", "validation", "test")
FORMATS = ("tfrecord", "webdataset", "parquet")
"""How shards may be stored: each a module of that name in `storage/formats`."""
INPUT, OUTPUT = ("--input", "-i"), ("--output", "-o")
POSE_IS_TOLD = "extract tells every face's pose"
GUARD = 0.945
"""Of strangers put among a person's faces 98 % are less alike than this, of its own 0.4 % (LFW) to 2 % (small, blurred
frames of videos; `benchmarks/identity.py`)."""
DEFAULT_NOISE = ("gaussian:0.03,0.06,0.09,0.1",)


def join(base: str, name: str) -> str:
    """`base/name` for a local path or an object-store URI, whose options stay at its end."""
    if "://" not in base:
        return os.path.join(base, name)
    path, mark, options = base.partition("?")
    return f"{path.rstrip('/')}/{name}{mark}{options}"


def beside(path: str, name: str) -> str:
    """What lies beside a directory or URI by that name."""
    base, mark, options = path.partition("?") if "://" in path else (path, "", "")
    return f"{posixpath.join(posixpath.dirname(base.rstrip('/')), name)}{mark}{options}"


def _place(folder: str, text: str, *names: str) -> Any:
    """A directory or URI, by default the one of that name in the workspace."""
    facts: dict[str, Any] = {"folder": folder, "names": names, "metavar": "DIR", "everyday": True, "decides": ""}
    return option(f"data/{folder}", text, "Input", **facts)


def _seed() -> Any:
    return option(0, "Seed of every random choice.", "Subsets", metavar="N")


def _filter(default: Any, text: str, **facts: Any) -> Any:
    """What leaves frames out where it is given."""
    return option(default, text, "Filters", decides="given", **{"shown": "keep all", **facts})


def _machine(default: Any, text: str, **facts: Any) -> Any:
    """How a stage runs: no byte of its output depends on it."""
    return option(default, text, "Machine", decides="", **facts)


def _execution(*only: str) -> Any:
    """The options of `Execution` that the stage takes."""
    return field(default=Execution(), metadata={"only": ("workers", "overwrite", "dry_run", *only)})


# fmt: off
@dataclass(frozen=True)
class Execution(Checked):
    """How work is spread: changes speed, never a byte of the output."""

    workers: int = _machine(0, "Number of processes.", low=0, shown="the usable cores", metavar="N", everyday=True)
    engine: str = _machine("local", "Run on local processes, or on a Dask cluster.", choices=("local", "dask"))
    scheduler: str = _machine("", "Address of the Dask scheduler, for --engine dask.", metavar="ADDRESS")
    overwrite: bool = _machine(False, "Replace what was made with other settings or from images that are gone; what fits is kept.")
    dry_run: bool = _machine(False, "Say what would be done, and do nothing.")
    retry_failed: bool = _machine(False, "Read images again that failed in an earlier run.")

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        if self.scheduler and self.engine != "dask":
            raise UsageError("--scheduler needs --engine dask")
        if self.engine == "dask" and not self.scheduler:
            raise UsageError("--engine dask needs --scheduler ADDRESS; start one with `dask scheduler`")


@dataclass(frozen=True)
class ExtractConfig(Checked):
    """Find the faces in images and videos, and crop them.

    Writes DATA/faces/part-*.parquet: one row per face with its box, landmarks, pose and a square crop, and one row for
    each image without a usable face, with the reason. Interrupt it at any time: the same command goes on from the last
    finished part.
    """

    input: str = _place("images", "Directory or URI of images and videos.", *INPUT)
    output: str = _place("faces", "Where the faces go.", *OUTPUT)
    layout: str = option("auto", "How the input is laid out: auto tells it; identity has a directory per person, flat a file per person; "
                         "youtube-faces, lfw, celeba and vggface2 are as published.", "Input")
    manifest: str = option("", "CSV or Parquet file that lists the images, in place of a layout: columns path and identity, "
                           "optionally video, frame_index, x1,y1,x2,y2 (the face's box) and label.", "Input", metavar="FILE", decides="name")
    label: str = option("label", "Column of the manifest, or attribute of CelebA, that becomes the integer label in the shards.", "Input", metavar="COLUMN")
    every: int = option(1, "Take every N-th frame of a video.", "Input", low=1, high=1e6, metavar="N")
    limit: int = option(0, "Read only the first N images.", "Input", low=0, high=2**40, shown="all", metavar="N")
    detector: str = option("yunet", "Face detector: yunet is fast and finds profiles.", "Detection", choices=("yunet", "mtcnn"))
    min_face: float = option(40.0, "Smallest face, in pixels of the full-size image. Above 1.5 megapixels, smaller faces beside a prominent "
                             "one are looked for only with --face all.", "Detection", low=8, high=10_000, metavar="PX")
    min_score: float = option(0.7, "Lowest detector confidence, 0 to 1.", "Detection", low=0, high=1)
    crop_size: int = option(128, "Side of the square crops, in pixels.", "Detection", low=16, high=2048, metavar="PX")
    margin: float = option(0.3, "Margin around the face box on each side, as a fraction of its side.", "Detection", low=0, high=3)
    align: str = option("box", "How a face lies in its crop: by its box and --margin; as InsightFace's or FFHQ's networks expect it; "
                        "or onto the five points in a TOML file.", "Detection", metavar="box|arcface|ffhq|FILE", parse=parse_align, decides="given")
    face: str = option("identity", "Which face of an image to take: identity is the labelled or tracked one, else the most central and largest.",
                       "Detection", choices=("identity", "largest", "all"))
    identity: str = option("none", "check: also tell whose face each is, as `facepipe embed` does, into DATA/embeddings; 4 to 6 ms a face. "
                           "`run` then has --guard on.", "Detection",
                           choices=("none", "check"), decides="")
    cropped: bool = option(False, "The images are face crops already: keep them whole.", "Detection")
    track: bool = option(True, "Track faces through videos instead of searching every frame.", "Detection", negative="--no-track")
    model: str = option("", "Your own detector weights (ONNX, with YuNet's outputs).", "Detection", metavar="FILE", decides="name")
    part_of: PartOf = _machine(PartOf(), "Do the K-th of N shares; run the other ones on other machines, with the same output.",
                               metavar="K/N", parse=PartOf.parse, alone=True)
    part_size: int = option(512, "About this many images per part; at most one part per process is lost when a run is interrupted.", "Machine",
                            low=1, high=1e6, metavar="N")
    timeout_s: float = _machine(60.0, "Seconds allowed for each step of an image, such as decoding it.", low=0.1, high=86_400, metavar="S")
    max_pixels: int = option(200_000_000, "Refuse larger images.", "Machine", low=1, high=2**34, shown="200 million", metavar="N")
    max_failed: float = _machine(0.5, "Fail when more than this fraction of the images can't be read.", low=0, high=1)
    execution: Execution = _execution("engine", "scheduler", "retry_failed")

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        if self.cropped and self.align != "box":
            raise UsageError("--cropped keeps pictures whole; leave out --align, or --cropped")
        if self.identity == "check" and self.part_of.n > 1:
            raise UsageError("--identity check needs every machine's faces; leave it out, and run `facepipe embed` when all are done")


@dataclass(frozen=True)
class EmbedConfig(Checked):
    """Tell whose face each is, in 128 numbers.

    Writes DATA/embeddings/part-*.parquet: the key of every usable face and its embedding. The product of two embeddings
    is the similarity of two faces, at most 1. Takes 4 to 6 ms a face on one core, several times as long as extract.
    """

    input: str = _place("faces", "What `facepipe extract` wrote.", *INPUT)
    output: str = _place("embeddings", "Where the embeddings go.", *OUTPUT)
    execution: Execution = _execution("engine", "scheduler")


@dataclass(frozen=True)
class GroupConfig(Checked):
    """Tell which pictures show the same person, where nobody has named them.

    Writes DATA/people.csv, which `extract --manifest` takes, with a name such as person-0001 for every group of faces that
    are alike; DATA/people_unsure.csv, the faces that could be one of two people's; and DATA/people.jpg to look at. Run it
    again after pictures were added, or after you corrected names in people.csv: what stands there is kept. Takes 4 to 6 ms
    a face on one core besides extract.
    """

    input: str = option("data/images", "Directory or URI of images and videos, or of faces that `facepipe extract` wrote.", "Input",
                        folder="images", metavar="DIR", argument=True, decides="")
    output: str = option("data/people.csv", "Where the names go.", "Input", folder="people.csv", names=OUTPUT, metavar="FILE", everyday=True, decides="")
    min_similarity: float = option(0.932, "Lowest mean similarity at which groups of faces are one person: higher parts people, lower mixes them.",
                                   "Detection", low=0, high=1)
    min_faces: int = option(2, "Leave out people with fewer faces.", "Detection", low=1, high=1e6, metavar="N")


@dataclass(frozen=True, kw_only=True)
class Filters(Checked):
    """What leaves frames out by what is known of each: `select` takes none of them, `split` no features."""

    min_frames: int = _filter(1, "Leave out identities with fewer frames.", shown="", low=1, high=1e6, metavar="N")
    max_frames: int = _filter(0, "Keep the best N frames of each identity, spread over yaw.", low=1, high=1e9, metavar="N")
    min_sharpness: float = _filter(0.0, "Leave out faces less sharp: about 0.1 is badly blurred, 0.5 a good photograph.", low=0, high=10, metavar="S")
    min_size: float = _filter(0.0, "Leave out faces smaller than this, in pixels of the full-size image.", low=0, high=100_000, metavar="PX")
    max_yaw: float = _filter(0.0, "Leave out faces turned further to a side, in degrees, or by an unknown angle.", low=0, high=180, metavar="DEG")
    max_pitch: float = _filter(0.0, "Leave out faces turned further up or down, in degrees, or by an unknown angle.", low=0, high=180, metavar="DEG")
    thin: int = _filter(0, "Of an identity's frames that differ in at most D of 240 bits of their perceptual hash, keep the best: 24 for "
                        "copies of one picture, 60 for a burst.", low=1, high=120, metavar="D")

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        if 0 < self.max_frames < self.min_frames:
            raise UsageError(f"--max-frames {self.max_frames} leaves nobody with --min-frames {self.min_frames}")


@dataclass(frozen=True)
class SelectConfig(Filters):
    """Choose the most frontal frame of every identity.

    Writes DATA/targets/targets.parquet: the target, the runners-up with their angles, and the reason. Follows the
    corrections in DATA/overrides.csv, if `facepipe review` wrote some.
    """

    input: str = _place("faces", "What `facepipe extract` wrote.", *INPUT)
    output: str = _place("targets", "Where the targets go.", *OUTPUT)
    embeddings: str = _place("embeddings", "What `facepipe embed` wrote, for --guard.")
    per: str = option("identity", "One target per identity, or per video.", "Target", choices=("identity", "video"))
    max_angle: float = option(0.0, "Largest angle between the target's face and the camera, in degrees.", "Target",
                              low=0, high=180, shown="no limit", metavar="DEG")
    guard: float = _filter(0.0, f"Leave out faces whose similarity to their identity's median is lower, by what `facepipe embed` wrote; {GUARD:g} is "
                           "a good start.", low=0, high=1, metavar="T")
    refine: str = option("", "Measure the best candidates again.", "Target", retired=POSE_IS_TOLD, decides="")
    candidates: int = option(10, "How many of the best frames of each identity to list.", "Target", low=1, high=10_000, metavar="N")
    overrides: str = option("", "Manual corrections, as `facepipe review` writes them.", "Target",
                            shown="DATA/overrides.csv if there is one", metavar="FILE", decides="")
    mesh_model: str = option("", "Weights of the face mesh.", "Target", metavar="FILE", retired=POSE_IS_TOLD, decides="")
    execution: Execution = _execution()


@dataclass(frozen=True)
class SplitConfig(Filters):
    """Pair every other frame with its target; split by identity.

    Writes DATA/pairs/part-*.parquet: features (all frames but the target) with the identity's target. No identity is in
    two subsets, and adding people moves nobody from one subset to another. Filters leave out features besides those that
    `select` left out; targets stay. `run` gives filters to `select` alone.
    """

    faces: str = _place("faces", "What `facepipe extract` wrote.", "--input", "-i", "--faces")
    targets: str = _place("targets", "What `facepipe select` wrote.")
    output: str = _place("pairs", "Where the pairs go.", *OUTPUT)
    validation: float = option(0.1, "Fraction of the identities held out for validation.", "Subsets", low=0, high=1)
    test: float = option(0.0, "Fraction of the identities held out for testing.", "Subsets", low=0, high=1)
    keep_subsets: bool = option(False, "Take the subsets from the input's folders train, val and test, in place of --validation and --test.", "Subsets")
    seed: int = _seed()
    images: str = option("", "Also write the pairs as directories of PNG files.", "Subsets", metavar="DIR", decides="")
    execution: Execution = _execution()

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        if (held_out := self.validation + self.test) > 1:
            raise UsageError(f"--validation and --test together are {held_out:g}; they must lie between 0 and 1")


@dataclass(frozen=True)
class ShardConfig(Checked):
    """Add noise, shuffle, and write shards.

    Writes DATA/shards/pairs/1.0.0 (or faces/1.0.0), which tf.data, tfds and PyTorch read.
    """

    input: str = _place("pairs", "What `facepipe split` wrote.", *INPUT)
    faces: str = _place("faces", "What `facepipe extract` wrote.")
    output: str = _place("shards", "Where the shards go.", *OUTPUT)
    shards: int = option(0, "Number of shards of the training subset.", "Shards", low=0, high=99_999, shown="one per 128 MB", metavar="N")
    noise: tuple[str, ...] = option((), "KIND:STRENGTH[,STRENGTH...]: a noisy copy of the training subset for each strength, 0 to 1; may be repeated; "
                                    "none: no noise.", "Shards", shown=f"{DEFAULT_NOISE[0]} for pairs", metavar="NOISE")
    keep_clean: bool = option(True, "Keep the copy without noise as well.", "Shards", negative="--no-keep-clean")
    size: int = option(64, "Side of the images in the shards, in pixels.", "Shards", low=8, high=1024, metavar="PX", everyday=True)
    color: str = option("", "Gray or color images in the shards.", "Shards", choices=("gray", "rgb"), shown="gray for pairs, rgb for faces")
    format: str = option("tfrecord", "How the shards are stored: for TensorFlow, for WebDataset, or for Hugging Face datasets.", "Shards",
                         choices=FORMATS, decides="given")
    encoding: str = option("", "How the images are stored.", "Shards", choices=("raw", "png", "jpeg"), shown="raw in tfrecord, png in others")
    examples: str = option("pairs", "pairs of feature and target, single faces (for GANs), or turned: pairs whose feature is the target, turned in 3D, "
                           "of every frontal face.", "Shards", choices=(*EXAMPLES, TURNED), shown="pairs; `run`: pairs and faces")
    turns: int = option(4, "Views of each frontal face, for --examples turned.", "Shards", low=1, high=1000, metavar="N", decides="given")
    turn_yaw: str = option(FULL_TURN, "KIND:DEGREES. How far to the sides they are turned: uniform, up to so many degrees, or normal, with that standard "
                           "deviation; 90 is a full profile.", "Shards", metavar="SPREAD", decides="given")
    turn_pitch: str = option("normal:10", "The same for up and down.", "Shards", metavar="SPREAD", decides="given")
    flow: bool = option(False, "Also write where each pixel of the target lies in the feature, and whether it is seen there.", "Shards", decides="given")
    seed: int = _seed()
    execution: Execution = _execution("engine", "scheduler")

    def __post_init__(self) -> None:
        """Checks every option."""
        from facepipe.dataset.noise import parse_noise
        from facepipe.dataset.turns import parse_spread

        super().__post_init__()
        if self.flow and self.format != FORMATS[0]:
            raise UsageError(f"--flow needs --format {FORMATS[0]}")
        parse_spread("--turn-yaw", self.turn_yaw)
        parse_spread("--turn-pitch", self.turn_pitch)
        if not parse_noise(self.resolved_noise) and not self.keep_clean:
            raise UsageError("--no-keep-clean leaves nothing where there is no noise")

    @property
    def resolved_color(self) -> str:
        """`gray` or `rgb`."""
        return self.color or ("rgb" if self.examples == "faces" else "gray")

    @property
    def resolved_encoding(self) -> str:
        """`raw`, `png` or `jpeg`."""
        return self.encoding or ("raw" if self.format == "tfrecord" else "png")

    @property
    def resolved_noise(self) -> tuple[str, ...]:
        """What `--noise` means when it was not given; `none` is no noise."""
        chosen = self.noise or (() if self.examples == "faces" else DEFAULT_NOISE)
        return () if chosen == ("none",) else chosen


@dataclass(frozen=True)
class Common(Checked):
    """What every command takes."""

    data: str = _machine("data", "The workspace: every path's default lies in it.", metavar="DIR", envvar="FACEPIPE_DATA")
    quiet: bool = _machine(False, "Print nothing but errors and the summary.", names=("--quiet", "-q"))
    log_format: str = _machine("text", "How progress, reports and errors are written; json: one object a line.", choices=("text", "json"))


StageConfig = ExtractConfig | EmbedConfig | SelectConfig | SplitConfig | ShardConfig
Config = TypeVar("Config", bound=Checked)
CONFIGS: dict[str, type[StageConfig]] = {EXTRACT: ExtractConfig, SELECT: SelectConfig, SPLIT: SplitConfig, SHARD: ShardConfig}
# fmt: on


def make_config(kind: type[Config], given: Mapping[str, Any]) -> Config:
    """The config of the options given, by field or option name; None and [] leave an option at its default.

    Raises:
        UsageError: an unknown option, or an invalid value.
    """
    known = options_of(kind)
    spelled = {"execution": "execution"} | {one.name.replace("-", "_"): name for name, one in known.items()}
    own: dict[str, Any] = {}
    for name, value in given.items():
        key = name.replace("-", "_")
        if key not in known and key not in spelled:
            raise UsageError(f"there is no option {name!r}; {nearest(name, sorted(known))}")
        if value is not None and value != []:
            own[spelled.get(key, key)] = value
    running = {name: own.pop(name) for name in options_of(Execution) if name in own}
    if running and "execution" in own:
        raise UsageError(f"{', '.join(running)} beside execution would be left out: put it into the Execution")
    if running:
        own["execution"] = Execution(**running)
    return kind(**own)


def paths_of(kind: type[Checked], data: str) -> dict[str, str]:
    """Where a stage reads and writes in a workspace, by field name."""
    return {name: join(data, one.folder) for name, one in options_of(kind).items() if one.folder}


def settings_of(config: StageConfig) -> dict[str, Any]:
    """What of a config decides the output's bytes, JSON-ready; paths, speed and the machine's share are left out."""
    values: dict[str, Any] = {}
    for name, one in options_of(type(config)).items():
        value = getattr(config, f"resolved_{name}", getattr(config, name, None))
        if one.decides == "name" and value:
            value = PurePosixPath(value.replace("\\", "/")).name
        if one.decides and (one.decides != "given" or value != one.default):
            values[name] = list(value) if isinstance(value, tuple) else value
    return values
