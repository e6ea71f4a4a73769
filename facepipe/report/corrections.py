"""A person's corrections while they are made: saved at once, and undone one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facepipe.errors import OutputError
from facepipe.stages.overrides import DROP, KEEP, PERSON, TARGET, Correction, encode_overrides, read_overrides
from facepipe.storage import file_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facepipe.report.people import People


class Corrections:
    """The corrections in a file, which need not be there yet.

    Raises:
        UsageError: the file holds something else.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.now: dict[str, Correction] = read_overrides(path) if self._read() else {}
        self._saved = self._read()
        self._before: list[dict[str, Correction | None]] = []

    def _read(self) -> bytes:
        folder, name = file_at(self.path)
        return folder.read(name) if folder.exists(name) else b""

    def change(self, wanted: Mapping[str, Correction | None]) -> None:
        """Sets or (None) takes back corrections, and saves them all.

        Raises:
            OutputError: they can't be written, or somebody else has written the file since.
        """
        before = {key: self.now.get(key) for key in wanted}
        self._save(wanted)
        self._before.append(before)

    def undo(self) -> list[str]:
        """Takes the last change of this session back; gives the keys it was about, none where there is nothing left."""
        if not self._before:
            return []
        self._save(self._before[-1])
        return list(self._before.pop())

    def _save(self, wanted: Mapping[str, Correction | None]) -> None:
        if self._read() != self._saved:
            raise OutputError(
                f"{self.path} was changed by somebody else; start `facepipe review` again to go on from it"
            )
        changed = {key: one for key, one in {**self.now, **wanted}.items() if one is not None}
        folder, name = file_at(self.path)
        content = encode_overrides(changed)
        folder.write(name, content)
        self.now, self._saved = changed, content


def wanted(people: People, number: int, keys: list[str], action: str, identity: str) -> dict[str, Correction | None]:
    """What changes where faces of a person are dropped, kept, made the target, given to somebody, or left as found."""
    now = people.corrections
    home = {people.keys.column("key")[row].as_py(): row for row in people.rows(number).tolist()}
    changes: dict[str, Correction | None] = {}
    for key in (key for key in keys if key in home):
        moved_to = now[key].identity if key in now else ""
        if action == DROP:
            changes[key] = Correction(DROP)
        elif action == TARGET:
            changes |= {
                other: Correction(PERSON, now[other].identity) if now[other].identity else None
                for other in home
                if other in now and now[other].action == TARGET
            }
            changes[key] = Correction(TARGET, moved_to)
        elif action == KEEP:
            changes[key] = Correction(KEEP, moved_to)
        elif action == PERSON:
            changes[key] = Correction(PERSON, identity) if identity != people.found_as(home[key]) else None
        else:
            changes[key] = None
    return changes
