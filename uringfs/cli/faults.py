"""Options about faults that several subcommands have."""

import argparse
import random

from uringfs.faults import parser
from uringfs.faults.parser import RuleError

LARGEST_SEED = 1 << 32


def add_arguments(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument(
        "--inject",
        action="append",
        default=[],
        type=rule,
        metavar="RULE",
        help="break requests, as docs/faults.md says: WRITE:path=*.wal:error=EIO:when=3. As often as wanted",
    )
    arguments.add_argument(
        "--seed", metavar="N", help="of all that chance decides about faults; by default another each time"
    )


def rule(text: str) -> str:
    """As it is. ArgumentTypeError says what is wrong with it."""
    try:
        parser.parse(text)
    except RuleError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    return text


def seed(args: argparse.Namespace) -> str:
    """What was given, or a new one."""
    return str(args.seed if args.seed is not None else random.randrange(LARGEST_SEED))
