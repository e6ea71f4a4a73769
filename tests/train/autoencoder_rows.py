"""Takes steps with small autoencoders on one backend and writes what came of them: run as a process of its own.

`python autoencoder_rows.py BACKEND ROWS.json OUT.json`: ROWS.json is a list of options of AutoencoderConfig; OUT.json gets
for each the losses of two steps on one made-up batch. Two CPU devices are there to be divided among.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

SMALL = {"input_size": 16, "output_size": 16, "channels": 1, "encoder": [8, 8], "latent": 8, "batch_size": 8, "seed": 5}
XLA = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def losses(options):
    import keras

    from train.autoencoder import _assemble
    from train.config import AutoencoderConfig
    from train.presets import resolve

    options, given = dict(options), {"backend": keras.backend.backend()}
    config = resolve(
        AutoencoderConfig, "autoencoder", options.pop("preset"), {**SMALL, "devices": 1, **given, **options}
    )
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if config.precision == "bfloat16" else "float32")
    model = _assemble(config, None)
    rng = np.random.default_rng(1)
    feature, target = (rng.random((8, 16, 16, 1), np.float32) for _ in range(2))

    def batches():
        while True:
            # New ones each time: TensorFlow takes a generator's arrays as they lie and may compute in their memory.
            yield feature.copy(), target.copy()

    history = model.fit(batches(), epochs=2, steps_per_epoch=1, verbose=0).history["loss"]
    keras.distribution.set_distribution(None)
    return [float(value) for value in history]


def main(backend, rows, out):
    os.environ |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    os.environ.setdefault("XLA_FLAGS", XLA)
    from train import backend as backends

    backends.choose(backend)
    if backend == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    with open(rows) as file:
        found = [losses(row) for row in json.load(file)]
    with open(out, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
