"""Takes steps with GANs of given options on one backend and writes what came of it: run as a process of its own.

`python gan_rows.py BACKEND ROWS.json OUT.npz`: ROWS.json is a list of options of GanConfig. For row i the file holds
`i/measures` of the first step, `i/weights` after the last and `i/norms`, the largest singular values of the spectrally
normalised kernels: one step of plain descent at RATE, so that they tell the gradients, or with `adam` two steps of the
run's own optimizers, which blow rounding errors up.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

RATE = 0.1
BATCH = 4
SMALL = {
    "image_size": 16,
    "batch_size": BATCH,
    "g_conv_dim": 8,
    "d_conv_dim": 8,
    "z_size": 8,
    "labels": "ignore",
    "devices": 1,
}
QUICK_XLA = (
    "--xla_force_host_platform_device_count=2",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_use_fusion_emitters=false",
)
"""Compiling dominates here, and with these it takes half the time."""


def take_steps(options):
    """Measures of the first step, weights after the last, norms: of one configuration."""
    import keras

    from train.gan.assembly import assemble, make_step
    from train.gan.config import GanConfig
    from train.gan.draws import draw_step
    from train.presets import resolve

    options, backend = dict(options), {"backend": keras.backend.backend()}
    adam = options.pop("adam", False)
    config = resolve(GanConfig, "gan", options.pop("preset", "dcgan"), {**SMALL, **backend, "attention": (), **options})
    networks = assemble(config)
    if not adam:
        # Plain descent goes too far for one power iteration to follow: the norms of the first weights.
        norms = largest_values(networks)
        networks.g_optimizer, networks.d_optimizer = keras.optimizers.SGD(RATE), keras.optimizers.SGD(RATE)
        networks.g_optimizer.build(networks.generator.trainable_variables)
        networks.d_optimizer.build(networks.discriminator.trainable_variables)
    eager = config.backend == "tensorflow" and not config.jit
    step = make_step(config, networks, eager=eager)
    rng = np.random.default_rng(1)
    frequencies = np.full(config.classes, 1 / config.classes) if config.classes else None
    first = None
    for number in range(2 if adam else 1):
        batch = draw_step(config, number, frequencies)
        shape = (config.d_steps, BATCH, config.image_size, config.image_size, config.channels)
        batch["images"] = rng.integers(0, 256, shape, dtype=np.uint8)
        if config.classes:
            batch["label"] = rng.integers(0, config.classes, shape[:2]).astype(np.int32)
        measures = {name: float(value) for name, value in sorted(step(batch).items())}
        first = first or measures
    step.settle()
    weights = np.concatenate([as_array(v).ravel() for v in networks.variables()])
    if adam:
        norms = largest_values(networks)
    return {"measures": np.array(list(first.values())), "weights": weights, "norms": norms}


def as_array(variable):
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable), np.float64)


def largest_values(networks):
    """Of each spectrally normalised kernel as the network's next step uses it, the largest singular value."""
    from train.models.layers import spectral_layers

    found = []
    for layer in [*spectral_layers(networks.generator), *spectral_layers(networks.discriminator)]:
        layer.iterate()
        used = np.moveaxis(as_array(layer.normalised_kernel()), layer.out_axis, -1)
        found.append(np.linalg.svd(used.reshape(-1, used.shape[-1]), compute_uv=False)[0])
    return np.array(found)


def main(backend, rows, out):
    os.environ |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    os.environ.setdefault("XLA_FLAGS", " ".join(QUICK_XLA))
    import keras

    found = {}
    with open(rows) as file:
        listed = json.load(file)
    for number, row in enumerate(listed):
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if row.get("precision") == "bfloat16" else "float32")
        found |= {f"{number}/{name}": array for name, array in take_steps(row).items()}
    np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
