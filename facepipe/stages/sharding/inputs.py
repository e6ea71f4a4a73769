"""What `shard` reads: the pairs, and the faces that they are of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facepipe.dataset.splitting import SubsetRule
from facepipe.errors import AS_BEFORE, Incomplete, InputError
from facepipe.stages.faces import Faces, open_faces
from facepipe.stages.leftout import read_left_out
from facepipe.stages.output import INPUTS
from facepipe.stages.overrides import people_of, read_corrections
from facepipe.stages.pairs import SUMMARY, read_summary
from facepipe.storage import parquet, place
from facepipe.storage.checksums import file_sha256
from facepipe.storage.settings import read_settings

if TYPE_CHECKING:
    from facepipe.config import ShardConfig
    from facepipe.storage import Place


@dataclass(frozen=True)
class Rule:
    """How `split` chose subsets, for the single faces; whom it left out, and which faces are whose other than found."""

    subsets: SubsetRule
    dropped: frozenset[str]
    people: dict[str, str]


@dataclass(frozen=True)
class Inputs:
    """Finished pairs and faces. identities: subset -> names, of those in pairs."""

    faces: Faces
    pairs: Place
    parts: int
    identities: dict[str, list[str]]
    rule: Rule

    @property
    def digests(self) -> dict[str, str]:
        """One hash over the faces, one over the pairs."""
        names = [SUMMARY, *(parquet.part_name(number) for number in range(self.parts))]
        lines = "".join(f"{name} {file_sha256(self.pairs, name)}\n" for name in names)
        chosen = self.rule.subsets
        rule = f"{chosen.seed} {chosen.validation} {chosen.test} {sorted(self.rule.dropped)}"
        rule += f" {sorted(self.rule.people.items())}" if self.rule.people else ""
        return {"faces": self.faces.digest, "pairs": hashlib.sha256((lines + rule).encode()).hexdigest()}


def open_inputs(config: ShardConfig) -> Inputs:
    """The pairs and faces of a config.

    Raises:
        InputError: there are none.
        Incomplete: `split` has not ended, or ended for other faces.
    """
    return open_inputs_of(config.faces, config.input)


def open_inputs_of(faces_uri: str, pairs_uri: str) -> Inputs:
    """The same of two folders."""
    faces, pairs = open_faces(faces_uri), place(pairs_uri)
    if not pairs.exists(SUMMARY):
        raise InputError(f"{pairs} holds no finished pairs; run `facepipe split` first, or give another --input")
    summary, settings = read_summary(pairs), read_settings(pairs)
    if settings.get(INPUTS, {}).get("faces") != faces.digest:
        raise Incomplete(
            f"{pairs} was made from other faces than {faces.place}; run `facepipe split` again {AS_BEFORE}"
        )
    names = map(parquet.part_name, range(summary["parts"]))
    if missing := [name for name in names if not pairs.exists(name)]:
        raise Incomplete(f"{pairs} lacks {missing[0]}; run `facepipe split` again {AS_BEFORE}")
    subsets = SubsetRule(settings["seed"], settings["validation"], settings["test"], summary["published_subsets"])
    rule = Rule(subsets, frozenset(read_left_out(pairs)), people_of(read_corrections(pairs)))
    return Inputs(faces, pairs, summary["parts"], summary["identities"], rule)
