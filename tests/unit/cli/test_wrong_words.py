"""Whatever stands behind an option, parsing ends with a value or with usage: no traceback."""

import argparse
import contextlib
import io
import re
from pathlib import Path

import pytest

from uringfs import cli
from uringfs.cli import helper

WORDS = (
    *("", "-1", "0", "x", "nan", "inf", "-inf", "1e309", "9" * 40, "0x10", "1_0", "٣", "K", "1K2"),
    *(
        "/",
        "/dev/null/x",
        "/dev/full",
        "a\nb",
        "\udcff",
        "%s%n",
        "=",
        ",",
        ":",
        "%",
        "READ:",
        "error=",
        "a" * 5000,
    ),
)
REST = {"listen": ["--socket", "/x"], "mount": ["/x"], "run": ["--", "true"], "show": ["1"], "umount": ["/x"]}


def options() -> list[tuple[str, str]]:
    """(subcommand, option that takes a value)"""
    return [
        (name, action.option_strings[-1])
        for name, command in cli.make_parser()[1].items()
        for action in command._actions
        if action.option_strings and action.nargs != 0
    ]


@pytest.mark.parametrize(("name", "option"), options())
def test_a_value(name: str, option: str) -> None:
    parser, _ = cli.make_parser()
    for word in WORDS:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                parser.parse_args([name, f"{option}={word}", *REST.get(name, [])])
            except SystemExit as ended:
                assert ended.code == 2, word  # noqa: PT017
                assert said.getvalue().startswith(f"usage: uringfs {name} "), word


def directories() -> list[tuple[str, list[str]]]:
    """(subcommand, words that name the empty word as a directory), but for mount, which says so with 12."""
    return [
        (name, ["--mount="] if action.option_strings else [""])
        for name, command in cli.make_parser()[1].items()
        for action in command._actions
        if action.metavar == "DIR" and name != "mount"
    ]


@pytest.mark.parametrize(("name", "words"), directories())
def test_an_empty_word_is_no_directory(name: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A script's "$DIR" that is not set is not the working directory."""
    with pytest.raises(SystemExit) as ended:
        cli._run([name, *words, *([] if words == [""] else REST.get(name, []))])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(": an empty word\n")


@pytest.mark.parametrize("name", [name for name, *_ in cli.COMMANDS])
def test_an_option_that_is_none(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli._run([name, "--no-such-option", *REST.get(name, [])])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"usage: uringfs {name} ")


@pytest.mark.parametrize("word", WORDS)
def test_of_the_mount_helper(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its options stand behind -o, and its status for usage is mount(8)'s."""
    for option in sorted(helper.OURS):
        try:
            status = helper.main(["none", "/nonexistent/x", "-f", "-o", f"{option}={word}"])
        except SystemExit as ended:
            status = int(ended.code or 0)
        assert status in (helper.USAGE, helper.MOUNT_FAILED), option
        assert capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        *(["trace", pid] for pid in ("0", "9" * 40, str(1 << 31))),
        *(["top", "--json", "--delay", delay] for delay in ("inf", "nan", "0", "-1", "1e309")),
    ],
    ids=" ".join,
)
def test_numbers_out_of_reach(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No process has that number, and no delay is as long: said at once, not waited for."""
    monkeypatch.setattr("uringfs.cli.ls.mounts", lambda said: [str(tmp_path)])
    try:
        status = cli._run(words)
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status in (1, 2)
    assert re.search("No such process|--delay must be above 0|invalid float", capsys.readouterr().err)


def test_nothing_is_left_out() -> None:
    """Each subcommand is a parser of its own."""
    parser, commands = cli.make_parser()
    assert {name for name, *_ in cli.COMMANDS} == commands.keys()
    assert isinstance(parser, argparse.ArgumentParser)
