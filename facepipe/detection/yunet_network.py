"""YuNet's graph on reduced images: a few small ones in one go, large ones in memory that is given back."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from facepipe.detection import sessions, yunet_graph
from facepipe.detection.together import Waiting

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from facepipe.detection.reduction import Reduced

    Array = NDArray[np.float32]

SMALL = 256 * 256
"""px of an input up to which the session keeps its memory, about 20 MB for all their shapes."""
TOGETHER = 8 * 112 * 112
"""px of the inputs that are run in one go: what the layers hold of them stays in a core's cache."""


class Network:
    """The graph that `yunet_graph.rebuild` gives. Not thread-safe; one a process.

    Raises:
        WeightsError: ONNX Runtime can't run it.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._for_small = sessions.open_session(model, keep_memory=True)
        self._for_large: InferenceSession | None = None
        self._waiting: dict[tuple[int, ...], Waiting[Reduced]] = defaultdict(Waiting)

    def announce(self, reduced: Reduced) -> None:
        """Says that `run` will be asked about an image: it can then be run together with others of its shape.

        What is found in an image does not depend on its company, to the last bit.
        """
        if 2 * reduced.pixels <= TOGETHER:
            self._waiting[reduced.image.shape].announce(reduced)

    def run(self, reduced: Reduced) -> Array:
        """Faces (n, 15), best score first: box, five points, score; px of the image that was reduced."""
        if (found := reduced.found) is None:
            waiting = self._waiting.get(reduced.image.shape)
            group = [reduced] if waiting is None else waiting.group(reduced, TOGETHER // reduced.pixels)
            results = self._run_together(group)
            for each, faces in zip(group, results, strict=True):
                each.found = faces
            found = results[0]
        return found

    def _run_together(self, group: list[Reduced]) -> list[Array]:
        pixels = sessions.to_planes([reduced.image for reduced in group])
        session = self._for_small if group[0].pixels <= SMALL else self._session_for_large()
        faces, owners = session.run(None, {"pixels": pixels, **cells(*pixels.shape[2:])})
        ends = np.searchsorted(owners, range(len(group) + 1)).tolist()
        return [faces[ends[i] : ends[i + 1]] / reduced.scales for i, reduced in enumerate(group)]

    def _session_for_large(self) -> InferenceSession:
        """The same graph without a memory of shapes; opened when it is needed, most photographs need none."""
        if self._for_large is None:
            self._for_large = sessions.open_session(self._model)
        return self._for_large


@lru_cache(maxsize=16)
def cells(rows: int, columns: int) -> dict[str, Array]:
    """What the graph needs to know of the cells of its three levels, level after level, row after row.

    Args:
        rows: of the input's pixels.
        columns: likewise.

    Returns:
        In px of the input: `steps` (1, 1, 2, n), the cells' sizes; `starts` (1, 1, 2, n), their first corners;
        `reaches` (1, 2, n), half their sizes.
    """
    starts, steps = [], []
    for stride in yunet_graph.STRIDES:
        places = np.indices((-(-rows // stride), -(-columns // stride)))[::-1].reshape(2, -1)
        starts.append(places * stride)
        steps.append(np.full(places.shape, stride))
    step = np.concatenate(steps, axis=1).astype(np.float32)
    start = np.concatenate(starts, axis=1).astype(np.float32)
    return {"steps": step[None, None], "starts": start[None, None], "reaches": step[None] / np.float32(2)}
