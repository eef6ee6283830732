"""The manual pages: (1) of the command and each subcommand, from its parser; (7) of each document for users.

    python contrib/manual/pages.py DIRECTORY        makes DIRECTORY/man1/uringfs.1 and so on

The package itself need not be built, nor anything be installed but Python.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "contrib/manual")]

from roff import body, escaped, line  # noqa: E402

from uringfs import __version__, cli  # noqa: E402
from uringfs.cli import exits, helper  # noqa: E402

NOT_FOR_USERS = frozenset(("architecture",))
DOCUMENTS = sorted(path for path in (ROOT / "docs").glob("*.md") if path.stem not in NOT_FOR_USERS)
MORE = {  # subcommand -> documents that say more about it
    "mount": ("deploy", "faults", "security"),
    "umount": ("deploy",),
    "status": ("deploy",),
    "doctor": ("deploy", "troubleshooting"),
    "run": ("run", "faults", "watch", "differences"),
    "listen": ("run", "deploy"),
    "inject": ("faults",),
    "record": ("determinism", "faults"),
    "replay": ("determinism",),
    "explore": ("determinism", "faults"),
    "trace": ("watch",),
    "ls": ("watch",),
    "top": ("watch",),
    "show": ("watch",),
    "opcodes": ("opcodes", "differences"),
}
FILES = {
    "MOUNT/new": "a ring of one's own for each open(2)",
    "MOUNT/NAME": "a ring that others see, too; made by open(2) with O_CREAT",
    "MOUNT/.control": "rules of faults",
    "MOUNT/.trace": "every request",
    "MOUNT/.rings": "the rings there are, as JSON",
    "MOUNT/.metrics": "counters, for Prometheus",
}


def pages() -> Iterator[tuple[str, str]]:
    """(file name, as uringfs-run.1; its text)"""
    parser, commands = cli.make_parser()
    yield "uringfs.1", _overview(parser)
    for name, command in commands.items():
        about = command.description or ""
        more = [f"uringfs-{one}(7)" for one in MORE.get(name, ()) if any(path.stem == one for path in DOCUMENTS)]
        yield f"uringfs-{name}.1", _command(command, 1, about, EXITS[name], ["uringfs(1)", *more])
    page = _command(
        helper.make_parser(), 8, helper.ABOUT, helper.EXITS, ["uringfs-mount(1)", "mount(8)", "fstab(5)"]
    )
    yield f"{helper.PROGRAM}.8", page
    for path in DOCUMENTS:
        yield f"uringfs-{path.stem}.7", _document(path)


EXITS: dict[str, Mapping[int, str]] = {name: module.EXITS for name, module, _ in cli.COMMANDS}


def _head(name: str, section: int, about: str) -> list[str]:
    title = f'.TH {escaped(name.upper())} {section} "" "uringfs {__version__}" "uringfs"'
    return ["'\\\" t", title, ".nh", ".SH NAME", f"{escaped(name)} \\- {escaped(about.rstrip('.'))}"]


def _overview(parser: argparse.ArgumentParser) -> str:
    lines = [*_head("uringfs", 1, "io_uring as a filesystem"), ".SH SYNOPSIS", *_synopsis(parser)]
    introduction = "\n\n".join((ROOT / "README.md").read_text().split("\n\n")[1:3])
    lines += [body(f"## Description\n{introduction}", lambda target: "").rstrip(), ".SH COMMANDS"]
    for name, _, about in cli.COMMANDS:
        lines += [".TP", f"\\fBuringfs\\-{escaped(name)}\\fR(1)", line(escaped(about))]
    lines += [".SH FILES"]
    for name, about in FILES.items():
        lines += [".TP", f"\\fI{escaped(name)}\\fR", line(escaped(about))]
    documents = [f"uringfs-{path.stem}(7)" for path in DOCUMENTS]
    return (
        "\n".join([*lines, *_exits(exits.COMMON), *_see(["mount.fuse.uringfs(8)", *documents, "io_uring(7)"])])
        + "\n"
    )


def _command(
    parser: argparse.ArgumentParser, section: int, about: str, statuses: Mapping[int, str], see: list[str]
) -> str:
    name = parser.prog.replace(" ", "-")
    short = about.partition(":")[0] if section == 8 else about
    lines = [*_head(name, section, f"{short[0].lower()}{short[1:]}"), ".SH SYNOPSIS", *_synopsis(parser)]
    lines += [".SH DESCRIPTION", line(escaped(about)), ".SH OPTIONS", *_options(parser)]
    return (
        "\n".join([*lines, *_exits(dict(exits.COMMON if section == 1 else {}) | dict(statuses)), *_see(see)])
        + "\n"
    )


def _synopsis(parser: argparse.ArgumentParser) -> list[str]:
    words = " ".join(parser.format_usage().removeprefix("usage: ").split())
    rest = words.removeprefix(parser.prog).strip()
    return [f"\\fB{escaped(parser.prog)}\\fR {escaped(rest)}"]


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """By the formatter's own words, so that defaults and choices are said as --help says them."""
    formatter = argparse.HelpFormatter(parser.prog)
    for action in parser._actions:  # noqa: SLF001  argparse has no other list
        if action.help == argparse.SUPPRESS:
            continue
        yield ".TP"
        yield _invocation(formatter, action)
        yield line(escaped(formatter._expand_help(action))) if action.help else "\\&"  # noqa: SLF001


def _invocation(formatter: argparse.HelpFormatter, action: argparse.Action) -> str:
    """The option's names bold, its value in italics."""
    value = formatter._format_args(action, (action.metavar or action.dest).upper())  # type: ignore[union-attr]  # noqa: SLF001
    if not action.option_strings:
        return f"\\fI{escaped(str(action.metavar or action.dest))}\\fR"
    names = ", ".join(f"\\fB{escaped(name)}\\fR" for name in action.option_strings)
    return names + (f" \\fI{escaped(value)}\\fR" if action.nargs != 0 else "")


def _exits(statuses: Mapping[int, str]) -> Iterator[str]:
    yield ".SH EXIT STATUS"
    for number, meaning in sorted(statuses.items()):
        yield from (".TP", f"\\fB{int(number)}\\fR", line(escaped(meaning)))


def _see(pages: list[str]) -> Iterator[str]:
    yield ".SH SEE ALSO"
    yield ", ".join(
        re.sub(r"(.+)(\(\d\))", lambda found: f"\\fB{escaped(found[1])}\\fR{found[2]}", page) for page in pages
    )


def _document(path: Path) -> str:
    title, _, text = path.read_text().partition("\n")
    about = title.removeprefix("# ").replace("`", "")
    name = f"uringfs-{path.stem}"
    if not text.lstrip().startswith("## "):
        text = f"## Description\n{text}"
    return "\n".join(_head(name, 7, about)) + "\n" + body(text, _leads_to) + "\n".join(_see(["uringfs(1)"])) + "\n"


def _leads_to(target: str) -> str:
    """Where a link leads: to a document's page, or an address of the web; nowhere to what only a checkout has."""
    path = target.partition("#")[0]
    if "://" in target:
        return escaped(target)
    stem = path.removesuffix(".md")
    if path.endswith(".md") and any(document.stem == stem for document in DOCUMENTS):
        return f"\\fB{escaped(f'uringfs-{stem}')}\\fR(7)"
    return ""


def make(directory: Path) -> list[Path]:
    """Files below directory, in man1, man7 and man8."""
    made = []
    for name, text in pages():
        path = directory / f"man{name[-1]}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        made.append(path)
    return made


if __name__ == "__main__":
    make(Path(sys.argv[1]))
