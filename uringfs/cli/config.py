"""`uringfs config`: where what comes with the package lies, for build systems and scripts."""

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
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
    "units": ("the directory of the systemd units", lambda: shared() / "systemd"),
    "kubernetes": ("the directory of a kustomization", lambda: shared() / "kubernetes"),
    "pkgconfig": ("the directory of uringfs.pc, for PKG_CONFIG_PATH", shared),
    "man": ("the directory of the manual pages, for MANPATH", lambda: installed("man")),
    "bash-completion": ("the directory of completion for bash", lambda: installed("bash-completion/completions")),
    "zsh-completion": ("that for zsh, for fpath", lambda: installed("zsh/site-functions")),
    "fish-completion": ("that for fish", lambda: installed("fish/vendor_completions.d")),
    "examples": ("C programs and their Makefile; copy them", lambda: shared() / "examples"),
}


def installed(name: str) -> Path:
    """A directory below share/, beside the command: the manual's, or a shell's completions. RunError."""
    with suppress(metadata.PackageNotFoundError):
        files = metadata.files("uringfs") or []
        for file in files:
            if f"share/{name}/" in file.as_posix():
                path = Path(str(file.locate())).resolve()
                return next(above for above in path.parents if above.as_posix().endswith(f"share/{name}"))
    raise RunError(FAILED, f"share/{name} is not installed: pip install uringfs")


FAILED = 1
EXITS = {0: "printed", FAILED: "what was asked for is not there"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    for name, (what, _) in PLACES.items():
        parser.add_argument(f"--{name}", action="append_const", dest="names", const=name, help=what)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """A line for each option, in their order; without any all that is there, by name. 1 for what is not."""
    status = 0
    for name in args.names or PLACES:
        try:
            print(("" if args.names else f"{name}: ") + str(PLACES[name][1]()))
        except RunError as error:
            if args.names:
                print(f"uringfs config: {error}", file=sys.stderr)
                status = FAILED
    return status
