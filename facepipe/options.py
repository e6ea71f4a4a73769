"""Every option of the stages, declared once: the command line, the recipes and the documentation read this table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

EXTRACT, SELECT, SPLIT, SHARD = "extract", "select", "split", "shard"
STAGES = (EXTRACT, SELECT, SPLIT, SHARD)


@dataclass(frozen=True)
class Option:
    """One option: its name on the command line and in recipes, the config field it sets, and its help."""

    name: str
    kind: type
    stages: tuple[str, ...]
    help: str
    default: str = ""
    """As shown in the help; empty: the help says it."""
    field: str = ""
    group: str = "What to do"
    negative: str = ""
    """The option that switches a flag off, such as `--no-track`."""
    repeatable: bool = False
    metavar: str = ""
    choices: tuple[str, ...] = ()
    alone: bool = False
    """For the stage's own command: `run` refuses it, and so doesn't show it."""

    @property
    def target(self) -> str:
        """The config field."""
        return self.field or self.name.replace("-", "_")

    @property
    def shown_help(self) -> str:
        """The help with choices and default."""
        return f"{self.help} [{self.default}]" if self.default else self.help

    def shown_value(self, value: Any) -> str:
        """A value of the config field as the command line has it; one that stands for none, as the help says it."""
        if self.kind is bool:
            return f"--{self.name}" if value else f"--{self.negative or f'{self.name} not given'}"
        if isinstance(value, list):
            return " and ".join(map(str, value)) or "none"
        if not value and not self.default[:1].isdigit():
            return self.default or "none"
        return str(value).removesuffix(".0")


FILES, FACES, WHICH, SPEED, LIMITS = "Files", "Faces", "Which images", "Speed", "Limits"
EXECUTION_FIELDS = ("workers", "engine", "scheduler", "overwrite", "dry_run", "retry_failed")

OPTIONS: tuple[Option, ...] = (
    Option("layout", str, (EXTRACT,), "How the folder is laid out: auto, identity (a folder a person), youtube-faces, "
           "lfw, celeba, vggface2 or flat.", "auto", group=WHICH),
    Option("manifest", str, (EXTRACT,), "CSV or Parquet file naming the images instead of a layout: path, identity, and "
           "if you like video, frame_index, x1,y1,x2,y2, label.", group=WHICH, metavar="FILE"),
    Option("label", str, (EXTRACT,), "Manifest column, or CelebA attribute, to carry through to the shards as an integer.",
           "label", group=WHICH, metavar="COLUMN"),
    Option("every", int, (EXTRACT,), "Take every N-th frame of a video.", "1", group=WHICH, metavar="N"),
    Option("limit", int, (EXTRACT,), "Only the first N images.", "all", group=WHICH, metavar="N"),
    Option("part-of", str, (EXTRACT,), "Do share K of N; run the others on other machines into the same output.", "1/1",
           group=SPEED, metavar="K/N", alone=True),
    Option("detector", str, (EXTRACT,), "yunet (fast, finds profiles) or mtcnn.", "yunet", group=FACES),
    Option("min-face", float, (EXTRACT,), "Smallest face, in pixels of the full-size image. Above 1.5 megapixels, "
           "smaller ones beside a prominent face are looked for only with --face all.", "40", group=FACES, metavar="PX"),
    Option("min-score", float, (EXTRACT,), "Lowest detector confidence, 0 to 1.", "0.7", group=FACES),
    Option("crop-size", int, (EXTRACT,), "Side of the square crops, in pixels.", "128", group=FACES, metavar="PX"),
    Option("margin", float, (EXTRACT,), "Room around the face box on each side, as a share of its side.", "0.3", group=FACES),
    Option("face", str, (EXTRACT,), "Which face of a picture to take: identity (labelled box, track, then centre and "
           "size), largest, or all.", "identity", group=FACES),
    Option("cropped", bool, (EXTRACT,), "The pictures are face crops already: keep them whole.", group=FACES),
    Option("track", bool, (EXTRACT,), "Follow faces through videos instead of searching every frame.", "track",
           negative="no-track", group=FACES),
    Option("model", str, (EXTRACT,), "Your own detector weights (ONNX, YuNet's outputs).", group=FACES, metavar="PATH"),
    Option("part-size", int, (EXTRACT,), "About so many images in a part, the unit of work that a kill can cost.", "512", group=SPEED, metavar="N"),
    Option("timeout", float, (EXTRACT,), "Seconds each step of an image may take, such as decoding it.", "60", field="timeout_s", group=LIMITS, metavar="S"),
    Option("max-pixels", int, (EXTRACT,), "Refuse larger images unread.", "200 million", group=LIMITS, metavar="N"),
    Option("max-failed", float, (EXTRACT,), "End with an error when more than this share of the images failed.", "0.5",
           group=LIMITS, metavar="F"),
    Option("retry-failed", bool, (EXTRACT,), "Read images again that failed in an earlier run.", group=LIMITS),
    Option("per", str, (SELECT,), "One target per identity, or per video.", "identity"),
    Option("max-angle", float, (SELECT,), "Refuse targets turned further than this, in degrees.", "none", metavar="DEG"),
    Option("min-frames", int, (SELECT,), "Leave out identities with fewer frames.", "1", metavar="N"),
    Option("refine", str, (SELECT,), "mesh: measure the best candidates again with a dense face mesh; none: don't.", "mesh"),
    Option("candidates", int, (SELECT,), "How many of the best to measure again.", "10", metavar="N"),
    Option("overrides", str, (SELECT,), "A person's corrections, as `facepipe review` writes them.",
           "DATA/overrides.csv where it is there", metavar="FILE"),
    Option("mesh-model", str, (SELECT,), "Your own copy of face_landmark.tflite.", metavar="PATH"),
    Option("validation", float, (SPLIT,), "Share of the identities kept for validation.", "0.1", metavar="F"),
    Option("test", float, (SPLIT,), "Share of the identities kept for testing.", "0", metavar="F"),
    Option("images", str, (SPLIT,), "Also write the pairs as folders of PNG files.", metavar="DIR"),
    Option("shards", int, (SHARD,), "Number of training shards.", "about 128 MB each", metavar="N"),
    Option("noise", str, (SHARD,), "KIND:STRENGTH[,STRENGTH...], strengths 0 to 1, training subset only, one copy a "
           "strength; repeatable; `none` for none.", "gaussian:0.03,0.06,0.09,0.1 for pairs", repeatable=True, metavar="NOISE"),
    Option("keep-clean", bool, (SHARD,), "Keep the copy without noise too.", "keep-clean", negative="no-keep-clean"),
    Option("size", int, (SHARD,), "Side of the images in the shards, in pixels.", "64", metavar="PX"),
    Option("color", str, (SHARD,), "gray or rgb.", "gray for pairs, rgb for faces"),
    Option("encoding", str, (SHARD,), "raw, png or jpeg.", "raw"),
    Option("examples", str, (SHARD,), "pairs (feature and target) or faces (single faces, for GANs).", "pairs; `run`: both"),
    Option("seed", int, (SPLIT, SHARD), "Seed of every random choice.", "0", metavar="N"),
    Option("workers", int, (EXTRACT, SELECT, SPLIT, SHARD), "Processes to use.", "the usable cores", group=SPEED, metavar="N"),
    Option("engine", str, (EXTRACT, SHARD), "local processes, or a dask cluster.", "local", group=SPEED),
    Option("scheduler", str, (EXTRACT, SHARD), "Address of the Dask scheduler; without it a local cluster is started.",
           group=SPEED, metavar="ADDRESS"),
    Option("overwrite", bool, STAGES, "Replace what was made with other settings, or from images that are gone; what fits is kept.", group=LIMITS),
    Option("dry-run", bool, STAGES, "Say what would be done, and do nothing.", group=LIMITS),
)  # fmt: skip


def options_of(*stages: str) -> tuple[Option, ...]:
    """The options of these stages, in the order of the table."""
    return tuple(option for option in OPTIONS if set(option.stages) & set(stages))


def config_values(stage: str, given: dict[str, Any]) -> dict[str, Any]:
    """Turns options that were given (`name -> value`, None: not given) into keyword arguments of the stage's config."""
    from facepipe.config import Execution, PartOf

    values: dict[str, Any] = {}
    execution: dict[str, Any] = {}
    for option in options_of(stage):
        value = given.get(option.name)
        if value is None or (option.repeatable and not value):
            continue
        if option.target in EXECUTION_FIELDS:
            execution[option.target] = value
        elif option.name == "part-of":
            values[option.target] = PartOf.parse(str(value))
        else:
            values[option.target] = tuple(value) if option.repeatable else value
    values["execution"] = Execution(**execution)
    return values
