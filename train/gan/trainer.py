"""Trains a GAN: batches in, a run folder out."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from facepipe.errors import FacepipeError
from train import backend, checkpoints
from train.data import view_of
from train.feeds import open_feed
from train.gan import batches
from train.gan.assembly import assemble, make_step, parameters
from train.gan.sampling import draw_faces
from train.gan.watcher import Watcher
from train.metrics.distribution import sliced_wasserstein
from train.pictures import animate, curves_of, plot, tile
from train.recorder import Bar, Recorder
from train.runs import Run
from train.shards import find_shards
from train.summary import where_to_look, write_summary
from train.trained_people import training_people, write_people

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from train.gan.config import GanConfig
    from train.gan.watcher import Trouble

LOOK = 10
"""Steps between looks at the measures: each look waits for the device."""
DIRECTIONS = 128
"""Of the distance measured each epoch; `evaluate` takes more."""


def train(config: GanConfig, say: Callable[[str], None] = print) -> Run:
    """Trains into `config.run_folder`, or goes on there with `config.resume`; `say` takes lines for the person.

    Writes config.json, model.json, log.csv (a row an epoch), checkpoints/last.npz and best.npz (the nearest to real
    faces by sliced Wasserstein distance), grids/ (the same latents each epoch), grids.gif, loss.png, events/ and
    summary.html.

    Raises:
        FacepipeError: Losses or weights are no finite numbers any more; the last good checkpoint stands.
        InputError, DamagedFile, OutputError, SettingsChanged: As the shards and the run's folder say.
    """
    backend.prepare(config)
    shards = find_shards(config.shards, "faces")
    view = view_of(config)
    notes = shards.check_fits(view)
    run = Run.of(config, "gan")
    with run.locked():
        state = _state_of(run, config)
        feed = open_feed(shards, "train", view, config, start_step=state["step"] * config.d_steps)
        labels, frequencies = batches.find_labels(config, shards, feed)
        config = replace(config, class_labels=labels, batch_size=feed.batch_size)
        run = Run.of(config, "gan")
        run.check(config)
        if config.epochs <= state["epoch"] <= run.logged_epochs():
            if not (run.folder / "summary.html").exists():  # killed at the very end
                write_summary(run)
            _tell_end(run, _nothing_left(run, state["epoch"]), say)
            return run
        for note in notes:
            say(note)
        real, others = batches.real_faces(config, shards, feed, config.measured)
        steps = batches.step_batches(config, feed, frequencies, state["step"])
        training = Training(config, run, real, others, state, say)
        people = training_people(config, shards)
        run.begin(config)  # whatever can be refused has been by now
        write_people(run, people)
        training.go(steps, batches.steps_of_an_epoch(config, feed))
    write_summary(run)
    _tell_end(run, f"{config.preset} is trained", say)
    return run


def _tell_end(run: Run, said: str, say: Callable[[str], None]) -> None:
    say(f"{said}; everything is in {run.folder}")
    folder = shlex.quote(str(run.folder))
    places = [
        ("look at, in a browser", f"{run.folder}/summary.html"),
        ("faces of the same latents", f"{run.folder}/grids.gif, epoch by epoch (single ones in grids/)"),
        ("more faces", f"python -m train sample {folder} --count 64 --grid"),
        ("how near to real ones", f"python -m train evaluate {folder}"),
    ]
    for line in where_to_look(places):
        say(line)


def _nothing_left(run: Run, epochs: int) -> str:
    best = run.checkpoint("best")
    known = f": the best was epoch {checkpoints.load_state(best)['epoch']} of {epochs}" if best.exists() else ""
    return f"nothing is left to do{known}"


def _state_of(run: Run, config: GanConfig) -> dict[str, Any]:
    """Where the run to go on with stands; a new one at the start."""
    found: dict[str, Any] = {}
    if config.resume and run.checkpoint("last").exists():
        found = checkpoints.load_state(run.checkpoint("last"))
        if Run.open(run.folder).kind == "gan" and not {"epoch", "step", "rows", "troubles"} <= found.keys():
            raise checkpoints.damaged(run.checkpoint("last"), "its state is not a GAN's")
    # An autoencoder's state knows no steps; `Run.check` refuses its folder.
    return found if "step" in found else {"epoch": 0, "step": 0, "rows": [], "troubles": []}


class Training:
    """One run in the making.

    Args:
        config: Resolved: with the shards' labels and a batch that fits.
        folder: Where everything goes.
        real: (n, h, w, c) uint8, real faces to compare samples with.
        others: (n, h, w, c) uint8, other real faces, to show how near to them real ones come.
        state: What the last checkpoint said: `epoch` and `step` done, `rows` of the log, `troubles` named.
        say: Takes lines for the person.
    """

    def __init__(
        self,
        config: GanConfig,
        folder: Run,
        real: NDArray[np.uint8],
        others: NDArray[np.uint8],
        state: dict[str, Any],
        say: Callable[[str], None] = print,
    ) -> None:
        self.config, self.folder, self.real, self.state, self.say = config, folder, real, state, say
        self.networks = assemble(config)
        if state["epoch"]:
            checkpoints.load(folder.checkpoint("last"), self.networks.groups())
        self.step = make_step(config, self.networks)
        self.watcher = Watcher(config, real)
        self.recorder: Recorder
        noise = np.random.default_rng(0).integers(0, 256, real.shape, dtype=np.uint8)
        # The distance of like sets grows as they get smaller: only sets of one size can stand beside each other.
        self.known = {"swd_real": self._distance(others), "swd_noise": self._distance(noise)}

    def go(self, steps: Iterator[dict[str, Any]], steps_of_an_epoch: int) -> None:
        """All epochs that are left, and the record of one that was cut short; nothing is written before."""
        state, epochs = self.state, self.config.epochs
        self.recorder = Recorder(self.folder, epochs, "samples", self._grid, self._plots)
        self._describe(steps_of_an_epoch)
        if not state["epoch"]:
            # The first row tells where it started from.
            state["rows"] = [{"epoch": 0, "step": 0, **self._compare(0)}]
            self.recorder.draw_grid(0, 0)
        self.recorder.catch_up(state["rows"], state["step"])
        with Bar(epochs, steps_of_an_epoch, state["epoch"], self.say) as bar:
            for epoch in range(state["epoch"], epochs):
                began, cpu = time.perf_counter(), time.process_time()
                measures = self._one_epoch(epoch, steps, steps_of_an_epoch, bar)
                row = {"epoch": epoch + 1, "step": state["step"], **measures}
                row["images"] = state["step"] * self.config.batch_size * self.config.d_steps
                row["seconds"], row["cpu_seconds"] = time.perf_counter() - began, time.process_time() - cpu
                self._finish(row)

    def _describe(self, steps_of_an_epoch: int) -> None:
        nets = self.networks
        self.folder.write("model.json", nets.generator.to_json(indent=2))
        self.folder.write("discriminator.json", nets.discriminator.to_json(indent=2))
        labels = f", {self.config.classes} classes" if self.config.classes else ""
        length = f"{steps_of_an_epoch} steps of {self.config.batch_size} an epoch"
        self.say(
            f"{self.config.preset}: generator {parameters(nets.generator):,} parameters, discriminator "
            f"{parameters(nets.discriminator):,}{labels}; {length}"
        )

    def _one_epoch(self, epoch: int, steps: Iterator[dict[str, Any]], count: int, bar: Bar) -> dict[str, float]:
        """Means of all measures; troubles are named as they happen."""
        rows: list[dict[str, float]] = []
        waiting: list[dict[str, Any]] = []
        bar.at(epoch, 0)
        for number in range(count):
            waiting.append(self.step(next(steps)))
            if len(waiting) == LOOK or number + 1 == count:
                looked = [{name: float(value) for name, value in measures.items()} for measures in waiting]
                self._look(looked)
                rows += looked
                waiting = []
                bar.at(epoch, number + 1, {name: looked[-1][name] for name in ("d_loss", "g_loss", "d_real", "d_fake")})
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def _look(self, looked: list[dict[str, float]]) -> None:
        for measures in looked:
            self._name(self.watcher.see_step(self.state["step"], measures))
            self.state["step"] += 1
        means = {name: float(np.mean([measures[name] for measures in looked])) for name in looked[0]}
        self.recorder.by_step |= means.keys()
        self.recorder.events.scalars(means, self.state["step"])

    def _name(self, troubles: list[Trouble]) -> None:
        """Into the log; a run whose numbers are none ends."""
        for trouble in troubles:
            if trouble.name == "not-finite":
                raise FacepipeError(f"{trouble.text}; the checkpoint of epoch {self.state['epoch']} stands")
            self.say(f"warning: {trouble.text}")
            self.state["troubles"].append({"name": trouble.name, "step": trouble.step, "text": trouble.text})

    def _finish(self, row: dict[str, float]) -> None:
        """Samples, measures, checkpoint, pictures, log: in this order, so that what the log tells of is there."""
        self.step.settle()
        epoch = int(row["epoch"])
        row |= self._compare(epoch)
        self.state["epoch"] = epoch
        self.state["rows"].append(row)
        self._save(row)
        self.recorder.record(self.state["rows"], self.state["step"])
        self.say(
            f"epoch {epoch}/{self.config.epochs}: d_loss {row['d_loss']:.4g}, g_loss {row['g_loss']:.4g}, sliced "
            f"Wasserstein distance {row['swd']:.1f} (real against real {row['swd_real']:.1f}, noise "
            f"{row['swd_noise']:.1f})"
        )

    def _compare(self, epoch: int) -> dict[str, float]:
        """Samples beside real faces: their variety and their distance; a collapse is named."""
        samples = self._samples(self.config.measured, 5)
        troubles, variety = self.watcher.see_samples(self.state["step"], epoch, samples)
        self._name(troubles)
        return variety | {"swd": self._distance(samples), **self.known}

    def _save(self, row: dict[str, float]) -> None:
        groups = self.networks.groups()
        if not all(np.isfinite(np.asarray(v.value)).all() for group in groups.values() for v in group):
            raise FacepipeError(
                f"weights are no finite numbers after epoch {row['epoch']}; the checkpoint before it stands; "
                f"try a lower --learning-rate"
            )
        state = {**self.state, "seed": self.config.seed}
        # Row 0 is the untrained generator's, which no checkpoint holds.
        nearer = any(r["swd"] < row["swd"] for r in self.state["rows"] if r["epoch"])
        best = not nearer or not self.folder.checkpoint("best").exists()
        self.recorder.save(groups, state, groups if best else None)

    def _samples(self, count: int, stream: int) -> NDArray[np.uint8]:
        """Faces of the averaged generator from latents that are the same at every call."""
        return draw_faces(self.networks.average or self.networks.generator, self.config, count, stream)

    def _grid(self) -> NDArray[np.uint8]:
        return tile(self._samples(self.config.samples, 2))

    def _plots(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
        """The losses, the discriminator's scores and the distance over the epochs; the grids' animation."""
        panels = {
            "loss": {"d_loss": "discriminator", "g_loss": "generator"},
            "discriminator's score": {"d_real": "on real faces", "d_fake": "on generated faces"},
            "SW distance x 1000": {"swd": "samples", "swd_real": "real against real"},
        }
        grids = sorted((self.folder.folder / "grids").glob("epoch-*.png"))
        drawn = plot({title: curves_of(rows, names) for title, names in panels.items()}, {}, self.config.preset)
        return {"loss.png": drawn, "grids.gif": animate(grids)}

    def _distance(self, images: NDArray[np.uint8]) -> float:
        """From the real faces, the mean over the levels."""
        count = min(len(images), len(self.real))
        if count < 2:
            return float("nan")
        levels = sliced_wasserstein(images[:count], self.real[:count], directions=DIRECTIONS)
        return float(np.mean(list(levels.values())))
