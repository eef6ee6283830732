"""The `uringfs` command: one module per subcommand."""

import argparse
import sys
from collections.abc import Sequence

from uringfs import __version__
from uringfs.cli import listen, mount, opcodes, run


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: that of the subcommand; 2 for usage."""
    parser = argparse.ArgumentParser(prog="uringfs", description="io_uring as a filesystem: every ring is a file.")
    parser.add_argument("--version", action="version", version=f"uringfs {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    mount.add_arguments(commands.add_parser("mount", help="mount a ring filesystem"))
    run.add_arguments(commands.add_parser("run", help="run a program whose io_uring is uringfs"))
    listen.add_arguments(
        commands.add_parser("listen", help="serve containers whose seccomp profile has a listenerPath")
    )
    opcodes.add_arguments(commands.add_parser("opcodes", help="print what is supported, as Markdown"))
    args = parser.parse_args(argv)
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
