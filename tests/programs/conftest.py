"""One daemon for the programs of a file."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.support.mounting import Mount


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mount]:
    with Mount(tmp_path_factory.mktemp("programs") / "mnt") as mount:
        yield mount
