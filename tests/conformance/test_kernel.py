"""The kernel verifies the record, where its io_uring is not switched off. One of another version, or on other
filesystems, may do otherwise: that is said, and fails nothing (`make record` tells how it differs)."""

from pathlib import Path

import pytest
from checking import Checker

from tests.support.conformance import BEHAVIOURS, run


@pytest.mark.parametrize(("family", "behaviour"), BEHAVIOURS, ids=lambda part: part)
def test_record_is_true(programs: Path, oracle: bool, checker: Checker, family: str, behaviour: str) -> None:
    if not oracle:
        pytest.skip("the kernel's io_uring is switched off here: it did not verify the record")
    checker.kernel(family, behaviour, run(programs / family, behaviour, None))
