"""docs/faults.md: its tables are the code's, its rules are rules."""

import re
from pathlib import Path

import pytest

from uringfs.faults.describe import classes, words
from uringfs.faults.parser import RuleError, parse

DOCUMENT = (Path(__file__).parents[3] / "docs/faults.md").read_text()
WRONG = "WRITE:eror=EIO"


@pytest.mark.parametrize("table", [words(), classes()], ids=["words", "classes"])
def test_the_tables_are_up_to_date(table: str) -> None:
    assert table in DOCUMENT, table


def test_what_is_shown_are_rules() -> None:
    shown = re.findall(r"""['"]([%!A-Za-z_,]+:[a-z_]+[=:][^'"\n]+)['"]""", DOCUMENT)
    assert len(shown) > 5
    for rule in set(shown) - {WRONG}:
        parse(rule)
    with pytest.raises(RuleError, match=r"column 7: 'eror' is no word of a rule \(perhaps 'error'\)"):
        parse(WRONG)
