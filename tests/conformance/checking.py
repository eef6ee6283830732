"""What the tests of this directory hold a run against: the record, and the kernel where the record is not about
these surroundings."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from tests.support import record
from tests.support.conformance import PASSED, SKIPPED, Done, report
from tests.support.record import Family, Recorded, Surroundings

Kernel = Callable[[], Done] | None
"""Runs the behaviour on the kernel. None: its io_uring is switched off."""


class Checker:
    """Compares the runs of one session with the record."""

    def __init__(
        self, families: Mapping[str, Family], made_of: Sequence[Surroundings], here: Surroundings
    ) -> None:
        self._record = families
        self._made_of = made_of
        self._here = here

    def _recorded(self, family: str, behaviour: str) -> Recorded:
        assert behaviour in self._record[family], "not recorded yet: make record"
        return self._record[family][behaviour]

    @property
    def _about_here(self) -> bool:
        """The record was made in such surroundings."""
        return self._here in self._made_of

    def is_right(self, family: str, behaviour: str, ours: Done) -> bool:
        return not record.fault(self._recorded(family, behaviour), "", ours, self._here.filesystem)

    def ours(self, family: str, behaviour: str, where: str, ours: Done, kernel: Kernel) -> None:
        """A run on uringfs has passed, and with the recorded trace."""
        recorded = self._recorded(family, behaviour)
        if reason := record.skipped(ours):
            done = None if kernel is None else kernel()
            assert done is None or done.returncode == SKIPPED, report(where, ours)
            pytest.skip(reason)
        fault = record.fault(recorded, where, ours, self._here.filesystem)
        if fault and not self._does_as_well(ours, kernel):
            pytest.fail(f"{fault}\n(here: {self._here})", pytrace=False)

    def _does_as_well(self, ours: Done, kernel: Kernel) -> bool:
        """In surroundings that the record is not about, this kernel does what uringfs does."""
        if self._about_here or ours.returncode != PASSED or kernel is None:
            return False
        done = kernel()
        return done.returncode == PASSED and done.stdout == ours.stdout

    def kernel(self, family: str, behaviour: str, done: Done) -> None:
        """The record is true of this run of the kernel; if it is another kernel's, that is told."""
        recorded = self._recorded(family, behaviour)
        if reason := record.skipped(done):
            pytest.skip(reason)
        changed = record.changed(recorded, done, self._here.filesystem)
        if changed and not self._about_here:
            pytest.xfail(f"the record is of {self._made_of[0]}, this is {self._here}: {changed}")
        if changed:
            pytest.fail(f"{changed}\n({self._here}; `make record` records it)", pytrace=False)
        if recorded.absent:
            pytest.skip(recorded.absent)
