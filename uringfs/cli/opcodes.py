"""`uringfs opcodes`: docs/opcodes.md, from the tables in the code."""

import argparse

from uringfs.abi.constants import ENTER_FLAGS, FEATURES, SETUP_FLAGS

HEAD = """\
# Opcodes and flags

Made by `uringfs opcodes` from the tables in the code; a test keeps this file equal to them.
full: as the kernel; partial: with the note's exceptions; refused: as a kernel built without it;
none: not there, -EINVAL as a kernel before it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    print(document(), end="")
    return 0


def document() -> str:
    """The Markdown text."""
    from uringfs.ops.table import TABLE
    from uringfs.register.table import REGISTER
    from uringfs.ring import geometry

    lines = [HEAD, "| number | opcode | support | note |", "|---|---|---|---|"]
    lines += [f"| {op.number} | {op.name} | {op.support} | {op.note} |" for op in TABLE]
    lines += ["", "## Register opcodes", "", "| number | opcode |", "|---|---|"]
    lines += [f"| {number} | {name} |" for number, (name, _) in sorted(REGISTER.items())]
    for title, names, supported in (
        ("Setup flags", SETUP_FLAGS, geometry.SUPPORTED_SETUP_FLAGS),
        ("Features", FEATURES, geometry.FEATURES),
        ("Enter flags", ENTER_FLAGS, geometry.SUPPORTED_ENTER_FLAGS),
    ):
        yes = [name for bit, name in enumerate(names) if supported >> bit & 1]
        no = [name for bit, name in enumerate(names) if not supported >> bit & 1]
        lines += ["", f"## {title}", "", f"Supported: {' '.join(yes)}."]
        lines += ["", f"Not supported: {' '.join(no) or 'none'}."]
    return "\n".join(lines) + "\n"
