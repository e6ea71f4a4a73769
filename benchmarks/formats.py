#!/usr/bin/env python3
"""Examples a second that the formats of `shard` are written and read at, beside the package `webdataset`.

    python benchmarks/formats.py [--frames 2000] [--runs 5]

Pairs of 64 px, gray, PNG. Writing: the same examples out of memory into a file, encoded already, by each format and by
`webdataset.TarWriter`. Reading: every shard, pictures decoded, 64 examples a batch, by `facepipe.torch.ShardDataset`
(shuffled, then in order) and by `webdataset.WebDataset`. One process; CPU time, medians over runs that take turns.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from functools import partial
from glob import glob

import webdataset
from shard import make_workspace

import facepipe
from facepipe.config import FORMATS
from facepipe.storage import place
from facepipe.storage.checksums import Hashed
from facepipe.storage.formats import find_format
from facepipe.storage.formats.webdataset import to_json
from facepipe.torch import ShardDataset


def write(name: str, examples: list[dict]) -> int:
    """By a format of ours."""
    find_format(name).write(Hashed(io.BytesIO()), "pairs-train-00000-of-00001", "pairs", iter(examples))
    return len(examples)


def write_by_webdataset(examples: list[dict]) -> int:
    """As its documentation shows: an object for the JSON, bytes for the pictures."""
    told = [json.loads(to_json(example, "pairs")) for example in examples]
    with webdataset.TarWriter(io.BytesIO()) as sink:
        for number, example in enumerate(examples):
            pictures = {"feature.png": example["feature"], "target.png": example["target"]}
            sink.write({"__key__": f"{number:07d}", **pictures, "json": told[number]})
    return len(examples)


def read(folder: str, shuffle: bool) -> int:
    """By a dataset of ours."""
    return sum(len(batch["key"]) for batch in ShardDataset(folder, shuffle=shuffle))


def read_by_webdataset(folder: str) -> int:
    """Its own pipeline."""
    shards = sorted(glob(f"{folder}/pairs-train-*.tar"))
    found = (
        webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8").to_tuple("feature.png", "target.png", "json")
    )
    return sum(len(batch[0]) for batch in found.batched(64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_workspace(folder, options.frames)
        folders = {}
        for name in FORMATS:
            output = f"{folder}/{name}"
            facepipe.shard(input=f"{folder}/pairs", faces=f"{folder}/faces", output=output, format=name, encoding="png")
            folders[name] = f"{output}/pairs/1.0.0"
        stored, shards = find_format("webdataset"), sorted(glob(f"{folders['webdataset']}/*-train-*.tar"))
        where = place(folders["webdataset"])
        examples = [one for path in shards for one in stored.read(where, path.rpartition("/")[2], "pairs")]
        ways = {f"write {name}": partial(write, name, examples) for name in FORMATS}
        ways["write webdataset.TarWriter"] = partial(write_by_webdataset, examples)
        ways |= {f"read {name}, shuffled": partial(read, folders[name], True) for name in FORMATS}
        ways |= {f"read {name}, in order": partial(read, folders[name], False) for name in FORMATS}
        ways["read webdataset.WebDataset"] = partial(read_by_webdataset, folders["webdataset"])
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.runs):
            for way, go in ways.items():
                started = time.process_time()
                count = go()
                rates[way].append(count / (time.process_time() - started))
    print(f"{len(examples):,} pairs of 64 px, gray, PNG; examples a second of CPU time, medians of {options.runs}")
    for way, found in rates.items():
        print(f"{way:<34} {statistics.median(found):9,.0f}")


if __name__ == "__main__":
    main()
