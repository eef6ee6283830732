"""mount.fuse.uringfs: what mount(8) and fstab run for the type fuse.uringfs.

    mount.fuse.uringfs SOURCE DIR [-sfnv] [-o OPTION[,OPTION...]] [-t TYPE]

It is `uringfs mount DIR --daemon`; what that has as --max-rings and so on stands among the options here:
max_rings=100,log_file=/var/log/uringfs.log. SOURCE is what the mount shows as its source.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from uringfs.cli import mount, options

USAGE, MOUNT_FAILED = 1, 32  # mount(8), EXIT STATUS
OURS = frozenset("backend log_file log_level max_memory_per_user max_rings max_rings_per_user pid_file".split())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {message}", file=sys.stderr)
        sys.exit(USAGE)


def main(argv: Sequence[str]) -> int:
    """Exit status as mount(8)'s: 1 for wrong words, 32 if the mount failed. It returns once rings can be used."""
    parser = _Parser(prog="mount.fuse.uringfs", allow_abbrev=False)
    parser.add_argument("source")
    parser.add_argument("directory")
    parser.add_argument("-o", dest="options", action="append", default=[], metavar="OPTION[,OPTION...]")
    parser.add_argument("-t", dest="type", metavar="TYPE", help="ignored")
    parser.add_argument("-f", dest="fake", action="store_true", help="do all but mount")
    for letter in "snv":
        parser.add_argument(f"-{letter}", action="store_true", help="ignored")
    args = parser.parse_args(argv)
    inner = _Parser(prog="mount.fuse.uringfs", allow_abbrev=False)
    mount.add_arguments(inner)
    wanted = inner.parse_args([*words(args.source, args.options), "--", args.directory])
    if not args.fake:
        return MOUNT_FAILED if mount.run(wanted) else 0
    return MOUNT_FAILED if mount.check(wanted) else 0


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
