"""The kernel verifies the record, where its io_uring is not switched off. One of another version, or on other
filesystems, may do otherwise: that is said, and fails nothing (`make record` tells how it differs)."""

import pytest
from checking import Checker, Kernel

from tests.support.conformance import BEHAVIOURS


@pytest.mark.parametrize(("family", "behaviour"), BEHAVIOURS, ids=lambda part: part)
def test_record_is_true(checker: Checker, kernel: Kernel, family: str, behaviour: str) -> None:
    if kernel is None:
        pytest.skip("the kernel's io_uring is switched off here: it did not verify the record")
    checker.kernel(family, behaviour, kernel())
