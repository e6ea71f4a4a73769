"""Does the input keep up with the training step? Images a second of each, and of both together.

    python benchmarks/train.py autoencoder [--preset v4] [--batch-size 64] [--steps 8] [--pairs 7]
    python benchmarks/train.py gan [options of benchmarks/train_gan.py]

`autoencoder`: shards of random pictures as `facepipe shard` writes them. `input` takes batches and throws them away, `step`
trains on one batch that lies ready, `both` is `Model.fit` on the shards. The ratio compares epochs: `fit` on the shards
against the same `fit` on numpy arrays already in memory, shuffled and scaled; the two take turns, and the median of the
turns' ratios counts, by CPU time (this machine may be shared) and by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("autoencoder", "gan"))
    parser.add_argument("--preset", default="v4")
    parser.add_argument("--backend", choices=("tensorflow", "jax"), default="tensorflow")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8, help="steps an epoch")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--stream", action="store_true", help="as if the shards did not fit in memory")
    return parser.parse_args()


def random_pairs(folder, count, size, channels, examples="pairs"):
    """Shards of random pictures, as `facepipe shard` writes pairs, or turned faces with their flows."""
    import numpy as np

    from facepipe.storage.tfrecord import encode_example, write_records

    where = Path(folder) / examples / "1.0.0"
    where.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = {"feature": channels, "target": channels, **({"flow": 3} if examples == "turned" else {})}
    plain = {"feature_angle": 0.0, "target_angle": 0.0, "feature_yaw": 0.0, "noise_strength": 0.0, "noise": ""}
    for number in range(4):
        with (where / f"{examples}-train.tfrecord-{number:05d}-of-00004").open("wb") as file:
            rows = (
                {
                    "key": f"{i}",
                    "identity": f"{i}",
                    **plain,
                    "copy": 0,
                    "label": -1,
                    **{
                        name: rng.integers(0, 256, (size, size, depth), dtype=np.uint8).tobytes()
                        for name, depth in images.items()
                    },
                }
                for i in range(number, count, 4)
            )
            write_records(file, map(encode_example, rows))
    dimensions = {name: {"dimensions": [str(size), str(size), str(depth)]} for name, depth in images.items()}
    tensors = {n: {"tensor": {"shape": d, "dtype": "uint8", "encoding": "none"}} for n, d in dimensions.items()}
    features = {"featuresDict": {"features": tensors}}
    (where / "features.json").write_text(json.dumps(features))
    splits = [{"name": "train", "shardLengths": [str(len(range(n, count, 4))) for n in range(4)]}]
    (where / "dataset_info.json").write_text(json.dumps({"name": examples, "splits": splits}))
    (where / "run.json").write_text(json.dumps({"identities": {}}))
    return str(folder)


def rate_of(function, images, times=3):
    """Images a second of CPU, the median of a few turns."""
    seconds = []
    for _ in range(times):
        started = time.process_time()
        function()
        seconds.append(time.process_time() - started)
    return images / statistics.median(seconds)


def measure(options):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from train import backend
    from train.config import AutoencoderConfig
    from train.presets import resolve

    fields = {"batch_size": options.batch_size, "backend": options.backend}
    fields |= {"cache_bytes": 0} if options.stream else {}
    config = resolve(AutoencoderConfig, "autoencoder", options.preset, fields)
    backend.prepare(config)
    from train_gan import ratios

    from train.autoencoder import _assemble
    from train.data import load_arrays, view_of
    from train.feeds import open_feed
    from train.shards import find_shards

    count = options.batch_size * options.steps
    with tempfile.TemporaryDirectory() as folder:
        size = max(config.input_size, config.output_size)
        shards = find_shards(random_pairs(folder, count, size, config.channels), "pairs")
        feed = open_feed(shards, "train", view_of(config), config)
        arrays = load_arrays(shards, "train", view_of(config))
        features, targets = (images.astype("float32") / 255 for images in arrays.images)
        model = _assemble(config, shards)
        batches = iter(feed)
        ready = next(batches)
        fed = iter(feed)
        quiet = {"epochs": 1, "verbose": 0}

        def reading():
            for _ in range(options.steps):
                next(batches)

        def stepping():
            for _ in range(options.steps):
                model.train_on_batch(*ready)

        def on_shards():
            model.fit(fed, steps_per_epoch=options.steps, shuffle=False, **quiet)

        def on_arrays():
            model.fit(features, targets, batch_size=options.batch_size, **quiet)

        for function in (stepping, on_shards, on_arrays):
            function()
        how = "streamed" if options.stream else "held in memory"
        print(f"{options.preset}, {options.backend}, batch {options.batch_size}, {count} pairs {how}, one epoch a turn")
        print(f"input alone                    {rate_of(reading, count):10.1f} images/s of CPU")
        print(f"step alone                     {rate_of(stepping, count):10.1f} images/s of CPU", flush=True)
        cpu, wall, seconds = ratios(on_shards, on_arrays, options.pairs)
        print(f"both                           {count / seconds / cpu:10.1f} images/s of CPU")
        print(f"epoch on shards / on arrays    {cpu:10.3f} by CPU time, {wall:.3f} by the clock, {options.pairs} pairs")


def main():
    if sys.argv[1:2] == ["gan"]:
        import train_gan

        del sys.argv[1]
        train_gan.main()
    else:
        measure(arguments())


if __name__ == "__main__":
    main()
