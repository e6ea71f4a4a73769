"""One training step, written once on Keras: what a backend does differently stands in its adapter.

A step is `d_steps` discriminator steps, each on fresh fakes and reals, then one generator step, then the average
generator's. Batch statistics change only in the network that is being taught.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import keras
from keras import ops

from train.gan import losses, penalties
from train.gan.augmentation import augmented
from train.models.layers import spectral_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from train.gan.config import GanConfig

RELATIVISTIC = "relativistic"
Tensor = Any
Batch = dict[str, Tensor]
"""`draws.draw_step`'s numbers, `images` (k, b, h, w, c) uint8 and, with classes, `label` (k, b) int32."""
Measures = dict[str, Tensor]


class Gradients(Protocol):
    """What a backend's adapter does."""

    def of_loss(
        self, loss: Callable[[], tuple[Tensor, Measures]], network: keras.Model, beside: tuple[keras.Model, ...]
    ) -> tuple[list[Tensor], Measures]:
        """Gradients of `loss` by the network's trainable variables; its other variables' changes are kept.

        `beside` are the other networks that the loss calls.
        """

    def of_images(self, score: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """The gradient of the sum of scores by the images, itself differentiable."""


@dataclass
class Networks:
    """Everything that learns: the networks, the generator's average and the two optimizers."""

    generator: keras.Model
    discriminator: keras.Model
    average: keras.Model | None
    g_optimizer: keras.optimizers.Optimizer
    d_optimizer: keras.optimizers.Optimizer

    def groups(self) -> dict[str, list[keras.Variable]]:
        """All state by name: what a checkpoint holds."""
        averages = {} if self.average is None else {"average": self.average.variables}
        return {
            "generator": self.generator.variables,
            "discriminator": self.discriminator.variables,
            **averages,
            "g_optimizer": self.g_optimizer.variables,
            "d_optimizer": self.d_optimizer.variables,
        }

    def variables(self) -> list[keras.Variable]:
        """All state in one order."""
        return [v for group in self.groups().values() for v in group]


@contextmanager
def unchanged(*models: keras.Model) -> Iterator[None]:
    """Within it, the models compute as usual but their variables' changes (batch statistics) are dropped."""
    present = [(v, v.value) for model in models for v in model.variables]
    with keras.StatelessScope(present, initialize_variables=False):
        yield


def pixels(images: Tensor) -> Tensor:
    """uint8 0..255 -> float32 -1..1."""
    return ops.cast(images, "float32") / 127.5 - 1.0


class Step:
    """One step of training. `take` changes the networks' variables and returns float32 scalars by name.

    d_loss, g_loss (all terms); d_real, d_fake: mean scores; right_real, right_fake: the share of pictures that the
    discriminator calls right (wasserstein-gp, relativistic: against the midpoint of both means).
    """

    def __init__(self, config: GanConfig, networks: Networks, gradients: Gradients) -> None:
        self.config, self.networks, self.gradients = config, networks, gradients

    def take(self, batch: Batch) -> Measures:
        """See the class."""
        for k in range(self.config.d_steps):
            measures, real_features = self._teach_discriminator(batch, k)
        measures |= self._teach_generator(batch, real_features)
        self._average(batch)
        return measures

    def _teach_discriminator(self, batch: Batch, k: int) -> tuple[Measures, Tensor]:
        nets = self.networks
        for layer in spectral_layers(nets.discriminator):
            layer.iterate()
        real = pixels(batch["images"][k])
        real = self._augment(real, batch, "augment_real", k)
        labels = [batch["label"][k]] if self.config.classes else []
        drawn = [batch["label_d"][k]] if self.config.classes else []
        with unchanged(nets.generator):
            fake = ops.stop_gradient(nets.generator([batch["z_d"][k], *drawn], training=True))
        fake = self._augment(fake, batch, "augment_fake", k)

        def loss() -> tuple[Tensor, Measures]:
            return self._discriminator_loss((real, labels), (fake, drawn), batch, k)

        gradients, measures = self.gradients.of_loss(loss, nets.discriminator, ())
        nets.d_optimizer.apply(gradients, nets.discriminator.trainable_variables)
        return measures, measures.pop("features")

    def _discriminator_loss(
        self, reals: tuple[Tensor, list[Tensor]], fakes: tuple[Tensor, list[Tensor]], batch: Batch, k: int
    ) -> tuple[Tensor, Measures]:
        config, judge = self.config, self.networks.discriminator
        (real, labels), (fake, drawn) = reals, fakes
        real_score, features = judge([real, *labels], training=True)
        fake_score, _ = judge([fake, *drawn], training=True)
        real_score, fake_score = real_score[:, 0], fake_score[:, 0]
        compared = real_score - fake_score if config.loss == RELATIVISTIC else real_score
        loss = losses.discriminator_loss(config.loss, compared, self._targets(batch, k, real=True))
        if config.loss != RELATIVISTIC:
            loss = loss + losses.discriminator_loss(config.loss, fake_score, self._targets(batch, k, real=False))
        measures = _called(config.loss, real_score, fake_score)
        if config.loss == "wasserstein-gp":
            middle = penalties.between(real, fake, batch["share"][k])
            loss = loss + config.gp_weight * penalties.gradient_penalty(self._slope(middle, labels))
        if config.r1:
            loss = loss + config.r1 * penalties.r1_penalty(self._slope(real, labels))
        if config.r2:
            loss = loss + config.r2 * penalties.r1_penalty(self._slope(fake, drawn))
        return loss, {"d_loss": loss, **measures, "features": ops.stop_gradient(features)}

    def _targets(self, batch: Batch, k: int, *, real: bool) -> Tensor:
        config, name = self.config, "flip_real" if real else "flip_fake"
        flipped = batch[name][k] if config.flip_labels else ops.zeros((config.batch_size,))
        two_sided = config.smoothing == "two-sided"
        return losses.targets(config.label_smoothing, flipped, real=real, two_sided=two_sided)

    def _slope(self, images: Tensor, labels: list[Tensor]) -> Tensor:
        """The gradient of the discriminator's score by the images; its batch statistics stay as they are."""
        judge = self.networks.discriminator

        def score(pictures: Tensor) -> Tensor:
            with unchanged(judge):
                return judge([pictures, *labels], training=True)[0]

        return self.gradients.of_images(score, images)

    def _teach_generator(self, batch: Batch, real_features: Tensor) -> Measures:
        config, nets = self.config, self.networks
        for layer in spectral_layers(nets.generator):
            layer.iterate()
        labels = [batch["label_g"]] if config.classes else []
        against = self._real_score(batch) if config.loss == RELATIVISTIC else 0.0

        def loss() -> tuple[Tensor, Measures]:
            fake = nets.generator([batch["z_g"], *labels], training=True)
            fake = self._augment(fake, batch, "augment_g")
            with unchanged(nets.discriminator):
                score, features = nets.discriminator([fake, *labels], training=True)
            total = losses.generator_loss(config.loss, score[:, 0] - against)
            if config.feature_matching:
                total = total + config.feature_matching * losses.feature_matching(real_features, features)
            return total, {"g_loss": total}

        gradients, measures = self.gradients.of_loss(loss, nets.generator, (nets.discriminator,))
        nets.g_optimizer.apply(gradients, nets.generator.trainable_variables)
        return measures

    def _real_score(self, batch: Batch) -> Tensor:
        """What the discriminator, as it is now, says of the last real pictures that it was shown."""
        judge, k = self.networks.discriminator, self.config.d_steps - 1
        real = self._augment(pixels(batch["images"][k]), batch, "augment_real", k)
        labels = [batch["label"][k]] if self.config.classes else []
        with unchanged(judge):
            return ops.stop_gradient(judge([real, *labels], training=True)[0][:, 0])

    def _average(self, batch: Batch) -> None:
        """Moves the average generator towards the generator (Yazici et al. 2019, arXiv:1806.04498)."""
        average = self.networks.average
        if average is None:
            return
        for old, new in zip(average.variables, self.networks.generator.variables, strict=True):
            old.assign(batch["decay"] * old.value + (1.0 - batch["decay"]) * new.value)
        for layer in spectral_layers(average):
            layer.iterate()

    def _augment(self, images: Tensor, batch: Batch, name: str, *index: int) -> Tensor:
        if not self.config.diff_augment:
            return images
        numbers = batch[name][index[0]] if index else batch[name]
        return augmented(images, numbers, self.config.diff_augment)


def _called(loss: str, real: Tensor, fake: Tensor) -> Measures:
    """What the discriminator calls the pictures, from (batch,) scores."""
    d_real, d_fake = ops.mean(real), ops.mean(fake)
    middle = losses.THRESHOLDS.get(loss, 0.5 * (d_real + d_fake))
    right_real = ops.mean(ops.cast(real > middle, "float32"))
    right_fake = ops.mean(ops.cast(fake < middle, "float32"))
    return {"d_real": d_real, "d_fake": d_fake, "right_real": right_real, "right_fake": right_fake}
