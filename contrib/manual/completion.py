"""Completion for bash, zsh and fish, made by shtab of the command's parser.

    python contrib/manual/completion.py DIRECTORY   makes DIRECTORY/uringfs, _uringfs and uringfs.fish

shtab knows subcommands, options and choices; what a value is it is told here.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

import shtab  # noqa: E402

from uringfs import cli  # noqa: E402

FILES = {"bash": "uringfs", "zsh": "_uringfs", "fish": "uringfs.fish"}
"""As each shell wants them named, where it looks for them."""
PROGRAM = {
    "bash": "_uringfs_program",
    "zsh": "_command_names -e",
    "fish": "(__fish_complete_command)",
    "preamble": {"bash": '_uringfs_program() {\n  compgen -c -- "$1"\n  compgen -f -- "$1"\n}\n'},
}
VALUES = {  # by what usage calls it
    "DIR": shtab.DIRECTORY,
    "mountpoint": shtab.DIRECTORY,
    "FILE": shtab.FILE,
    "PATH": shtab.FILE,
    "RING": shtab.FILE,
    "RING|PID": shtab.FILE,
    "PROGRAM [ARGUMENT...]": PROGRAM,
}


def completed() -> argparse.ArgumentParser:
    """The command's parser, whose actions know what is a directory, a file, a program."""
    parser, commands = cli.make_parser()
    for command in commands.values():
        for action in command._actions:  # noqa: SLF001  argparse has no other list
            value = VALUES.get(str(action.metavar or action.dest))
            if value is not None and action.nargs != 0:
                action.complete = value  # type: ignore[attr-defined]
    return parser


def make(directory: Path) -> list[Path]:
    """A file for each shell."""
    directory.mkdir(parents=True, exist_ok=True)
    made = []
    for shell, name in FILES.items():
        path = directory / name
        path.write_text(shtab.complete(completed(), shell))
        made.append(path)
    return made


if __name__ == "__main__":
    make(Path(sys.argv[1]))
