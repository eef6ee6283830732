"""docs/opcodes.md is what the tables say."""

from pathlib import Path

from uringfs.abi.constants import OPCODES
from uringfs.cli.opcodes import document
from uringfs.ops.table import TABLE

DOCS = Path(__file__).parents[3] / "docs"


def test_the_document_is_up_to_date() -> None:
    assert (DOCS / "opcodes.md").read_text() == document(), "run: .venv/bin/uringfs opcodes > docs/opcodes.md"


def test_every_opcode_has_its_row() -> None:
    assert [op.number for op in TABLE] == list(range(len(OPCODES)))
    assert [op.name for op in TABLE] == OPCODES


def test_every_row_says_what_it_supports() -> None:
    assert {op.support for op in TABLE} <= {"full", "partial", "refused", "none"}
    assert not [op.name for op in TABLE if op.support == "partial" and not op.note]
