"""Teaches an autoencoder: shards -> feed -> fit -> evaluation, resumable after every epoch."""

from __future__ import annotations

import itertools
import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from train import backend, checkpoints
from train.callbacks import Keeper, Progress, groups_of
from train.config import in_whole_executions
from train.data import read_columns, read_examples, read_image, view_of
from train.feeds import check_apart, open_feed
from train.losses import loss_named
from train.models import warp
from train.models.autoencoders import build_model
from train.models.frontal import start_at_means
from train.recorder import Bar
from train.runs import CROPS, MODEL, Run
from train.shards import find_shards, need, parts_of_a_pass
from train.summary import FEW, HOLD_BACK, where_to_look
from train.trained_people import training_people, write_people

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from train.config import AutoencoderConfig
    from train.feeds import Feed
    from train.shards import Shards

SHOWN = 8
"""Identities in the grid."""
MEASURES = {"mse": keras.metrics.MeanSquaredError, "mae": keras.metrics.MeanAbsoluteError}


def train(config: AutoencoderConfig, say: Callable[[str], None]) -> Run:
    """Trains until the epochs are done or patience runs out, then evaluates; call after `backend.prepare`.

    Args:
        config: The resolved configuration.
        say: Takes each line for the user.

    Returns:
        The run's folder.

    Raises:
        FacepipeError: Its subclasses say what to do: shards that don't fit, another run in the folder, a full disk, a
            loss that is no number.
    """
    shards = find_shards(config.shards, config.examples)
    for note in shards.check_fits(view_of(config)):
        say(note)
    steps = config.steps_per_epoch or parts_of_a_pass(need(shards, "train"), config.batch_size)[1]
    config, note = in_whole_executions(config, steps)
    if note:
        say(note)
    run = Run.of(config, "autoencoder")
    with run.locked():
        run.check(config)
        model = _assemble(config, shards)
        progress = _restore(run, config, model, say)
        feeds = None
        if not progress.ended(config) or run.logged_epochs() < progress.epoch:
            feeds = _open_feeds(config, shards, progress, steps)
        people = training_people(config, shards)
        run.begin(config)  # whatever can be refused has been by now
        write_people(run, people)
        run.write_json(CROPS, shards.crops)
        run.write(MODEL, json.dumps(json.loads(model.to_json()), indent=1))
        if feeds is None:
            say(f"nothing is left to do: the best was epoch {progress.best_epoch} of {progress.epoch}")
        else:
            _fit(run, config, model, progress, shards, feeds, say)
        _finish(run, config, shards, say)
    return run


def _assemble(config: AutoencoderConfig, shards: Shards) -> keras.Model:
    """The model with its optimizer, whose slots exist already: a checkpoint would lose them else without a word."""
    with backend.spread(config):
        model = warp.teaching(build_model(config)) if config.family == "warp" else build_model(config)
        makers = {
            "adam": keras.optimizers.Adam,
            "adamw": keras.optimizers.AdamW,
            "rmsprop": keras.optimizers.RMSprop,
            "adadelta": keras.optimizers.Adadelta,
        }
        decay = {"weight_decay": config.weight_decay} if config.weight_decay else {}
        optimizer = makers[config.optimizer](config.learning_rate, **decay)
        model.compile(
            optimizer=optimizer,
            loss=_loss(config, shards),
            # Made here, not by the first step, which would be traced a second time for it.
            metrics=[measure(name=name) for name, measure in MEASURES.items() if config.loss not in (name, "flow")],
            jit_compile=config.jit if config.backend == "tensorflow" else "auto",
            steps_per_execution=config.steps_per_execution,
        )
        optimizer.build(model.trainable_variables)
    return model


def _loss(config: AutoencoderConfig, shards: Shards) -> str | Callable[[Any, Any], Any]:
    own = loss_named(config.loss)
    if not config.identity:
        return own
    from train.identity import with_identity
    from train.metrics.recognition import LOOKED_AT

    view = view_of(config).images[1]
    examples = itertools.islice(read_examples(shards, "train"), LOOKED_AT)
    targets = np.stack([read_image(example["target"][0], shards, view) for example in examples])
    return with_identity(keras.losses.get(own), config.identity, targets)


def _restore(run: Run, config: AutoencoderConfig, model: keras.Model, say: Callable[[str], None]) -> Progress:
    """The run's progress, its last checkpoint loaded into the model; a new run has none."""
    path = run.checkpoint("last")
    if not config.resume or not path.exists():
        return Progress()
    try:
        progress = Progress(**checkpoints.load(path, groups_of(model)))
    except TypeError as error:  # the state of something else
        raise checkpoints.damaged(path, error) from error
    if progress.stopped and progress.epoch - progress.best_epoch < config.patience:
        progress.stopped = False
    say(f"resuming after epoch {progress.epoch}")
    return progress


class Feeds(NamedTuple):
    """What a run learns from, what it is judged by, and the steps of an epoch."""

    training: Feed
    held_back: Feed | None
    steps: int


def _open_feeds(config: AutoencoderConfig, shards: Shards, progress: Progress, steps: int) -> Feeds:
    view = view_of(config)
    feed = open_feed(shards, "train", view, config, start_step=progress.epoch * steps)
    held_back = None
    if shards.lengths.get("validation"):
        held_back = open_feed(shards, "validation", replace(view, mirror=False, swap=0.0), config, training=False)
        check_apart(train=feed.arrays, validation=held_back.arrays)
    return Feeds(feed, held_back, steps)


def _fit(
    run: Run,
    config: AutoencoderConfig,
    model: keras.Model,
    progress: Progress,
    shards: Shards,
    feeds: Feeds,
    say: Callable[[str], None],
) -> None:
    feed, held_back, steps = feeds
    people = len(shards.identities.get("validation", ()))
    if held_back is None:
        say("no validation records: the best checkpoint is chosen by the training loss")
    elif 0 < people < FEW:
        say(
            f"validation holds {people} {'person' if people == 1 else 'people'}: so few that the best checkpoint and "
            f"the figures may be chance; hold more back ({HOLD_BACK})"
        )
    where = "streamed" if feed.arrays is None else "held in memory"
    held = f"{held_back.count:,} for validation" if held_back else "none for validation"
    if config.swap and feed.arrays is None:
        say("the pairs are streamed: each keeps its own target (raise cache_bytes to hold them in memory)")
    say(f"{config.preset}: {model.count_params():,} parameters, on {config.backend}, into {run.folder}")
    say(f"{feed.count:,} pairs for training ({where}), {held}; {steps} steps of {feed.batch_size} an epoch")
    if config.family == "residual" and not progress.epoch:
        start_at_means(model, feed)
    if config.family == "warp" and not progress.epoch:
        warp.start_at_flows(model, feed)
    keeper = Keeper(
        run, config, progress, _fixed_faces(config, shards, held_back), _levels(feed, held_back, config), say
    )
    keeper.set_model(model)
    keeper.recorder.catch_up(progress.history, progress.epoch, last=progress.ended(config))
    if progress.ended(config):
        return
    with feed.raising(), (held_back or feed).raising(), Bar(config.epochs, steps, progress.epoch, say) as keeper.bar:
        model.fit(
            iter(feed),
            epochs=config.epochs,
            initial_epoch=progress.epoch,
            steps_per_epoch=steps,
            validation_data=held_back,
            callbacks=[keeper],
            shuffle=False,  # the feed has shuffled
            verbose=0,
        )


def _fixed_faces(
    config: AutoencoderConfig, shards: Shards, held_back: Feed | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Features and targets of the first identities held back, the most turned face of each: every epoch's grid."""
    if held_back is None:
        return None
    columns = read_columns(shards, "validation", ("identity", "feature_yaw"))
    most: dict[bytes, tuple[float, int]] = {}
    for at, (identity, yaw) in enumerate(zip(columns["identity"], columns["feature_yaw"], strict=True)):
        turned = abs(yaw) if np.isfinite(yaw) else -1.0
        most[identity] = max(most.get(identity, (-2.0, at)), (turned, at))
    chosen = [at for _, at in list(most.values())[:SHOWN]]
    faces: dict[int, tuple[Any, Any]] = {}
    first = 0
    for features, targets in held_back:
        size = len(features)
        here = [at for at in chosen if first <= at < first + size]
        faces |= {at: (np.asarray(features[at - first]), np.asarray(targets[at - first])) for at in here}
        first += size
        if len(faces) == len(chosen):
            break
    features, targets = (np.stack([faces[at][i] for at in chosen]) for i in range(2))
    return (features / 255 if config.input_scale == "bytes" else features), targets[..., : config.channels]


def _levels(feed: Feed, held_back: Feed | None, config: AutoencoderConfig) -> dict[str, float]:
    """The validation loss of answering every face with the mean training target: a line in the loss plot."""
    if feed.arrays is None or held_back is None or config.family == "warp" or config.identity:
        return {}
    mean = feed.arrays.images[1].mean(axis=0, dtype=np.float64)[None].astype(np.float32) / 255
    loss = keras.losses.get(loss_named(config.loss))
    total = 0.0
    for _, targets in held_back:
        answer = np.broadcast_to(mean, np.asarray(targets).shape)
        total += float(
            keras.ops.sum(keras.ops.mean(keras.ops.reshape(loss(targets, answer), (len(targets), -1)), axis=1))
        )
    return {"mean target": total / held_back.count}


def _finish(run: Run, config: AutoencoderConfig, shards: Shards, say: Callable[[str], None]) -> None:
    """The evaluation on who was held back, and the summary page."""
    from train.evaluation import evaluate
    from train.summary import write_summary

    if shards.lengths.get("validation"):
        evaluate(run, config.shards, "validation", "best", say)
    else:
        write_summary(run)
    say(f"{config.preset} is trained; everything is in {run.folder}")
    folder = shlex.quote(str(run.folder))
    places = [
        ("look at, in a browser", f"{run.folder}/summary.html"),
        ("on a photograph", f"python -m train reconstruct {folder} PHOTOGRAPH"),
        ("for use elsewhere", f"python -m train export {folder} --format onnx"),
    ]
    for line in where_to_look(places):
        say(line)
