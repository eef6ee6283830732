"""The recorder on the kernel, where it is: what has a directory of its own is recorded on a tmpfs, too."""

import os
from pathlib import Path

import pytest

from tests.conformance.recorder import anew
from tests.support import record
from tests.support.conformance import SOURCES


def test_a_family_with_a_directory_of_its_own(programs: Path, oracle: bool) -> None:
    if os.geteuid() or not oracle or SOURCES.is_relative_to("/tmp"):
        pytest.skip("takes root, the kernel's io_uring, and a checkout that is not below /tmp")
    made, refused = anew(programs, ["names"])
    assert refused == []
    assert list(made["names"]) == list(record.read()["names"])
