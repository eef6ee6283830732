"""Options about faults that several subcommands have."""

import argparse
import random
import sys

from uringfs.abi.kernels import CURRENT, Kernel, kernel
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
        "--seed", type=_seed, metavar="N", help="of what chance decides about faults; by default a new one"
    )

    arguments.add_argument(
        "--as-kernel",
        type=_kernel,
        default=CURRENT,
        metavar="VERSION",
        help="5.1 to 6.18: what that kernel's io_uring had not is refused as by it",
    )


def add_virtual_time(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument(
        "--virtual-time",
        action="store_true",
        help="time-outs run on a clock that jumps when all of the program waits: 30 s take milliseconds",
    )


def _kernel(text: str) -> Kernel:
    try:
        return kernel(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seed(word: str) -> int:
    number = int(word)
    if not 0 <= number < LARGEST_SEED:
        raise argparse.ArgumentTypeError("must be at least 0, and below 2^32")
    return number


def rule(text: str) -> str:
    """As it is. ArgumentTypeError says what is wrong with it."""
    try:
        parser.parse(text)
    except RuleError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    return text


def say_seed(args: argparse.Namespace) -> None:
    """If chance decides about the rules that were given, and no seed was: choose one, and say which."""
    if args.seed is None and any(parser.parse(text).by_chance for text in args.inject):
        args.seed = int(seed(args))
        print(f"uringfs run: --seed {args.seed}", file=sys.stderr)


def seed(args: argparse.Namespace) -> str:
    """What was given, or a new one."""
    return str(args.seed if args.seed is not None else random.randrange(LARGEST_SEED))
