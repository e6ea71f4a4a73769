"""The rows of `faces`: of a face, and of a picture that gave none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facepipe.records import FaceRow

if TYPE_CHECKING:
    from facepipe.records import Face, Pose, Source
    from facepipe.stages.extraction.photo import View


def failure_row(source: Source, status: str, message: str, frame_index: int | None = None) -> FaceRow:
    """The row of an image that gave no face, `message` a sentence for a person."""
    frame = source.frame_index if frame_index is None else frame_index
    return FaceRow(
        key=key_of(source, frame, -1),
        path=source.path,
        identity=source.identity,
        video=source.video,
        frame_index=frame,
        face_index=-1,
        status=status,
        error=" ".join(message.split()),
        label=source.label,
    )


def face_row(
    source: Source, frame_index: int, face_index: int, status: str, face: Face, pose: Pose, view: View
) -> FaceRow:
    """The row of a face found in a view of the picture, without its crop."""
    return FaceRow(
        key=key_of(source, frame_index, face_index),
        path=source.path,
        identity=source.identity,
        video=source.video,
        frame_index=frame_index,
        face_index=face_index,
        status=status,
        width=view.height if view.quarters % 2 else view.width,
        height=view.width if view.quarters % 2 else view.height,
        bbox=view.box_in_file(face.box),
        landmarks=view.points_in_file(face.landmarks),
        score=float(face.score),
        yaw=pose.yaw,
        pitch=pose.pitch,
        roll=pose.roll,
        frontal_angle=pose.frontal_angle,
        pose_error=pose.error,
        label=source.label,
    )


def key_of(source: Source, frame_index: int, face_index: int) -> str:
    """The row's key: the source's path, the frame where it is a video, and the face's number, `-` for none."""
    frame = f"@{frame_index}" if source.is_video else ""
    repeat = f"~{source.repeat}" if source.repeat else ""
    return f"{source.path}{repeat}{frame}#{'-' if face_index < 0 else face_index}"
