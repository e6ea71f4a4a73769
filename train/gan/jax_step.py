"""The training step on JAX: one pure function from (all variables, batch) to (all variables, measures)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import keras

from train import backend
from train.gan.step import Batch, Measures, Networks, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from train.gan.config import GanConfig
    from train.gan.step import Tensor


class TracedGradients:
    """`step.Gradients` by jax.grad, inside a StatelessScope that carries the variables' present values."""

    def of_loss(
        self, loss: Callable[[], tuple[Tensor, Measures]], network: keras.Model, beside: tuple[keras.Model, ...]
    ) -> tuple[list[Tensor], Measures]:
        """See `step.Gradients`."""
        trained, kept = network.trainable_variables, network.non_trainable_variables
        others = [*kept, *(v for model in beside for v in model.variables)]
        present = [(v, v.value) for v in others]

        def pure(values: list[Tensor]) -> tuple[Tensor, tuple[Measures, list[Tensor]]]:
            with keras.StatelessScope([*present, *zip(trained, values, strict=True)]):
                value, measures = loss()
                changed = [v.value for v in kept]
            return value, (measures, changed)

        gradients, (measures, changed) = jax.grad(pure, has_aux=True)([v.value for v in trained])
        for variable, value in zip(kept, changed, strict=True):
            variable.assign(value)
        return gradients, measures

    def of_images(self, score: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """See `step.Gradients`."""
        return jax.grad(lambda pictures: score(pictures).sum())(images)


class JaxStep:
    """Call it with a batch of numpy arrays. The networks' own variables change only at `settle`.

    In between their values live in this object, and their buffers are handed from step to step. With several devices
    each holds all variables and a part of every batch; XLA adds what crosses between them, so the step computes what
    it would on one.
    """

    def __init__(self, config: GanConfig, networks: Networks, *, eager: bool = False) -> None:
        self._step = Step(config, networks, TracedGradients())
        self._variables = networks.variables()
        self._values: list[Any] | None = None
        self._pure = self._take if eager else jax.jit(self._take, donate_argnums=0)
        count = len(backend.devices(config))
        self._mesh = jax.sharding.Mesh(jax.devices()[:count], ("batch",)) if count > 1 else None

    def _take(self, values: list[Any], batch: Batch) -> tuple[list[Any], Measures]:
        with keras.StatelessScope(list(zip(self._variables, values, strict=True))):
            measures = self._step.take(batch)
            return [v.value for v in self._variables], measures

    def __call__(self, batch: Batch) -> Measures:
        """One step; float32 scalars by name, still on the device."""
        if self._values is None:
            # Copies: the buffers given to a step are reused by it, and the variables must keep theirs.
            self._values = self._placed([jax.numpy.array(v.value) for v in self._variables])
        placed = {name: self._placed(value, name) for name, value in batch.items()}
        self._values, measures = self._pure(self._values, placed)
        return measures

    def _placed(self, value: Any, name: str = "") -> Any:
        """On the device; on several, arrays of a batch divided by pictures, all else whole on each."""
        if self._mesh is None:
            return jax.device_put(value)
        axes = {"": (), "decay": (), "z_g": ("batch",), "label_g": ("batch",), "augment_g": ("batch",)}
        spec = jax.sharding.PartitionSpec(*axes.get(name, (None, "batch")))
        return jax.device_put(value, jax.sharding.NamedSharding(self._mesh, spec))

    def settle(self) -> None:
        """Brings the networks' variables up to date."""
        if self._values is not None:
            for variable, value in zip(self._variables, self._values, strict=True):
                variable.assign(value)
            self._values = None
