"""The typed records that flow between the steps: list -> read -> decode -> detect -> pose -> crop -> row."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    """(height, width, 3) uint8, RGB, 0..255."""
    BgraImage = NDArray[np.uint8]
    """(height, width, 4) uint8, BGR and a channel of 255: of OpenCV's layouts the fastest to sample and to encode."""
    Points = NDArray[np.float32]
    """(n, 2) float32, x then y, px; pixel centres lie at whole numbers."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in px of the upright full-size image; x2 and y2 lie outside the box."""


class Status(StrEnum):
    """What became of one face, or of one image that gave none."""

    OK = "ok"
    OTHER_FACE = "other_face"
    NO_FACE = "no_face"
    SMALL_FACE = "small_face"
    LOW_SCORE = "low_score"
    READ_ERROR = "read_error"
    DECODE_ERROR = "decode_error"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    WORKER_CRASH = "worker_crash"


FAILED = frozenset({Status.READ_ERROR, Status.DECODE_ERROR, Status.TOO_LARGE, Status.TIMEOUT, Status.WORKER_CRASH})
"""The statuses that count towards `--max-failed`."""


class Source(NamedTuple):
    """One file to read: a still image, or a video file.

    `path` is posix and relative to the input, always valid Unicode. `box` says where the identity's face is; of a video
    file in which that is known frame by frame, it has five numbers a frame: the frame and the box. `repeat` is how
    often the same path was listed before: a manifest may name a picture once for each person in it. `raw_path` is the
    file's own name where that is no valid UTF-8: it carries what is not as surrogate escapes.
    """

    path: str
    identity: str
    video: str = ""
    frame_index: int = 0
    box: tuple[float, ...] | None = None
    label: int | None = None
    is_video: bool = False
    repeat: int = 0
    raw_path: str = ""

    @property
    def file(self) -> str:
        """What opens it."""
        return self.raw_path or self.path

    @property
    def boxes(self) -> dict[int, tuple[float, ...]]:
        """Frame -> where the identity's face is, of a video file in which that is known; no other frame is taken."""
        numbers = self.box or ()
        if not self.is_video or len(numbers) == 4:
            return {}
        return {int(numbers[at]): numbers[at + 1 : at + 5] for at in range(0, len(numbers), 5)}

    def key(self, frame_index: int, face_index: int) -> str:
        """A row's key: the path, the frame where it is a video, and the face's number, `-` for none."""
        frame = f"@{frame_index}" if self.is_video else ""
        repeat = f"~{self.repeat}" if self.repeat else ""
        return f"{self.path}{repeat}{frame}#{'-' if face_index < 0 else face_index}"


class Face(NamedTuple):
    """A detected face.

    box: (4,) float32, x1, y1, x2, y2, px. landmarks: (5, 2) float32, px: the eye on the image's left, the eye on its
    right, nose tip, mouth corner on the image's left, on its right. score: detector confidence, 0..1.
    """

    box: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    score: float


class Pose(NamedTuple):
    """Where a face looks, in degrees, by the convention of AFLW2000 / 300W-LP.

    yaw > 0 faces the image's left, pitch > 0 looks up, roll > 0 is turned clockwise in the image. `frontal_angle` lies
    between the face's forward direction and the camera axis (roll left out). `error` is how far off the forward
    direction may be. All NaN where it can't be told.
    """

    yaw: float
    pitch: float
    roll: float
    frontal_angle: float
    error: float = float("nan")


SURE_DEG = 10.0
"""Degrees of a pose's error up to which it is told well: of faces nearly always, of what is no face hardly ever."""


@dataclass(slots=True)
class FaceRow:
    """One row of `faces/part-*.parquet`; see docs/formats.md for every column."""

    key: str
    path: str
    identity: str
    video: str
    frame_index: int
    face_index: int
    status: str
    error: str = ""
    width: int = 0
    height: int = 0
    bbox: list[float] | None = None
    landmarks: list[float] | None = None
    score: float = float("nan")
    yaw: float = float("nan")
    pitch: float = float("nan")
    roll: float = float("nan")
    frontal_angle: float = float("nan")
    pose_error: float = float("nan")
    transform: list[float] | None = None
    """2 x 3, row by row: px of the full-size image -> px of the crop."""
    sharpness: float = float("nan")
    crop_scale: float = float("nan")
    """Crop px per px of the full-size image: above 1 the face was enlarged."""
    label: int | None = None
    crop: bytes | None = None

    @classmethod
    def of(cls, source: Source, frame_index: int, face_index: int, status: str, error: str = "") -> FaceRow:
        """A row with what its source tells, of a face or, with the index -1, of an image that gave none.

        `error` is a sentence for a person: why there is no face, or why it is refused.
        """
        return cls(
            key=source.key(frame_index, face_index),
            path=source.path,
            identity=source.identity,
            video=source.video,
            frame_index=frame_index,
            face_index=face_index,
            status=status,
            error=" ".join(error.split()),
            label=source.label,
        )


@dataclass(slots=True)
class StageReport:
    """What a stage did: counts by status or subset, seconds by step, and what it says to the user."""

    stage: str
    counts: dict[str, int] = field(default_factory=dict)
    steps_s: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    done_before: int = 0
    notes: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
