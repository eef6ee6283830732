"""What three runs of a suite say together: no system calls here."""

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from tests.programs.liburing.suite import Outcome, Run

Runs = Mapping[str, Run]


class Verdict(Enum):
    PASS = "pass"
    """On the kernel and on uringfs, and not without io_uring."""
    FAIL = "FAIL"
    """Passes on the kernel only."""
    VACUOUS = "vacuous"
    """Passes where io_uring is refused: its passing says nothing."""
    NO_ORACLE = "-"
    """Does not pass on this kernel: nothing to compare with."""


class Line(NamedTuple):
    """One program."""

    refused: Outcome
    kernel: Outcome
    ours: Run

    @property
    def verdict(self) -> Verdict:
        if self.kernel is not Outcome.PASS:
            return Verdict.NO_ORACLE
        if self.ours.outcome is not Outcome.PASS:
            return Verdict.FAIL
        return Verdict.VACUOUS if self.refused is Outcome.PASS else Verdict.PASS


def lines(refused: Runs, kernel: Runs, ours: Runs) -> dict[str, Line]:
    """By name."""
    return {name: Line(refused[name].outcome, kernel[name].outcome, ours[name]) for name in sorted(ours)}


def table(all_lines: Mapping[str, Line]) -> str:
    rows = [f"{'program':28} {'refused':8} {'kernel':8} {'uringfs':8} {'s':>5}  verdict"]
    rows += [
        f"{name:28} {line.refused.value:8} {line.kernel.value:8} {line.ours.outcome.value:8} "
        f"{line.ours.seconds:5.1f}  {line.verdict.value}"
        for name, line in all_lines.items()
    ]
    return "\n".join([*rows, summary(all_lines)])


def score(all_lines: Mapping[str, Line]) -> tuple[int, int]:
    """How many pass here, of how many that pass on the kernel; the vacuous are not counted."""
    counts = Counter(line.verdict for line in all_lines.values())
    return counts[Verdict.PASS], counts[Verdict.PASS] + counts[Verdict.FAIL]


def summary(all_lines: Mapping[str, Line]) -> str:
    passed, compared = score(all_lines)
    counts = Counter(line.verdict for line in all_lines.values())
    return (
        f"{passed} of the {compared} programs that pass on the kernel pass on uringfs, too; "
        f"{counts[Verdict.VACUOUS]} vacuous, {counts[Verdict.NO_ORACLE]} that do not pass on the kernel"
    )


def complaints(
    all_lines: Mapping[str, Line], expected: Mapping[str, str], unsteady: Mapping[str, str]
) -> list[str]:
    """What contradicts the list of expected failures, in both directions; of the unsteady nothing does."""
    found = []
    for name, line in all_lines.items():
        if line.verdict is Verdict.FAIL and name not in expected and name not in unsteady:
            found.append(f"{name}: {line.ours.outcome.value}, status {line.ours.status}\n{line.ours.output}")
        if line.verdict in (Verdict.PASS, Verdict.VACUOUS) and name in expected:
            found.append(f"{name}: passes: take it off the list of expected failures")
    return found
