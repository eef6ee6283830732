"""What `uringfs record` keeps of a run: the rules, the seed, which requests each rule was injected into, and what
the program did, without times. docs/determinism.md"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from uringfs.watch.arguments import opcode_name
from uringfs.watch.record import Record, RecordKind

VERSION = 1
NEVER = 1 << 32
"""No request is that one's number: when= of a rule that is not to be injected."""
_WORD = re.compile(r'(?:"(?:\\.|[^"\\])*"|[^":])+')
_DECIDED = ("when", "probability", "times", "expires")
Hit = tuple[int, int]
"""(place of the rule, the number of the request among those that match it)"""


class RecordingError(Exception):
    """A file that is no recording: what is wrong with it."""


@dataclass
class Recording:
    rules: list[str]
    seed: int
    command: list[str]
    kernel: str = ""
    status: int = 0
    """As subprocess's: -N for signal N."""
    hits: list[list[int]] = field(default_factory=list)
    """By rule."""
    trace: list[list[Any]] | None = None
    """[ring, opcode, result] of each completion: rings are counted from 0. None: nobody compares."""
    virtual_time: bool = False

    def faults(self) -> list[Hit]:
        return [(place, number) for place, hits in enumerate(self.hits) for number in hits]

    def with_faults(self, faults: Sequence[Hit]) -> "Recording":
        """A recording that has these faults alone: what the program does then is not known."""
        hits = [[number for place, number in faults if place == rule] for rule in range(len(self.rules))]
        return replace(self, hits=hits, trace=None)

    def decided(self) -> list[str]:
        """The rules, without chance: each is injected into the same requests again."""
        return [_decided(rule, hits) for rule, hits in zip(self.rules, self.hits, strict=True)]


def _decided(rule: str, hits: Sequence[int]) -> str:
    words = [word for word in _WORD.findall(rule) if word.partition("=")[0] not in _DECIDED]
    return ":".join([*words, f"when={','.join(map(str, hits or [NEVER]))}"])


class Trace:
    """What a program did: completions in their order."""

    def __init__(self) -> None:
        self.entries: list[list[Any]] = []
        self.lost = 0
        self._rings: dict[int, int] = {}

    def write(self, records: list[Record]) -> None:
        for record in records:
            if record.kind == RecordKind.LOST:
                self.lost += record.id
            if record.kind in (RecordKind.REQUEST, RecordKind.CQE):
                ring = self._rings.setdefault(record.ring, len(self._rings))
                name = opcode_name(record.sqe.opcode) if record.id else "CQE"
                self.entries.append([ring, name, record.res])

    def close(self) -> None:
        pass


def difference(expected: Sequence[list[Any]], found: Sequence[list[Any]]) -> str:
    """Where the second goes another way than the first; '' if it does not."""
    for number, (before, now) in enumerate(zip(expected, found, strict=False), 1):
        if before != now:
            return f"completion {number} is {_said(now)}, and was {_said(before)}"
    if len(found) < len(expected):
        return f"it ends after {len(found)} completions; {_said(expected[len(found)])} came then"
    if len(found) > len(expected):
        return f"completion {len(expected) + 1} is {_said(found[len(expected)])}, and the recording ends before it"
    return ""


def _said(entry: list[Any]) -> str:
    ring, name, res = entry
    return f"{name} = {res} (ring {ring})"


def check_room(path: str) -> None:
    """OSError if no recording can be saved there: to be known before the program runs, not behind it."""
    there = os.path.exists(path)
    if there and not os.path.isfile(path) and not os.path.isdir(path):
        return  # the reader of a pipe would see its end
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
    if not there:
        os.unlink(path)


def save(path: str, recording: Recording) -> None:
    """OSError"""
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"version": VERSION, **asdict(recording)}, file, separators=(",", ":"))
        file.write("\n")


def load(path: str | os.PathLike[str]) -> Recording:
    """OSError, RecordingError"""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
        version = found.pop("version")
        recording = Recording(**found)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise RecordingError(f"{path}: not a recording: {error}") from error
    if version != VERSION:
        raise RecordingError(f"{path}: a recording of version {version}, not {VERSION}")
    return recording
