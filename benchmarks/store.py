#!/usr/bin/env python3
"""How much of its speed `extract` keeps when every call to the object store takes longer.

    python benchmarks/store.py [--delay-ms 50] [--people 30] [--frames 20] [--runs 3]
        [--part-size 512]

Images and faces lie in moto's S3 server on loopback, behind a proxy that adds the delay to each call. Runs of one worker
without and with the delay alternate, over all images and over 20; the images a second are of the shortest runs, with
starting and ending, which the 20 tell, taken out. The photographs are variants of scikit-image's astronaut, about 300
px. Wall time: what waits takes no CPU, so other work on the machine shows in it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "jobs")]

from faulty_proxy import FaultyProxy  # noqa: E402
from people import write_people  # noqa: E402
from skimage import data  # noqa: E402

from facepipe.config import Execution, ExtractConfig, join  # noqa: E402
from facepipe.execution.progress import QuietProgress  # noqa: E402
from facepipe.stages import extract  # noqa: E402
from facepipe.storage import place  # noqa: E402

FEW = 20
SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


RUNS = itertools.count()
"""Each run writes to a folder of its own."""


def seconds(bucket: str, images: int, part_size: int) -> float:
    """Wall time of one run over the first `images`."""
    config = ExtractConfig(
        input=join(bucket, "images"),
        output=join(bucket, f"faces-{next(RUNS)}"),
        min_face=30,
        limit=images,
        part_size=part_size,
        execution=Execution(workers=1),
    )
    started = time.monotonic()
    assert sum(extract.run(config, QuietProgress()).counts.values()) == images
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay-ms", type=float, default=50)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--part-size", type=int, default=512)
    given = parser.parse_args()
    os.environ |= {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_EC2_METADATA_DISABLED": "true"}
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline())
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("PUT", "/bucket")
        connection.getresponse().read()
        with contextlib.closing(FaultyProxy(port)) as proxy:
            bucket = f"s3://bucket/data?endpoint_override=127.0.0.1:{proxy.port}&scheme=http"
            write_people(place(join(bucket, "images")), data.astronaut(), given.people, given.frames, side=300)
            many = given.people * given.frames
            best = {}
            for _ in range(given.runs):
                for delay_ms in (0.0, given.delay_ms):
                    proxy.delay_s = delay_ms / 1000
                    for images in (FEW, many):
                        taken = seconds(bucket, images, given.part_size)
                        best[delay_ms, images] = min(taken, best.get((delay_ms, images), taken))
                        print(f"{images} images, {delay_ms:g} ms: {taken:.2f} s", flush=True)
        soon, late = ((many - FEW) / (best[delay, many] - best[delay, FEW]) for delay in (0.0, given.delay_ms))
        print(
            f"{soon:.0f} images a second without the delay, {late:.0f} with {given.delay_ms:g} ms on every call: "
            f"{late / soon:.2f}; a run starts and ends in {best[0.0, FEW]:.1f} s, and in {best[given.delay_ms, FEW]:.1f} s"
        )
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
