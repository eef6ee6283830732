"""docs/security.md goes through all ways in: none that the code has is left out, and each row names its tests."""

import re
from pathlib import Path

import pytest

from uringfs.abi import control
from uringfs.abi.constants import REGISTER_OPCODES, SETUP_FLAGS
from uringfs.fs.codec import text
from uringfs.ops.table import OPS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()
TABLE = PAGE.partition("## All ways in")[2].partition("\n## ")[0]
ROWS = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")][1:]
CONFORMANCE = re.compile(r"tests/conformance \(([^)]*)\)")
WAYS = sorted(
    {op.name for op in OPS if op.support != "none"}
    | set(REGISTER_OPCODES)
    | set(filter(None, SETUP_FLAGS))
    | set(text.HELP)
    | {name.removeprefix("URINGFS_CMD_") for name in dir(control) if name.startswith("URINGFS_CMD_")}
)


@pytest.mark.parametrize("way", WAYS)
def test_a_way_in(way: str) -> None:
    assert any(re.search(rf"(?:\b|_){way}\b", row[0]) for row in ROWS)


def exists(test: str) -> bool:
    """A file or directory of tests has that name: below tests/security, tests/unit/cli, or as a whole path."""
    places = (ROOT / "tests/security", ROOT / "tests/unit/cli", ROOT)
    return any((place / f"{test}.py").exists() or (place / test).is_dir() for place in places)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_names_tests_that_there_are(row: list[str]) -> None:
    assert len(row) == 3, row
    named = [name for found in CONFORMANCE.findall(row[2]) for name in found.split(", ")]
    assert all((ROOT / f"tests/conformance/{name}.c").exists() for name in named), row
    others = [word for word in CONFORMANCE.sub("", row[2]).split(", ") if word.strip("; ")]
    assert named or others
    assert all(exists(re.sub(r" \(.*", "", word.strip())) for word in others), others
