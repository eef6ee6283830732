"""What `uringfs ls` and `uringfs show` print of names that any user may give."""

import pytest

from uringfs.cli import ls, show

HOSTILE = "a\x1b[31m\x9b\n\r\u202e\udcff"
SHOWN = r"a\x1b[31m\x9b\n\r\u202e\udcff"


def test_a_table() -> None:
    assert ls.table([["NAME", "B"], [HOSTILE, "ü \\"]]).splitlines()[1] == f"{SHOWN}  ü \\"


@pytest.mark.parametrize("fact", ["name", "comm"])
def test_facts(fact: str) -> None:
    assert show.about({fact: HOSTILE, "ops": {}, "requests": []}, "") == f"{fact}: {SHOWN}"
