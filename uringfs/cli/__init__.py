"""The `uringfs` command: one module per subcommand."""

import argparse
import sys
from collections.abc import Sequence

from uringfs import __version__
from uringfs.cli import (
    config,
    doctor,
    exits,
    explore,
    inject,
    listen,
    ls,
    mount,
    nri,
    opcodes,
    record,
    replay,
    run,
    show,
    standard,
    status,
    top,
    trace,
    traced,
    umount,
)

COMMANDS = (
    ("mount", mount, "mount a ring filesystem"),
    ("umount", umount, "unmount one, and wait for its daemon to end"),
    ("status", status, "which are mounted, and whether they serve"),
    ("doctor", doctor, "what works on this machine, and what to do about the rest"),
    ("run", run, "run a program whose io_uring is uringfs"),
    ("listen", listen, "serve containers whose seccomp profile has a listenerPath"),
    ("nri", nri, "give pods with an annotation the listener, as a plugin of their runtime"),
    ("inject", inject, "break requests on purpose"),
    ("record", record, "run a program, and write down which faults it met"),
    ("replay", replay, "run it again with the same faults"),
    ("explore", explore, "run it with many seeds, and shrink what makes it fail"),
    ("trace", trace, "show every request of rings that run"),
    ("ls", ls, "list the rings there are"),
    ("top", top, "watch them live"),
    ("show", show, "show a ring, and its requests under way"),
    ("config", config, "print where the header, the library, the profile are"),
    ("opcodes", opcodes, "print what is supported, as Markdown"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: that of the subcommand; 2 for usage."""
    return standard.run(lambda: _run(argv))


def make_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The command's, and those of its subcommands by name."""
    parser = argparse.ArgumentParser(
        prog="uringfs",
        description="io_uring as a filesystem: every ring is a file.",
        epilog=exits.text(exits.COMMON),
        formatter_class=exits.Formatter,
    )
    parser.add_argument("--version", action="version", version=f"uringfs {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    made = {}
    for name, module, about in COMMANDS:
        made[name] = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            epilog=exits.text(module.EXITS),
            formatter_class=exits.Formatter,
        )
        module.add_arguments(made[name])
        failed = max(status for status in (1, 125) if status in {1, *module.EXITS})
        made[name].set_defaults(error=made[name].error, failed=failed)
    return parser, made


def _run(argv: Sequence[str] | None) -> int:
    parser, commands = make_parser()
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["run"]:
        words[1:] = traced.bare(words[1:], commands["run"])
    args, unknown = parser.parse_known_args(words)
    if unknown:
        args.error(f"unrecognized arguments: {' '.join(unknown)}")  # with the subcommand's usage
    try:
        return int(args.run(args))
    except ModuleNotFoundError as error:  # a checkout that nobody has built, a zip file
        print(f"uringfs {words[0]}: {error}: make base, or pip install uringfs", file=sys.stderr)
        return int(args.failed)
    except OSError as error:  # a limit, or a system that lacks what each has
        where = f"{error.filename}: " if error.filename else ""
        hint = " (is /proc mounted?)" if where.startswith("/proc/") else ""
        print(f"uringfs {words[0]}: {where}{error.strerror or error}{hint}", file=sys.stderr)
        return int(args.failed)


if __name__ == "__main__":
    sys.exit(main())
