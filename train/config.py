"""What a training run is told: one frozen dataclass a kind of model, checked when made. Standard library only.

A value comes from the class's default, then the preset's table in presets.toml, then the command line
(`presets.resolve`). Fields marked `how` change how a run is carried out, never what it computes: a resumed run may
have others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from facepipe.errors import UsageError

BACKENDS = ("tensorflow", "jax")
PRECISIONS = ("float32", "bfloat16")
LOSSES = ("mse", "mae", "bce", "ms-ssim-l1", "ms-ssim-mse")
SCHEDULES = ("plateau", "cosine")
OPTIMIZERS = ("adam", "adamw", "rmsprop", "adadelta")
FAMILIES = ("original", "archived-map", "archived-strided", "residual")
DROPOUTS = ("every", "alternate", "none")
FOUND = {"class_labels": "the faces' labels"}
"""Fields that no option sets, for a line."""
MOST_SEED = 2**32 - 1
"""numpy's global generator takes no larger one."""


def option(
    default: Any,
    told: str = "",
    *,
    how: bool = False,
    among: tuple[str, ...] = (),
    least: float | None = None,
    below: float | None = None,
) -> Any:
    """A field and its rule: the words it can be, its least value, the value it stays below.

    `told` is its line in --help; fields without one are listed there with their values. `how`: see above.
    """
    return field(default=default, metadata={"told": told, "how": how, "among": among, "least": least, "below": below})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What every run has, whatever it trains."""

    preset: str = option("", "One of `python -m train presets`.")
    shards: str = option("data/shards", "What `facepipe shard` wrote. [DATA/shards]", how=True)
    output: str = option("", "The run's folder. [DATA/runs/PRESET]", how=True)
    epochs: int = option(50, "At most so many; the preset's own unless given.", how=True, least=1)
    steps_per_epoch: int = option(0, "Steps an epoch. [one pass over the training subset]", least=0)
    batch_size: int = option(64, "Images a step, over all devices together.", least=1)
    learning_rate: float = option(1e-3, "Of the optimizer.")
    loss: str = "mse"
    seed: int = option(0, "Of weights, order and dropout. [0]", least=0)
    backend: str = option("tensorflow", "tensorflow or jax. [tensorflow]", among=BACKENDS)
    precision: str = option("float32", "float32 or bfloat16 (mixed). [float32]", among=PRECISIONS)
    jit: bool = option(False, "Compile the step with XLA; JAX always does.")
    devices: int = option(0, "Local GPUs to use. [all]", how=True, least=0)
    steps_per_execution: int = option(1, "Steps between two returns to Python. [1]", how=True, least=1)
    deterministic: bool = option(False, "The same bits on every run on this machine; slower on GPUs.")
    cache_bytes: int = option(2**31, least=0)
    """Subsets smaller than this, decoded, are held in memory as uint8."""
    resume: bool = option(False, "Go on where the run in the output folder stopped.", how=True)
    overwrite: bool = option(False, "Drop the run in the output folder.", how=True)

    def __post_init__(self) -> None:
        """Checks every field's rule, then what they mean together."""
        for each in fields(self):
            _check(f"--{each.name.replace('_', '-')}", getattr(self, each.name), **each.metadata)
        if "://" in self.output:
            raise UsageError(f"the run would go to {self.output}; a run is written to a local disk: give -o FOLDER")
        if self.seed > MOST_SEED:
            raise UsageError(f"--seed is {self.seed}; give 0 to {MOST_SEED}")
        if not 0 < self.learning_rate < float("inf"):
            raise UsageError(f"--learning-rate is {self.learning_rate:g}; give a number above 0, such as 0.001")
        if self.resume and self.overwrite:
            raise UsageError("--resume goes on with a run and --overwrite drops it; give one of them")
        steps = self.steps_per_epoch
        if steps and steps % self.steps_per_execution:
            raise UsageError(
                f"--steps-per-epoch {steps} is no multiple of --steps-per-execution {self.steps_per_execution}"
            )

    @property
    def run_folder(self) -> str:
        """Where the run's files go."""
        return self.output or f"data/runs/{self.preset}"


def _check(
    name: str,
    given: Any,
    among: tuple[str, ...] = (),
    least: float | None = None,
    below: float | None = None,
    **_: object,
) -> None:
    """Refuses a value, or one of several, that breaks its field's rule (NaN does)."""
    for value in given if isinstance(given, tuple) else (given,):
        if among and value not in among:
            raise UsageError(f"{name} is {value!r}; it can be {', '.join(among)}")
        if least is not None and not (least <= value and (below is None or value < below)):
            raise UsageError(
                f"{name} is {value:g}; give {least:g} " + ("or more" if below is None else f"to below {below:g}")
            )


Config = TypeVar("Config", bound=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(TrainConfig):
    """A side face in, a frontal face out. Sizes in px; filters outermost first."""

    loss: str = option("mse", f"Of the model: {', '.join(LOSSES)}.", among=LOSSES)
    family: str = option("original", among=FAMILIES)
    input_size: int = 64
    output_size: int = 64
    channels: int = 1
    encoder: tuple[int, ...] = option((128, 64, 32), least=1)
    decoder: tuple[int, ...] = option((), least=1)
    """Empty: the encoder's reversed."""
    latent: int = option(256, least=1)
    dropout: str = option("every", among=DROPOUTS)
    """`every`: 0.1 after each block and 0.2 after Flatten; `alternate`: 0.2 after every other block."""
    dropout_rate: float = -1.0
    """-1: the rule's own rates; else this rate in every place the rule names."""
    optimizer: str = option("adam", among=OPTIMIZERS)
    weight_decay: float = option(0.0, least=0)
    input_scale: str = option("unit", among=("unit", "bytes"))
    """`unit` 0..1, or `bytes` 0..255."""
    legacy_output: bool = option(False, "The original's output bug, a ReLU before the sigmoid: no pixel below 0.5.")
    mirror: bool = False
    """Mirror half of the training pairs, feature and target together."""
    swap: float = 0.0
    """Share of the training pairs whose target is another nearly frontal face of the person: see `order`."""
    patience: int = option(10, least=0)
    """Epochs without a better validation loss before the run stops; 0: never."""
    schedule: str = option("plateau", among=SCHEDULES)
    """`plateau`: cut where the validation loss stays; `cosine`: down to nothing along half a cosine over `epochs`."""
    plateau: int = option(4, least=0)
    """Epochs without a better validation loss before the learning rate is cut; 0: never."""
    plateau_factor: float = 0.5
    minimum_learning_rate: float = 1e-6

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        if self.channels not in {1, 3}:
            raise UsageError(f"channels is {self.channels}; it can be 1 (gray) or 3 (RGB)")
        if not self.encoder:
            raise UsageError("encoder takes one or more filter counts, such as --set encoder=[128,64,32]")
        if self.dropout_rate != -1 and not 0 <= self.dropout_rate < 1:
            raise UsageError(f"dropout_rate is {self.dropout_rate:g}; give 0 to below 1, or -1 for the preset's own")
        if not 0 < self.plateau_factor < 1:
            raise UsageError(f"plateau_factor is {self.plateau_factor:g}; give a number between 0 and 1")
        if not 0 <= self.swap <= 1:
            raise UsageError(f"swap is {self.swap:g}; give a share of 0 to 1")
        if self.swap and self.input_size != self.output_size:
            raise UsageError(
                f"swap takes features as targets: output_size must be input_size {self.input_size}; or --set swap=0"
            )
        self._check_sizes()

    def _check_sizes(self) -> None:
        """The bottom of the network must be whole pixels, and its doublings must meet the output's size."""
        halvings, doublings = len(self.encoder), len(self.decoder_filters)
        if self.input_size < 1 or self.input_size % 2**halvings:
            raise UsageError(
                f"input_size {self.input_size} does not halve {halvings} times; give a multiple of {2**halvings}"
            )
        if self.family == "residual" and self.input_size % 4:
            raise UsageError(f"input_size {self.input_size} has no whole quarter; give a multiple of 4")
        reached = (self.input_size >> halvings) << doublings
        if reached != self.output_size:
            raise UsageError(
                f"{halvings} encoder and {doublings} decoder blocks turn {self.input_size} px into {reached}, "
                f"not output_size {self.output_size}; change one of them"
            )

    @property
    def decoder_filters(self) -> tuple[int, ...]:
        """The decoder's filters, in the order they are applied."""
        return self.decoder or self.encoder[::-1]


def in_whole_executions(config: Config, steps: int) -> tuple[Config, str]:
    """The configuration with `steps_per_execution` no larger than fits an epoch of `steps` evenly, and a note on it.

    A last execution that is not full would be filled with steps of the next epoch. The note is empty where it fits.
    """
    wanted = config.steps_per_execution
    fitting = max(number for number in range(1, min(wanted, steps) + 1) if steps % number == 0)
    if fitting == wanted:
        return config, ""
    note = f"--steps-per-execution {wanted} does not divide the {steps} steps of an epoch; {fitting} is taken"
    return replace(config, steps_per_execution=fitting), note


def to_json(config: TrainConfig) -> dict[str, Any]:
    """Every field by name, JSON-ready; `presets.from_json` reads it back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()}


def what_differs(old: dict[str, Any], new: TrainConfig) -> list[str]:
    """`--option old -> new` for every field that changes what a run computes; one that `old` lacks had its default."""
    values = to_json(new)
    old = {name: list(v) if isinstance(v, tuple) else v for name, v in _defaults(new).items()} | old
    computed = [f.name for f in fields(new) if not f.metadata.get("how")]
    if values.get("schedule") == "cosine":
        computed.append("epochs")
    return [_change(name, old.get(name), values[name]) for name in computed if old.get(name) != values[name]]


def _change(name: str, old: Any, new: Any) -> str:
    """A field's two values, as the command line has them."""
    option = name.replace("_", "-")
    if isinstance(new, bool):
        return " -> ".join(f"--{option}" if value else f"--no-{option}" for value in (old, new))
    said = FOUND.get(name, f"--{option}")
    return f"{said} {word(old)} -> {word(new)}"


def word(value: Any) -> str:
    """A field's value as it can be given on a command line."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _defaults(config: TrainConfig) -> dict[str, Any]:
    return {f.name: f.default for f in fields(config)}
