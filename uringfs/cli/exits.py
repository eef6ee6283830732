"""What exit statuses mean: each subcommand says its own (EXITS), for --help and its manual page."""

import argparse
import textwrap
from collections.abc import Mapping

COMMON = {
    1: "the standard output cannot be written",
    2: "wrong words; the usage has been shown",
    141: "the reader of the standard output is gone",
}
"""What exit statuses mean in every command; a command's own meaning of a number stands in place of this one."""
WIDTH = 78


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Leaves text() as it is."""


def text(exits: Mapping[int, str]) -> str:
    """An epilog for argparse."""
    return "\n".join(["exit status:", *(_entry(number, meaning) for number, meaning in sorted(exits.items()))])


def _entry(number: int, meaning: str) -> str:
    return textwrap.fill(meaning, WIDTH, initial_indent=f"  {number:<4}", subsequent_indent=" " * 6)
