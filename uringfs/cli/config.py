"""`uringfs config`: where what comes with the package lies, for build systems and scripts."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import uringfs
from uringfs.cli.program import RunError
from uringfs.cli.run import library


def shared() -> Path:
    """The directory of what is no Python: in a checkout contrib/."""
    package = Path(uringfs.__file__).resolve().parent
    installed = package / "share"
    return installed if installed.is_dir() else package.parent / "contrib"


PLACES: dict[str, tuple[str, Callable[[], object]]] = {
    "include": ("the directory of uringfs.h", shared),
    "library": ("the library that `uringfs run` preloads", library),
    "profile": ("a seccomp profile for container engines", lambda: shared() / "oci" / "seccomp.json"),
    "make-profile": ("the program that makes one of another", lambda: shared() / "oci" / "profile.py"),
    "units": ("the directory of the systemd unit", lambda: shared() / "systemd"),
    "pkgconfig": ("the directory of uringfs.pc, for PKG_CONFIG_PATH", shared),
    "examples": ("C programs and their Makefile; copy them", lambda: shared() / "examples"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, (what, _) in PLACES.items():
        parser.add_argument(f"--{name}", action="append_const", dest="names", const=name, help=what)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """A line for each option, in their order; without any all, by name. 1 for what is not built."""
    try:
        for name in args.names or PLACES:
            print(("" if args.names else f"{name}: ") + str(PLACES[name][1]()))
    except RunError as error:
        print(f"uringfs config: {error}", file=sys.stderr)
        return 1
    return 0
