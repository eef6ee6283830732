"""`uringfs opcodes`: docs/opcodes.md, from the tables in the code."""

import argparse
from collections.abc import Iterable

from uringfs.abi.constants import ENTER_FLAGS, FEATURES, REGISTER_OPCODES, SETUP_FLAGS, flag_names

HEAD = """\
# Opcodes and flags

Made by `uringfs opcodes` from the tables in the code; a test keeps this file equal to them.
full: as the kernel; partial: with the note's exceptions; refused: as a kernel built without it;
none: not there, -EINVAL as a kernel before it. [What differs](differences.md) says more.

Marks of an opcode: ioprio: it reads sqe->ioprio, others refuse one; iopoll: a ring with IORING_SETUP_IOPOLL takes
it; 128: its SQE has 128 bytes; buffers: it takes provided buffers; async: the kernel always gives it to a worker;
inline: the kernel performs it in one call that never waits; slot: it can fill a slot of the registered files.
"""
MARKS = {
    "ioprio": "ioprio",
    "iopoll": "iopoll",
    "is_128": "128",
    "buffer_select": "buffers",
    "force_async": "async",
    "inline": "inline",
    "fills_slot": "slot",
}
"""Field of Op -> how the document shows it."""
EXITS = {0: "printed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    print(document(), end="")
    return 0


def document() -> str:
    """The Markdown text."""
    from uringfs.ops.table import TABLE
    from uringfs.register.table import REGISTER
    from uringfs.ring import support

    lines = [HEAD]
    marks = {op.number: ", ".join(mark for field, mark in MARKS.items() if getattr(op, field)) for op in TABLE}
    lines += _table(
        "number | opcode | marks",
        ((f"{op.number} | {op.name} | {marks[op.number]}", op.support, op.note) for op in TABLE),
    )
    lines += ["", "## Register opcodes", ""]
    register = sorted(REGISTER.items())
    rows = ((f"{code} | {REGISTER_OPCODES[code]}", row.support, row.note) for code, row in register)
    lines += _table("number | opcode", rows)
    for title, names, flags in (
        ("Setup flags", SETUP_FLAGS, support.SETUP_FLAGS),
        ("Features", FEATURES, support.FEATURES),
        ("Enter flags", ENTER_FLAGS, support.ENTER_FLAGS),
    ):
        lines += ["", f"## {title}", ""]
        rows = ((flag_names(names, flag.value), flag.support, flag.note) for flag in flags)
        lines += _table("flag", rows)
    return "\n".join(lines) + "\n"


def _table(columns: str, rows: Iterable[tuple[str, str, str]]) -> list[str]:
    head = f"| {columns} | support | note |"
    rule = "|---" * (head.count("|") - 1) + "|"
    return [head, rule, *(f"| {name} | {level} | {note} |" for name, level, note in rows)]
