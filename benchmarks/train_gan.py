"""One GAN training step of ours against a hand-written one of the same networks, and what the input adds.

    python benchmarks/train_gan.py [--backends tensorflow jax] [--presets dcgan64 dcgan128] [--batch-size 32] [--pairs 7]

Both take turns, a few steps each, on one thread; the ratio is the median over the turns, by CPU time (this machine may
be shared) and by the clock. `input`: the same steps fed from shards of random pictures, random numbers included, against
steps on one batch that lies ready. Each backend and preset has a process of its own; the table is written to
docs/figures/train_gan.txt.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


FIGURE = Path(__file__).resolve().parents[1] / "docs" / "figures" / "train_gan.txt"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
XLA_ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", choices=("tensorflow", "jax"), default=["tensorflow", "jax"])
    parser.add_argument("--presets", nargs="+", default=["dcgan64", "dcgan128"])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=2, help="steps a turn")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def hand_written_tensorflow(networks, z_size):
    """What one writes after TensorFlow's own DCGAN tutorial: two tapes in a tf.function, fresh latents for each network."""
    import keras
    import tensorflow as tf

    generator, discriminator, average = networks.generator, networks.discriminator, networks.average
    bce = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def step(images):
        images = tf.cast(images, tf.float32) / 127.5 - 1
        count = tf.shape(images)[0]
        fake = generator(tf.random.uniform((count, z_size), -1, 1), training=True)
        with tf.GradientTape() as tape:
            real_score, fake_score = discriminator(images, training=True)[0], discriminator(fake, training=True)[0]
            d_loss = bce(tf.ones_like(real_score), real_score) + bce(tf.zeros_like(fake_score), fake_score)
        gradients = tape.gradient(d_loss, [v.value for v in discriminator.trainable_variables])
        networks.d_optimizer.apply_gradients(zip(gradients, discriminator.trainable_variables, strict=True))
        with tf.GradientTape() as tape:
            fake_score = discriminator(
                generator(tf.random.uniform((count, z_size), -1, 1), training=True), training=True
            )[0]
            g_loss = bce(tf.ones_like(fake_score), fake_score)
        gradients = tape.gradient(g_loss, [v.value for v in generator.trainable_variables])
        networks.g_optimizer.apply_gradients(zip(gradients, generator.trainable_variables, strict=True))
        for old, new in zip(average.variables, generator.variables, strict=True):
            old.assign(0.999 * old.value + 0.001 * new.value)
        return d_loss, g_loss, tf.reduce_mean(real_score), tf.reduce_mean(fake_score)

    return lambda images: [float(value) for value in step(images)]


def hand_written_jax(networks, z_size):
    """What one writes after Keras's own JAX guide: stateless calls, two value_and_grad, one jit, buffers donated."""
    import jax
    import jax.numpy as jnp

    generator, discriminator = networks.generator, networks.discriminator

    def d_loss(trained, kept, images, fake):
        (real_score, _), kept = discriminator.stateless_call(trained, kept, images, training=True)
        (fake_score, _), kept = discriminator.stateless_call(trained, kept, fake, training=True)
        loss = jax.nn.softplus(-real_score).mean() + jax.nn.softplus(fake_score).mean()
        return loss, (kept, real_score.mean(), fake_score.mean())

    def g_loss(trained, kept, d_trained, d_kept, z):
        fake, kept = generator.stateless_call(trained, kept, z, training=True)
        (score, _), _ = discriminator.stateless_call(d_trained, d_kept, fake, training=True)
        return jax.nn.softplus(-score).mean(), kept

    def step(state, images):
        g, g_kept, d, d_kept, g_optimizer, d_optimizer, average, key = state
        key, first, second = jax.random.split(key, 3)
        images = images.astype(jnp.float32) / 127.5 - 1
        fake, _ = generator.stateless_call(g, g_kept, latents(first, images), training=True)
        (loss_d, (d_kept, real, made)), gradients = jax.value_and_grad(d_loss, has_aux=True)(d, d_kept, images, fake)
        d, d_optimizer = networks.d_optimizer.stateless_apply(d_optimizer, gradients, d)
        wanted = latents(second, images)
        (loss_g, g_kept), gradients = jax.value_and_grad(g_loss, has_aux=True)(g, g_kept, d, d_kept, wanted)
        g, g_optimizer = networks.g_optimizer.stateless_apply(g_optimizer, gradients, g)
        average = [0.999 * old + 0.001 * new for old, new in zip(average, [*g, *g_kept], strict=True)]
        return (g, g_kept, d, d_kept, g_optimizer, d_optimizer, average, key), (loss_d, loss_g, real, made)

    def latents(key, images):
        return jax.random.uniform(key, (len(images), z_size), minval=-1, maxval=1)

    compiled = jax.jit(step, donate_argnums=0)
    groups = [generator.trainable_variables, generator.non_trainable_variables]
    groups += [discriminator.trainable_variables, discriminator.non_trainable_variables]
    groups += [networks.g_optimizer.variables, networks.d_optimizer.variables]
    groups += [[*generator.trainable_variables, *generator.non_trainable_variables]]
    held = [(*([jnp.array(v.value) for v in group] for group in groups), jax.random.key(0))]

    def run(images):
        held[0], measures = compiled(held[0], images)
        return [float(value) for value in measures]

    return run


def timed(function):
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def ratios(first, second, pairs):
    """Medians of first / second over turns that alternate: CPU, clock; and the second's median seconds of CPU."""
    found = []
    for turn in range(pairs):
        order = (first, second) if turn % 2 == 0 else (second, first)
        times = [timed(function) for function in order]
        found.append(times if turn % 2 == 0 else times[::-1])
    cpu, wall = ([pair[0][i] / pair[1][i] for pair in found] for i in range(2))
    return statistics.median(cpu), statistics.median(wall), statistics.median(pair[1][0] for pair in found)


def random_shards(folder, count, size):
    """Shards of random pictures, as `facepipe shard --examples faces` writes them."""
    import numpy as np

    from facepipe.storage.tfrecord import encode_example, write_records

    where = Path(folder) / "faces" / "1.0.0"
    where.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = (
        {
            "key": f"{i}",
            "identity": f"{i}",
            "image": rng.integers(0, 256, (size, size, 3), dtype=np.uint8).tobytes(),
            "yaw": 0.0,
            "pitch": 0.0,
            "label": -1,
        }
        for i in range(count)
    )
    with (where / "faces-train.tfrecord-00000-of-00001").open("wb") as file:
        write_records(file, map(encode_example, rows))
    tensor = {"shape": {"dimensions": [str(size), str(size), "3"]}, "dtype": "uint8", "encoding": "none"}
    (where / "features.json").write_text(json.dumps({"featuresDict": {"features": {"image": {"tensor": tensor}}}}))
    splits = [{"name": "train", "shardLengths": [str(count)]}]
    (where / "dataset_info.json").write_text(json.dumps({"name": "faces", "splits": splits}))
    (where / "run.json").write_text(json.dumps({"identities": {}}))
    return str(folder)


def measure(options, backend_name, preset):
    """A line of the table; Keras has one backend a process."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from train import backend
    from train.gan.config import GanConfig
    from train.presets import resolve

    fields = {"batch_size": options.batch_size, "backend": backend_name, "labels": "ignore"}
    config = resolve(GanConfig, "gan", preset, fields)
    backend.prepare(config)
    import keras

    from train.data import view_of
    from train.feeds import open_feed
    from train.gan import batches
    from train.gan.assembly import assemble, make_step
    from train.shards import find_shards

    if config.loss != "bce" or config.d_steps != 1 or config.spectral_norm != "none":
        raise SystemExit(f"the hand-written step is a DCGAN's; {preset} is more than that")
    theirs = {"tensorflow": hand_written_tensorflow, "jax": hand_written_jax}[backend_name]
    with tempfile.TemporaryDirectory() as folder:
        shards = find_shards(random_shards(folder, 16 * options.batch_size, config.image_size), "faces")
        feed = open_feed(shards, "train", view_of(config), config)
        steps = batches.step_batches(config, feed, None, 0)
        ready = next(steps)
        images = keras.ops.convert_to_tensor(ready["images"][0])
        step, other = make_step(config, assemble(config)), theirs(assemble(config), config.z_size)

        def ours():
            for _ in range(options.steps):
                {name: float(value) for name, value in step(ready).items()}

        def hand_written():
            for _ in range(options.steps):
                other(images)

        def fed():
            for batch in itertools.islice(steps, options.steps):
                {name: float(value) for name, value in step(batch).items()}

        for function in (ours, hand_written, fed):
            function()
        cpu, wall, seconds = ratios(ours, hand_written, options.pairs)
        fed_cpu, fed_wall, _ = ratios(fed, ours, options.pairs)
    rate = options.batch_size * options.steps / seconds
    print(f"{backend_name:<12}{preset:<12}{rate:>14.1f}{cpu:>13.3f}{wall:>9.3f}{fed_cpu:>17.3f}{fed_wall:>9.3f}")


def main():
    options = arguments()
    if options.alone:
        measure(options, options.backends[0], options.presets[0])
        return
    lines = [
        f"batch {options.batch_size}, {options.steps} steps a turn, medians of {options.pairs} paired turns, one thread",
        f"{'':<24}{'hand-written':>14}{'ours / hand-written':>22}{'from shards / one batch':>26}",
        f"{'backend':<12}{'preset':<12}{'images/s':>14}{'CPU':>13}{'clock':>9}{'CPU':>17}{'clock':>9}",
    ]
    print(*lines, sep="\n", flush=True)
    for name, preset in itertools.product(options.backends, options.presets):
        shared = ["--batch-size", options.batch_size, "--pairs", options.pairs, "--steps", options.steps]
        words = [sys.executable, "-W", "ignore", __file__, "--alone", "--backends", name, "--presets", preset, *shared]
        environment = {**os.environ, **ONE_THREAD, **(XLA_ONE_THREAD if name == "jax" else {})}
        done = subprocess.run([*map(str, words)], env=environment, stdout=subprocess.PIPE, text=True, check=True)
        lines.append(done.stdout.strip())
        print(lines[-1], flush=True)
    FIGURE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
