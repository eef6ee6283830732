"""mount.fuse.uringfs: what mount(8) and fstab run for the type fuse.uringfs.

    mount.fuse.uringfs SOURCE DIR [-sfnv] [-o OPTION[,OPTION...]] [-t TYPE]

It is `uringfs mount DIR --daemon`; what that has as --max-rings and so on stands among the options here:
max_rings=100,log_file=/var/log/uringfs.log. SOURCE is what the mount shows as its source.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from uringfs.cli import exits, mount, options

USAGE, MOUNT_FAILED = 1, 32  # mount(8), EXIT STATUS
OURS = frozenset("backend log_file log_level max_memory_per_user max_rings max_rings_per_user pid_file".split())


PROGRAM = "mount.fuse.uringfs"
ABOUT = "What mount(8) and fstab(5) run for the type fuse.uringfs: uringfs mount DIRECTORY --daemon."
OPTIONS = f"as of uringfs mount, and of its own options {', '.join(sorted(OURS))}, as in max_rings=100"
EXITS = {0: "mounted, and rings can be used", USAGE: "wrong words", MOUNT_FAILED: "not mounted"}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {message}", file=sys.stderr)
        sys.exit(USAGE)


def main(argv: Sequence[str]) -> int:
    """Exit status as mount(8)'s: 1 for wrong words, 32 if the mount failed. It returns once rings can be used."""
    args = make_parser().parse_args(argv)
    inner = _Parser(prog=PROGRAM, allow_abbrev=False)
    mount.add_arguments(inner)
    wanted = inner.parse_args([*words(args.source, args.options), "--", args.directory])
    if not args.fake:
        return MOUNT_FAILED if mount.run(wanted) else 0
    return MOUNT_FAILED if mount.check(wanted) else 0


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        allow_abbrev=False,
        description=ABOUT,
        epilog=exits.text(EXITS),
        formatter_class=exits.Formatter,
    )
    parser.add_argument("source", help="what the mount shows as its source; `none` for none")
    parser.add_argument("directory", help="an empty one")
    parser.add_argument(
        "-o", dest="options", action="append", default=[], metavar="OPTION[,OPTION...]", help=OPTIONS
    )
    parser.add_argument("-t", dest="type", metavar="TYPE", help="ignored")
    parser.add_argument("-f", dest="fake", action="store_true", help="do all but mount")
    for letter in "snv":
        parser.add_argument(f"-{letter}", action="store_true", help="ignored")
    return parser


def words(source: str, given: Sequence[str]) -> list[str]:
    """The words that `uringfs mount` takes for what fstab says."""
    found, theirs = ["--daemon"], []
    if source not in ("", "none") and "," not in source:
        theirs.append(f"fsname={source}")
    for option in options.split(given):
        name, equals, value = option.partition("=")
        if name in OURS and equals:
            found.append(f"--{name.replace('_', '-')}={value}")
        else:
            theirs.append(option)
    return [*found, "-o", ",".join(theirs)]
