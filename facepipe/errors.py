"""What can go wrong, as one tree.

FacepipeError            a known error: one line for a person, exit code 1
|- UsageError            an invalid option, recipe or label file (exit code 2)
|- InputError            the input is missing, empty or not what the layout says
|  `- StorageDown        where the input lies answers nobody, or refuses us: no single file's fault
|- OutputError           the output can't be written: full disk, permissions, a lock held by another run
|- SettingsChanged       the output was made with other settings
|- DamagedFile           a file of ours that does not read back as it was written
|- Incomplete            an earlier stage is not finished
|- WeightsError          a network's weights are missing or not the ones expected
|- MissingExtra          an optional package is not installed
|- TooManyFailed         more images failed than `--max-failed` allows
`- Interrupted           SIGINT or SIGTERM (exit code 130)

ImageError               one image that can't be used: becomes a row, never ends a run
"""

from __future__ import annotations

AS_BEFORE = "with the options it was made with"
"""Ends the advice to run a command again: without its options it would be refused, or make something else."""


class FacepipeError(Exception):
    """A known error. Its text is one line that says what to do; `exit_code` is what the command returns."""

    exit_code = 1


class UsageError(FacepipeError):
    """An invalid option, recipe key or label file."""

    exit_code = 2


class InputError(FacepipeError):
    """The input is missing, empty, unreadable or not what its layout says."""


class StorageDown(InputError):
    """A store or server that does not answer, or refuses us: what it holds may be good."""


class OutputError(FacepipeError):
    """The output can't be written, or another run is writing it."""


class SettingsChanged(FacepipeError):
    """The output folder was made with other settings or from other inputs."""


class DamagedFile(FacepipeError):
    """A file that facepipe wrote and that no longer reads back."""


class Incomplete(FacepipeError):
    """An earlier stage has not finished."""


class WeightsError(FacepipeError):
    """A network's weights are missing or have another checksum."""


class MissingExtra(FacepipeError):
    """An optional package is needed for what was asked."""


class TooManyFailed(FacepipeError):
    """More images failed than allowed."""


class Interrupted(FacepipeError):
    """The user or the machine asked the run to stop."""

    exit_code = 130


class ImageError(Exception):
    """One image that can't be used.

    `status` is one of `records.Status`'s failures, the text is a sentence for the row's `error` column, `frame_index`
    the frame of a video that can't be used, nor those after it.
    """

    def __init__(self, status: str, message: str, frame_index: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.frame_index = frame_index

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str, int]]:
        """All arguments survive pickling (exceptions keep only `args` by default)."""
        return ImageError, (self.status, self.message, self.frame_index)
