"""Real photographs for the tests: scikit-image's bundled ones, and the labelled set beside the checkout where it is."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("FACEPIPE_SHARED_DATA", ROOT.parent / "shared" / "data"))

# Machines that do other things at the same time make single examples slow.
hypothesis.settings.register_profile("facepipe", deadline=None)
hypothesis.settings.load_profile("facepipe")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of labelled photographs; the test is skipped, saying so, where it is missing."""
    if not (SHARED_DATA / "ytf_labels.csv").is_file():
        pytest.skip(f"the labelled photographs are not at {SHARED_DATA}; set FACEPIPE_SHARED_DATA")
    return SHARED_DATA


@pytest.fixture(scope="session")
def astronaut():
    """A real photograph of one person: (512, 512, 3) uint8 RGB."""
    from skimage import data

    return data.astronaut()


@pytest.fixture(scope="session")
def find_faces():
    """A function from one image, (h, w, 3) uint8 RGB, and the smallest face, px, to YuNet's refined faces, best first."""
    from facepipe.detection import make_detector

    detector = make_detector("yunet")

    def find(image, min_face=40.0):
        return detector.refine([image], detector.detect([image], min_face))[0]

    return find


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, driven by Playwright; the test is skipped, saying so, where it is missing."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("no Chromium to look at pages with; `make browser` installs it")
    quiet = ("background-networking", "component-update", "gpu", "sync")
    options = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=options)
        yield opened
        opened.close()


class NoGuard:
    """Nothing is blamed, nobody is told."""

    blamed: dict[int, str] = {}  # noqa: RUF012

    def on(self, item):
        """An item is about to be touched."""


@pytest.fixture(scope="session")
def extract_rows(tmp_path_factory):
    """A function from pictures by path, (h, w, 3) uint8 RGB or a file's bytes, to `extract`'s rows, a list by path.

    It is one worker's work, done in this process. `boxes`: by path, where the identity's face is; other options are
    `extract`'s.
    """
    import cv2

    from facepipe.config import ExtractConfig
    from facepipe.execution.stopwatch import Stopwatch
    from facepipe.records import Source
    from facepipe.stages.extraction.part import PartExtractor

    def run(pictures, boxes=None, **options):
        folder = tmp_path_factory.mktemp("extract_rows")
        sources, rows = [], {path: [] for path in pictures}
        for path, picture in pictures.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            is_bytes = isinstance(picture, bytes)
            file.write_bytes(picture if is_bytes else cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
            film = path if path.endswith(".avi") else ""
            sources.append(Source(path, path, film, box=(boxes or {}).get(path), is_video=bool(film)))
        config = ExtractConfig(input=str(folder), output=str(folder / "faces"), **options)
        for row in PartExtractor(config, NoGuard(), Stopwatch()).rows(sources):
            rows[row.path].append(row)
        return rows

    return run


S3_SERVER = """
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
from moto.s3.models import s3_backends
for line in sys.stdin:  # many objects, faster than by requests
    bucket, prefix, keys = line.split()
    for number in range(int(keys)):
        s3_backends["123456789012"]["aws"].put_object(bucket, f"{prefix}{number % 97:02d}/{number:06d}.jpg", b"")
    print("done", flush=True)
"""


class S3Server:
    """moto's S3 server in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", S3_SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.process.stdout.readline())

    def fill(self, bucket: str, prefix: str, keys: int) -> None:
        """Puts `keys` empty objects into 97 folders below `prefix`."""
        print(bucket, prefix, keys, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "done\n"


@pytest.fixture(scope="session")
def s3_server():
    """An S3 server on loopback, with credentials for it in the environment."""
    credentials = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "a-secret-that-stays-one"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**credentials, "AWS_EC2_METADATA_DISABLED": "true"}.items():
            patch.setenv(name, value)
        server = S3Server()
        yield server
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="session")
def s3_port(s3_server) -> int:
    """The port of the S3 server."""
    return s3_server.port


@pytest.fixture
def s3_bucket(s3_port, request) -> str:
    """A new, empty bucket: what a URI takes after `s3://` up to the folder, and the options that end it."""
    name = f"bucket-{abs(hash(request.node.nodeid)):x}-{os.getpid()}"
    connection = http.client.HTTPConnection("127.0.0.1", s3_port)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    return name


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes a file system of some kilobytes, on a new folder."""
    mounted = []

    def make(kilobytes, folder=None):
        folder = folder or tmp_path / f"disk{len(mounted)}"
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting is not allowed here")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)
