"""What the tests of this directory hold a run against: the record, and the kernel where the record is not about
these surroundings."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import record
from tests.support.conformance import PASSED, SKIPPED, Done, report, run
from tests.support.record import Recorded, Surroundings


class Checker:
    """Of one session."""

    def __init__(self, *, oracle: bool) -> None:
        self._oracle = oracle
        self._record = record.read()
        self._here = Surroundings.here()
        self._made_of = record.made_of()

    def recorded(self, family: str, behaviour: str) -> Recorded:
        assert behaviour in self._record[family], "not recorded yet: make record"
        return self._record[family][behaviour]

    @property
    def about_here(self) -> bool:
        """The record was made in such surroundings."""
        return self._here in self._made_of

    def is_right(self, family: str, behaviour: str, ours: Done) -> bool:
        return not record.fault(self.recorded(family, behaviour), "", ours, self._here.filesystem)

    def ours(self, programs: Path, family: str, behaviour: str, where: str, ours: Done) -> None:
        """A run on uringfs has passed, and with a recorded trace."""

        def kernel() -> Done | None:
            return run(programs / family, behaviour, None) if self._oracle else None

        if ours.returncode == SKIPPED:
            self._skip(where, ours, kernel)
        fault = record.fault(self.recorded(family, behaviour), where, ours, self._here.filesystem)
        if fault and not self._does_as_well(ours, kernel):
            pytest.fail(fault if self.about_here else f"{fault}\n(here: {self._here})", pytrace=False)

    def _skip(self, where: str, ours: Done, kernel: Callable[[], Done | None]) -> None:
        """What the surroundings do not allow, they do not allow the kernel."""
        done = kernel()
        assert done is None or done.returncode == SKIPPED, report(where, ours)
        if reason := record.skipped(ours):
            pytest.skip(reason)

    def _does_as_well(self, ours: Done, kernel: Callable[[], Done | None]) -> bool:
        """In surroundings that the record is not about, this kernel does what uringfs does."""
        done = None if self.about_here or ours.returncode != PASSED else kernel()
        return done is not None and done.returncode == PASSED and done.stdout == ours.stdout

    def kernel(self, family: str, behaviour: str, done: Done) -> None:
        """The record is true of this run of the kernel."""
        recorded = self.recorded(family, behaviour)
        if reason := record.skipped(done):
            pytest.skip(reason)
        changed = record.changed(recorded, done, self._here.filesystem)
        if changed and not self.about_here:
            pytest.xfail(f"the record is of {self._made_of[0]}, this is {self._here}: {changed}")
        if changed:
            pytest.fail(f"{changed}\n({self._here}; `make record` records it)", pytrace=False)
        if recorded.absent:
            pytest.skip(recorded.absent)
