"""The commands of the documentation, carried out: each page's in order, in a workspace of its own, on the demo's faces."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import docpages as pages
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
PEOPLE = 6
BIN = Path(sys.executable).parent


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)


@pytest.fixture(scope="session")
def demo_images(tmp_path_factory) -> Path:
    """A folder a person, of the demo's first people: stills, frames in folders and a video."""
    from facepipe.stages import demo

    root = tmp_path_factory.mktemp("demo")
    demo.write_images(str(root), PEOPLE)
    return root / "images"


def _stills(images: Path) -> list[tuple[str, list[Path]]]:
    return [(person.name, sorted(person.rglob("*.jpg"))) for person in sorted(images.iterdir())]


def _own(images: Path, work: Path) -> None:
    shutil.copytree(images, work / "data" / "images", copy_function=os.link)


def _lfw(images: Path, work: Path) -> None:
    for name, files in _stills(images):
        for number, file in enumerate(files, 1):
            _link(file, work / "lfw" / name / f"{name}_{number:04d}.jpg")


def _youtube_faces(images: Path, work: Path) -> None:
    """Boxes from a search of the picture: centre and size, with the data set's backslashes."""
    import facepipe
    from facepipe.media.image import decode

    top = work / "YouTubeFaces" / "frame_images_DB"
    for name, files in _stills(images):
        lines = []
        for number, file in enumerate(files):
            _link(file, top / name / "0" / f"0.{number}.jpg")
            for face in facepipe.detect(decode(file.read_bytes(), max_pixels=10**7))[:1]:
                x1, y1, x2, y2 = face.box.tolist()
                box = f"{(x1 + x2) / 2:.0f},{(y1 + y2) / 2:.0f},{x2 - x1:.0f},{y2 - y1:.0f}"
                lines.append(f"{name}\\0\\0.{number}.jpg,0,{box},0.0,1\n")
        (top / f"{name}.labeled_faces.txt").write_text("".join(lines))


def _celeba(images: Path, work: Path) -> None:
    identities, attributes, number = [], [], 0
    for person, (_, files) in enumerate(_stills(images), 1):
        for file in files:
            number += 1
            _link(file, work / "CelebA" / "img_align_celeba" / f"{number:06d}.jpg")
            identities.append(f"{number:06d}.jpg {person}\n")
            attributes.append(f"{number:06d}.jpg  {1 if number % 2 else -1} -1\n")
    (work / "CelebA" / "identity_CelebA.txt").write_text("".join(identities))
    (work / "CelebA" / "list_attr_celeba.txt").write_text(f"{number}\nSmiling Young\n" + "".join(attributes))


def _vggface2(images: Path, work: Path) -> None:
    for person, (_, files) in enumerate(_stills(images), 2):
        for number, file in enumerate(files, 1):
            _link(file, work / "VGGFace2" / "train" / f"n{person:06d}" / f"{number:04d}_01.jpg")


def _manifest(images: Path, work: Path) -> None:
    shutil.copytree(images, work / "pictures", copy_function=os.link)
    rows = [(file.relative_to(images).as_posix(), name, 1) for name, files in _stills(images) for file in files]
    with (work / "faces.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "identity", "label"), *rows])


def _whole_run(images: Path, work: Path) -> None:
    _own(images, work)
    _run("facepipe run --quiet", work)


def _whole_run_and_a_photograph(images: Path, work: Path) -> None:
    _whole_run(images, work)
    _link(_stills(images)[0][1][0], work / "photograph.jpg")


def _corrections(images: Path, work: Path) -> None:
    import pyarrow.dataset as ds

    _whole_run(images, work)
    rows = ds.dataset(work / "data" / "faces", exclude_invalid_files=True).to_table(
        columns=["key", "identity", "status"]
    )
    keys = [row["key"] for row in rows.to_pylist() if row["status"] == "ok"]
    with (work / "corrections.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("key", "action"), (keys[0], "drop"), (keys[-1], "target")])


def _recipe(images: Path, work: Path) -> None:
    _own(images, work)
    (work / "my-recipe.toml").write_text('[extract]\nlayout = "identity"\n\n[shard]\nsize = 32\n')


WORKSPACES = {
    "docs/tasks/lfw.md": _lfw,
    "docs/tasks/youtube-faces.md": _youtube_faces,
    "docs/tasks/celeba.md": _celeba,
    "docs/tasks/vggface2.md": _vggface2,
    "docs/tasks/manifest.md": _manifest,
    "docs/tasks/review.md": _corrections,
    "docs/tasks/elsewhere.md": _whole_run_and_a_photograph,
    "docs/how/shard.md": _whole_run,
    "docs/formats.md": _recipe,
}
"""Page -> what its commands expect to find; for the others pictures of people in `data/images`."""


def _run(script: str, work: Path, **environment: str) -> str:
    """Runs a block as a reader would, and stops at its first error."""
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", **environment}
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def _pages(test: str) -> list[str]:
    return sorted({block.page for block in pages.blocks("sh", "python") if block.test == test})


@pytest.mark.parametrize("page", _pages("run"))
def test_commands_run(page, demo_images, tmp_path):
    """Every command of the page that needs nothing but pictures ends well."""
    WORKSPACES.get(page, _own)(demo_images, tmp_path)
    for block in pages.blocks("sh", "python"):
        if block.page == page and block.test == "run":
            script = block.text if block.language == "sh" else f"python - <<'END'\n{block.text}\nEND"
            _run(script, tmp_path)


@pytest.mark.tensorflow
@pytest.mark.parametrize("page", _pages("train"))
def test_training_commands_run(page, demo_images, tmp_path):
    """Every training command of the page ends well; each is cut to one step, so that only its length differs."""
    _whole_run_and_a_photograph(demo_images, tmp_path)
    # A tenth of six people is nobody, and there would be nobody to evaluate on.
    _run("facepipe split --validation 0.5 --overwrite --quiet && facepipe shard --overwrite --quiet", tmp_path)
    for block in pages.blocks("sh"):
        if block.page == page and block.test == "train":
            for line in block.text.splitlines():
                teaches = line.split()[3] in {"autoencoder", "dcgan"}
                _run(line + " --epochs 1 --steps-per-epoch 1 --batch-size 4" * teaches, tmp_path)


@pytest.fixture
def store(s3_port, demo_images):
    """The environment of a machine whose bucket `bucket` holds the demo's pictures."""
    import http.client

    from facepipe.storage import place

    connection = http.client.HTTPConnection("127.0.0.1", s3_port)
    connection.request("PUT", "/bucket")
    assert connection.getresponse().status in {200, 409}
    environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_port}", "AWS_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        images = place("s3://bucket/images")
        for _, files in _stills(demo_images):
            for file in files[:6]:
                images.write(file.relative_to(demo_images).as_posix(), file.read_bytes())
    return environment


def test_commands_for_a_cloud_machine_run(store, tmp_path):
    """docs/cloud.md: shares of an extract into a bucket, and the later stages there, on an S3 server."""
    for block in pages.blocks("sh"):
        if block.test == "s3":
            _run(block.text, tmp_path, **store)
    assert list(tmp_path.iterdir()) == []


def test_the_start_up_script_runs_and_goes_on(store, tmp_path):
    """docs/cloud/startup.sh makes its share; started again, it makes nothing anew and runs its last command."""
    script = pages.ROOT / "docs" / "cloud" / "startup.sh"
    given = {"IMAGES": "s3://bucket/images", "DATA": "s3://bucket/again", "FACEPIPE": str(BIN / "facepipe")}
    first = _run(f"bash {script}", tmp_path, **store, **given)
    assert "ok" in first
    assert "there already" not in first
    again = _run(f"bash {script}", tmp_path, **store, **given, WHEN_DONE="touch done")
    assert (tmp_path / "done").exists()
    assert "there already" in again
