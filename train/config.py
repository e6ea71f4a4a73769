"""What a training run is told: one frozen class a kind of model, checked when made. Standard library only.

A value comes from the class's default, then the preset's table in presets.toml, then the command line
(`presets.resolve`). What is said with `_how` changes how a run is carried out, never what it computes: a resumed run
may have others.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from facepipe.errors import UsageError
from facepipe.options import Checked, option, options_of

LOSSES = ("mse", "mae", "bce", "ms-ssim-l1", "ms-ssim-mse", "flow")
FAMILIES = ("original", "archived-map", "archived-strided", "residual", "warp")
DROPOUTS = ("every", "alternate", "none")
SCHEDULES = ("plateau", "cosine")
OPTIMIZERS = ("adam", "adamw", "rmsprop", "adadelta")
FOUND = {"class_labels": "the faces' labels"}
"""Fields that no option sets, for a line."""
MOST_SEED = 2**32 - 1
"""numpy's global generator takes no larger one."""
RATE = {"low": 1e-12, "high": 1e38, "metavar": "RATE"}
COUNT = {"low": 1, "metavar": "N"}


def training(default: Any, text: str, **facts: Any) -> Any:
    """How the network is taught."""
    return option(default, text, "Training", **facts)


def network(default: Any, text: str, **facts: Any) -> Any:
    """What is taught."""
    return option(default, text, "Network", **facts)


def _how(default: Any, text: str, **facts: Any) -> Any:
    return option(default, text, "Machine", decides="", **facts)


# fmt: off
@dataclass(frozen=True, kw_only=True)
class TrainConfig(Checked):
    """What every run has, whatever it trains. Sizes in px."""

    preset: str = option("", "One of `python -m train presets`.", "Input", everyday=True, metavar="NAME")
    shards: str = _how("data/shards", "What `facepipe shard` wrote.", folder="shards", everyday=True, metavar="DIR")
    output: str = _how("", "The run's folder.", shown="DATA/runs/PRESET", names=("--output", "-o"), everyday=True, metavar="DIR")
    epochs: int = _how(50, "At most so many passes over the training subset.", names=("--epochs", "-e"), everyday=True, **COUNT)
    batch_size: int = training(64, "Images a step, over all devices together.", everyday=True, **COUNT)
    learning_rate: float = training(1e-3, "Of the optimizer.", everyday=True, **RATE)
    loss: str = training("mse", "What is made small.", everyday=True)
    channels: int = network(3, "1 (gray) or 3 (RGB).", low=1, high=3, metavar="N")
    steps_per_epoch: int = training(0, "Steps an epoch.", low=0, shown="one pass over the training subset", metavar="N")
    seed: int = training(0, "Seed of weights, order and dropout.", low=0, high=MOST_SEED, metavar="N")
    precision: str = training("float32", "float32, or bfloat16 (mixed).", choices=("float32", "bfloat16"))
    backend: str = option("tensorflow", "What Keras runs on.", "Machine", choices=("tensorflow", "jax"))
    jit: bool = option(False, "Compile the step with XLA; JAX always does.", "Machine", negative="--no-jit")
    deterministic: bool = option(False, "The same bits on every run on this machine; slower on GPUs.", "Machine", negative="--no-deterministic")
    cache_bytes: int = option(2**31, "Subsets smaller than this, decoded, are held in memory.", "Machine", low=0, metavar="N")
    devices: int = _how(0, "Local GPUs to use.", low=0, shown="all", metavar="N")
    steps_per_execution: int = _how(1, "Steps between two returns to Python.", **COUNT)
    resume: bool = _how(False, "Go on where the run in the output folder stopped.")
    overwrite: bool = _how(False, "Drop the run in the output folder.")

    def __post_init__(self) -> None:
        """Checks every option, then what they mean together."""
        super().__post_init__()
        if "://" in self.output:
            raise UsageError(f"the run would go to {self.output}; a run is written to a local disk: give -o FOLDER")
        if self.channels == 2:
            raise UsageError("--channels is 2; it can be 1 (gray) or 3 (RGB)")
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


Config = TypeVar("Config", bound=TrainConfig)


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(TrainConfig):
    """A side face in, a frontal face out. Filters outermost first."""

    loss: str = training("mse", "What is made small.", choices=LOSSES, everyday=True)
    family: str = network("original", "Of networks.", choices=FAMILIES)
    input_size: int = network(64, "Side of the features, in pixels.", metavar="PX")
    output_size: int = network(64, "Side of the outputs, in pixels.", metavar="PX")
    channels: int = network(1, "1 (gray) or 3 (RGB).", low=1, high=3, metavar="N")
    encoder: tuple[int, ...] = network((128, 64, 32), "Filters of the encoder's blocks.", low=1, metavar="N,N,...")
    decoder: tuple[int, ...] = network((), "Filters of the decoder's blocks.", low=1, shown="the encoder's, reversed", metavar="N,N,...")
    latent: int = network(256, "Numbers of the latent vector.", **COUNT)
    dropout: str = network("every", "every: 0.1 after each block and 0.2 after Flatten; alternate: 0.2 after every other block.", choices=DROPOUTS)
    dropout_rate: float = network(-1.0, "This rate in every place that --dropout names.", shown="-1: its own rates", low=0, high=0.999999)
    input_scale: str = network("unit", "unit 0..1, or bytes 0..255.", choices=("unit", "bytes"))
    legacy_output: bool = network(False, "The original's output bug, a ReLU before the sigmoid: no pixel below 0.5.", negative="--no-legacy-output")
    optimizer: str = training("adam", "Of the weights.", choices=OPTIMIZERS)
    weight_decay: float = training(0.0, "Of the optimizer.", low=0)
    identity: float = training(0.0, "Weight in the loss of how unlike the person the output is to facepipe's identity embedding.", low=0)
    mirror: bool = training(False, "Mirror half of the training pairs, feature and target together.", negative="--no-mirror")
    swap: float = training(0.0, "Share of the training pairs whose target is another nearly frontal face of the person.", low=0, high=1)
    patience: int = training(10, "Epochs without a better validation loss before the run stops; 0: never.", low=0, metavar="N")
    schedule: str = training("plateau", "Learning rate: cut where the validation loss stays, or down to nothing along half a cosine over --epochs.", choices=SCHEDULES)
    plateau: int = training(4, "Epochs without a better validation loss before the learning rate is cut; 0: never.", low=0, metavar="N")
    plateau_factor: float = training(0.5, "What the learning rate is cut by.", low=1e-6, high=0.999999)
    minimum_learning_rate: float = training(1e-6, "The lowest that it is cut to.", metavar="RATE")
    # fmt: on

    def __post_init__(self) -> None:
        """Checks every option."""
        super().__post_init__()
        if not self.encoder:
            raise UsageError("encoder takes one or more filter counts, such as --set encoder=[128,64,32]")
        if (self.loss == "flow") != (self.family == "warp"):
            raise UsageError(f"loss {self.loss} is not for the family {self.family}: warp and flow belong together")
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
    def examples(self) -> str:
        """What of the shards it is taught with."""
        return "turned" if self.family == "warp" else "pairs"

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
    values, options = to_json(new), options_of(type(new))
    old = {name: list(one.default) if isinstance(one.default, tuple) else one.default for name, one in options.items()} | old
    computed = [name for name, one in options.items() if one.decides]
    if values.get("schedule") == "cosine":
        computed.append("epochs")
    return [_change(name, old.get(name), values[name]) for name in computed if old.get(name) != values[name]]


def _change(name: str, old: Any, new: Any) -> str:
    """A field's two values, as the command line has them."""
    flag = name.replace("_", "-")
    if isinstance(new, bool):
        return " -> ".join(f"--{flag}" if value else f"--no-{flag}" for value in (old, new))
    said = FOUND.get(name, f"--{flag}")
    return f"{said} {_word(old)} -> {_word(new)}"


def _word(value: Any) -> str:
    return ",".join(map(str, value)) or "none" if isinstance(value, (list, tuple)) else str(value)
