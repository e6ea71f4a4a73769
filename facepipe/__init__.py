"""facepipe: photographs and videos of people in, training sets out.

Importing this package does no work; each name is loaded when it is first used.

    import facepipe
    faces = facepipe.detect(image)            # (H, W, 3) uint8 RGB -> list of faces with landmarks and pose
    facepipe.extract(input="data/images")     # the stage, as on the command line
    table = facepipe.open_faces("data/faces") # the rows, as an Arrow data set read lazily
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from facepipe.api import DetectedFace, detect, embed, extract, open_faces, select, shard, split, verify
    from facepipe.config import EmbedConfig, Execution, ExtractConfig, SelectConfig, ShardConfig, SplitConfig
    from facepipe.errors import FacepipeError

__all__ = [
    "DetectedFace",
    "EmbedConfig",
    "Execution",
    "ExtractConfig",
    "FacepipeError",
    "SelectConfig",
    "ShardConfig",
    "SplitConfig",
    "detect",
    "embed",
    "extract",
    "open_faces",
    "select",
    "shard",
    "split",
    "verify",
]

_CONFIG = {"EmbedConfig", "Execution", "ExtractConfig", "SelectConfig", "ShardConfig", "SplitConfig"}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'facepipe' has no attribute {name!r}")
    module = "facepipe.errors" if name == "FacepipeError" else "facepipe.config" if name in _CONFIG else "facepipe.api"
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted([*__all__, "__version__"])
