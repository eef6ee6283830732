"""The record: what the kernel did in each behaviour of the conformance suite (tests/conformance/record).

One file a family. `== NAME` begins a behaviour, a line that begins with `-- ` says what the trace after it is, and
every other line is a line of a trace:

    == one                          the kernel's trace
    -- on tmpfs                     the one that holds instead where /tmp lies on such a file system
    == another
    -- absent: REASON               the kernel recorded has not got it: what follows is uringfs's own trace
"""

import difflib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.support.conformance import FAMILIES, PASSED, SKIPPED, SOURCES, Done, report

DIRECTORY = SOURCES / "record"
MADE_OF = DIRECTORY / "KERNEL"
"""Which kernel and which filesystems it was made of."""
ABSENT = "this kernel has no "
"""Begins the reason of a skip that is about the kernel. Others are about the surroundings: no root, say."""
BEHAVIOUR, REMARK = "== ", "-- "
ON, NOT_THERE = REMARK + "on ", REMARK + "absent: "


class Surroundings(NamedTuple):
    """What traces depend on, beside the behaviour."""

    kernel: str
    """MAJOR.MINOR"""
    machine: str
    filesystem: str
    """The file system of /tmp, where behaviours have their files."""
    seed: str = ""
    """The seed of the random requests of netfuzz, if not their own."""

    @classmethod
    def here(cls) -> "Surroundings":
        version = re.match(r"\d+\.\d+", os.uname().release)
        assert version is not None, os.uname().release
        return cls(version[0], os.uname().machine, filesystem("/tmp"), os.environ.get("SEED", ""))

    def __str__(self) -> str:
        seed = f", SEED={self.seed}" if self.seed else ""
        return f"Linux {self.kernel} on {self.machine}, /tmp on {self.filesystem}{seed}"


def filesystem(path: str) -> str:
    """The type of the file system that a path is on, by mountinfo."""
    best = ("", "?")
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            words = line.split()
            point, kind = words[4], words[words.index("-") + 1]
            if (os.path.realpath(path) + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
                best = (point, kind)
    return best[1]


@dataclass
class Recorded:
    """What the record says of one behaviour."""

    trace: str
    on: dict[str, str] = field(default_factory=dict)
    """filesystem -> the trace that is right there instead."""
    absent: str = ""
    """Why the trace is not the kernel's but uringfs's."""

    def difference(self, done: Done, filesystem: str) -> str:
        """How a run's trace differs from the record, as a diff; empty if it does not."""
        return "\n".join(diff(self.on.get(filesystem, self.trace), done.stdout))


def diff(recorded: str, seen: str) -> list[str]:
    lines = difflib.unified_diff(recorded.splitlines(), seen.splitlines(), "the record", "seen", lineterm="", n=1)
    return list(lines)


Family = dict[str, Recorded]
"""behaviour -> what is recorded."""


def fault(recorded: Recorded, where: str, ours: Done, filesystem: str) -> str:
    """What is wrong with a run on uringfs; empty if nothing is."""
    if ours.returncode != PASSED:
        return report(where, ours)
    difference = recorded.difference(ours, filesystem)
    return f"on {where}, not as recorded:\n{difference}" if difference else ""


def changed(recorded: Recorded, kernel: Done, filesystem: str) -> str:
    """What a run of the kernel says otherwise than the record; empty if nothing."""
    if kernel.returncode == SKIPPED:
        return "" if recorded.absent else kernel.stderr
    if kernel.returncode != PASSED:
        return report("the kernel", kernel)
    return "not absent any more" if recorded.absent else recorded.difference(kernel, filesystem)


def skipped(done: Done) -> str:
    """Why the surroundings do not allow this behaviour; empty if they do. What the kernel has not got is none
    of them: uringfs has it."""
    reason = done.stderr.removeprefix("skipped: ").strip()
    return reason if done.returncode == SKIPPED and not reason.startswith(ABSENT) else ""


# ---- files ----


def path(family: str) -> Path:
    return DIRECTORY / f"{family}.txt"


def write(family: str, behaviours: Family) -> str:
    """The text of a family's file."""
    lines = [
        f"# What Linux does in the behaviours of ../{family}.c, each trace behind its name. `make record` made",
        "# this, of the kernel that the file KERNEL names; how to read it: ../README.md.",
    ]
    for name, recorded in behaviours.items():
        lines += body(name, recorded)
    return "\n".join(lines) + "\n"


def body(name: str, recorded: Recorded) -> list[str]:
    """The lines of one behaviour."""
    lines = [BEHAVIOUR + name]
    if recorded.absent:
        lines.append(NOT_THERE + recorded.absent)
    lines += _unmarked(recorded.trace)
    for filesystem, trace in recorded.on.items():
        lines += [ON + filesystem, *_unmarked(trace)]
    return lines


def _unmarked(trace: str) -> list[str]:
    lines = trace.splitlines()
    for line in lines:
        assert not line.startswith((BEHAVIOUR, REMARK)), f"a trace that looks like a mark: {line}"
    return lines


def parse(text: str) -> Family:
    """What write() wrote."""
    behaviours: Family = {}
    filesystem = ""
    for line in text.splitlines():
        if line.startswith(BEHAVIOUR):
            recorded = behaviours[line.removeprefix(BEHAVIOUR)] = Recorded("")
            filesystem = ""
        elif line.startswith(ON):
            filesystem = line.removeprefix(ON)
            recorded.on[filesystem] = ""
        elif line.startswith(NOT_THERE):
            recorded.absent = line.removeprefix(NOT_THERE)
        elif filesystem:
            recorded.on[filesystem] += line + "\n"
        elif behaviours:
            recorded.trace += line + "\n"
    return behaviours


def read() -> dict[str, Family]:
    """The record of every family; a family without a file has an empty one."""
    return {family: parse(path(family).read_text()) if path(family).exists() else {} for family in FAMILIES}


def made_of() -> tuple[Surroundings, ...]:
    """The surroundings recorded, the first of them the rule."""
    kernel, machine, *filesystems = MADE_OF.read_text().split()
    return tuple(Surroundings(kernel, machine, filesystem) for filesystem in filesystems)
